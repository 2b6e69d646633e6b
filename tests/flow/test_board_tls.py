"""A real gateway and an emulated board over TLS, with the very files that `devices add --files` writes."""

from __future__ import annotations

import json
from pathlib import Path

from gateway.cli.devices import registry_store
from gateway.config import load_config
from gateway.profile import load_profile
from gateway.store.devices import Devices
from tests.aio import run, until
from tests.flow.commands import mpy_gateway
from tests.rig import WIFI, NamedBoots, Subscriber, quick_node, settle, system


def test_a_board_with_the_files_that_were_written_for_it_finds_its_gateway_by_name_and_takes_a_new_token(
    tmp_path: Path,
) -> None:
    profile, config, written = quick_node(tmp_path), tmp_path / "gateway.toml", tmp_path / "files"
    config.write_text("[devices]\ntls = true\n")

    async def rotate(state: Path) -> None:
        async with registry_store(load_config(config, state=state)) as store:
            await Devices(store).rotate("greenhouse")

    async def flow() -> None:
        with system(tmp_path, "devices.tls=true") as (broker, gateway, port):
            added = mpy_gateway(
                "devices", "add", "greenhouse", "--node", str(profile), "--files", str(written),
                "--state", str(gateway.state), "--config", str(config),
            )  # fmt: skip
            assert added.returncode == 0, added.stderr
            await rotate(gateway.state)
            settings = json.loads((written / "settings.json").read_text()) | {"wifi": [WIFI]}
            settings["gateway"] |= {"port": port, "host": "127.0.0.9", "mdns": "gw-1.local"}  # it has moved since
            files = {f"/{path.relative_to(written)}": path for path in written.rglob("*") if path.is_file()}
            del files["/settings.json"]
            lines: list[str] = []
            board = NamedBoots(
                load_profile(profile), profile.parent, settings, directory=tmp_path / "board", seed=7,
                truth=True, firmware=False, files=files, console=lines.append, names={"gw-1.local": "127.0.0.1"},
            )  # fmt: skip
            subscriber = Subscriber(broker.port)
            try:
                await board.start()
                await until(
                    lambda: any("link: a new token" in line for line in lines), timeout_s=30, what="a new token"
                )
                await until(lambda: subscriber.of().samples >= 20, timeout_s=30, what="samples")
                await board.stop()
                outcome = await settle(board, subscriber)
                assert outcome.problems == []
                assert outcome.delivered == outcome.taken
                kept = json.loads(board.flash.read("/token.json"))
                assert kept["previous"] == settings["token"] != kept["token"]
                connected = [line for line in lines if "link: connected" in line]
                assert [line.split()[-1] for line in connected] == [f"gw-1.local:{port}", f"127.0.0.1:{port}"], lines
                assert json.loads(board.flash.read("/place.json")) == {"of": "127.0.0.9", "is": "127.0.0.1"}
            finally:
                subscriber.close()
                await board.power_cut()

    run(flow(), timeout_s=58)
