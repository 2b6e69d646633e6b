"""REST at a real door: what FEED.md promises, and what OpenAPI says of it."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import socket
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from gateway.config import Limits
from gateway.dashboard import pages, people_shapes, shapes
from gateway.errors import ConfigError, Unavailable
from gateway.model import Command, Event, Gap, Quality, Refusal, Result, Sample
from tests.aio import run, until
from tests.gateway.command.answering import answering

from .door import BOOT_ID, T0_MS, Door, batch, open_door, sample

FEED_MD = Path(shapes.__file__).with_name("FEED.md")
COMMANDS = "/api/devices/greenhouse/commands"


def test_a_device_has_everything_its_page_shows(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_door(tmp_path) as door:
            await door.commit(batch(sample(0, temperature=20.0), Gap(1, 50, 50, None, "full"), sample(51)))
            offline = (await door.ask("/api/devices/greenhouse", headers=door.bearer)).json
            assert (offline["online"], offline["since_ms"], offline["connection"]) == (False, None, None)
            await door.connect(rtt_ms=4.2, quality=Quality.SYNCED, last_seen_ms=T0_MS + 500)
            device = (await door.ask("/api/devices/greenhouse", headers=door.bearer)).json
            assert (await door.ask("/api/devices", headers=door.bearer)).json == {"devices": [device]}
        assert (device["online"], device["since_ms"], device["last_seen_ms"]) == (True, T0_MS, T0_MS + 500)
        assert (device["connection"]["rtt_ms"], device["connection"]["clock"]) == (4.2, "synced")
        counts = {"samples": 2, "events": 0, "gaps": 1, "lost": 50, "quarantined": 0, "uncertain": 0}
        assert device["counts"] == counts
        assert device["newest_at_ms"] == T0_MS + 51_000
        assert device["latest"]["temperature"]["value"] == 20.51
        assert [sensor["name"] for sensor in device["sensors"]] == ["climate", "light", "vitals"]
        assert device["sensors"][0]["quantities"][0] == {
            "name": "temperature",
            "title": "Temperature",
            "unit": "°C",
            "decimals": 2,
            "low": -40.0,
            "high": 85.0,
            "labels": {},
            "sensor": "climate",
            "chip": "bme280",
        }
        assert [command["name"] for command in device["commands"]] == ["ping", "identify", "restart"]

    run(main())


def test_samples_by_time_and_quantity(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_door(tmp_path) as door:
            await door.commit(batch(*(sample(i, temperature=float(i), humidity=50.0) for i in range(60))))
            path = (
                f"/api/devices/greenhouse/samples?quantity=temperature&from_ms={T0_MS + 10_000}&to_ms={T0_MS + 12_000}"
            )
            answer = await door.ask(path, headers=door.bearer)
            assert answer.json == {
                "device": "greenhouse",
                "from_ms": T0_MS + 10_000,
                "to_ms": T0_MS + 12_000,
                "series": {
                    "temperature": {
                        "at_ms": [T0_MS + 10_000, T0_MS + 11_000, T0_MS + 12_000],
                        "value": [10.0, 11.0, 12.0],
                    }
                },
                "unsure": [],
            }
            last_hour = (await door.ask("/api/devices/greenhouse/samples", headers=door.bearer)).json
            assert last_hour["to_ms"] - last_hour["from_ms"] == 3_600_000
            assert len(last_hour["series"]["humidity"]["value"]) == 60

    run(main())


def test_quarantine_and_events_newest_first(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_door(tmp_path) as door:
            refusal = Refusal("temperature", "140.2", "value.range", "outside -40..85 °C")
            await door.commit(
                batch(Event(0, 0, "boot", None, {"reset_cause": 1}), Sample(1, 1000, {}, (refusal,)), sample(2)),
                batch(Event(3, 3000, "sensor.failed", "climate", {"errno": 19})),
            )
            quarantine = (await door.ask("/api/devices/greenhouse/quarantine", headers=door.bearer)).json
            assert quarantine["rows"] == [
                {
                    "at_ms": T0_MS + 1000,
                    "boot_id": BOOT_ID,
                    "seq": 1,
                    "quantity": "temperature",
                    "value": "140.2",
                    "code": "value.range",
                    "reason": "outside -40..85 °C",
                }
            ]
            events = (await door.ask("/api/devices/greenhouse/events?limit=1", headers=door.bearer)).json
            assert [row["code"] for row in events["rows"]] == ["sensor.failed"]

    run(main())


def test_times_that_are_not_synced_are_told_with_the_samples(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_door(tmp_path) as door:
            await door.commit(batch(*(sample(i) for i in range(10)), quality=Quality.ESTIMATED))
            await door.commit(batch(*(sample(i) for i in range(10, 20)), quality=Quality.ESTIMATED))
            await door.commit(batch(*(sample(i) for i in range(20, 30))))
            path = f"/api/devices/greenhouse/samples?from_ms={T0_MS + 5000}&to_ms={T0_MS + 60_000}"
            answer = (await door.ask(path, headers=door.bearer)).json
        assert answer["unsure"] == [{"from_ms": T0_MS + 5000, "to_ms": T0_MS + 19_000, "quality": "estimated"}]

    run(main())


def test_gaps_newest_first_with_the_times_around_them(tmp_path: Path) -> None:
    """Also those from before this gateway was started."""
    old = "0" * 16

    async def before() -> None:
        async with open_door(tmp_path) as door:
            await door.commit(batch(Gap(0, 2, 3, None, "full"), sample(3), boot=16, boot_id=old))
            await door.commit(batch(sample(4), sample(5), boot=16, boot_id=old))
            await door.commit(batch(Gap(6, 9, 4, None, "refused"), boot=16, boot_id=old))
            await door.commit(batch(sample(10), boot=16, boot_id=old))
            await door.commit(batch(Gap(11, None, None, 64, "power_loss"), boot=16, boot_id=old))

    async def after() -> None:
        async with open_door(tmp_path) as door:
            nothing_yet = (await door.ask("/api/devices/greenhouse/gaps?limit=1", headers=door.bearer)).json
            await door.commit(batch(sample(0), offset_ms=T0_MS + 30_000))
            answer = (await door.ask("/api/devices/greenhouse/gaps", headers=door.bearer)).json
        assert [(row["why"], row["after_ms"]) for row in nothing_yet["rows"]] == [("power_loss", None)]
        row = {"boot": 16, "boot_id": old, "at_most": None, "received_ms": T0_MS + 999}
        assert answer == {
            "device": "greenhouse",
            "rows": [
                row
                | {"from": 11, "to": None, "count": None, "at_most": 64, "why": "power_loss"}
                | {"before_ms": T0_MS + 10_000, "after_ms": T0_MS + 30_000},
                row
                | {"from": 6, "to": 9, "count": 4, "why": "refused"}
                | {"before_ms": T0_MS + 5000, "after_ms": T0_MS + 10_000},
                row | {"from": 0, "to": 2, "count": 3, "why": "full"} | {"before_ms": T0_MS, "after_ms": T0_MS + 3000},
            ],
        }

    run(before())
    run(after())


def test_commands_are_listed_newest_first_with_who_asked_and_how_they_ended(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_door(tmp_path) as door:
            body = {"name": "ping", "timeout_s": 1}
            asking = asyncio.create_task(door.ask(COMMANDS, method="POST", headers=door.bearer, body=body))
            await until(lambda: bool(door.dispatcher.recent("greenhouse")), what="it waits")
            door.clock.advance(1000)
            assert (await asking).json["status"] == "expired"
            await door.connect()
            browser = await door.log_in() | {"Origin": door.server.url}
            await door.ask(COMMANDS, method="POST", headers=browser, body={"name": "identify", "args": {"seconds": 2}})
            listed = (await door.ask(COMMANDS, headers=door.bearer)).json
        assert listed["device"] == "greenhouse"
        told = [(row["name"], row["args"], row["asked_by"], row["state"]) for row in listed["rows"]]
        assert told == [("identify", {"seconds": 2}, "page", "done"), ("ping", {}, "cli", "expired")]
        assert listed["rows"][0]["error"] is None
        assert listed["rows"][1]["error"]["code"] == "command.expired"

    run(main())


def test_a_command_waits_for_its_result(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_door(tmp_path) as door:
            await door.connect()
            headers = await door.log_in() | {"Origin": door.server.url}
            body = {"name": "identify", "args": {"seconds": 5}}
            done = await door.ask(COMMANDS, method="POST", headers=headers, body=body)
            sent = door.commands[0]
            assert (sent.name, sent.args, sent.deadline_ms) == ("identify", {"seconds": 5}, 10_000)
            assert done.status == 200
            assert done.json == {
                "id": sent.id,
                "name": "identify",
                "status": "done",
                "data": {"uptime_ms": 81234},
                "error": None,
            }
            failed = await door.ask(COMMANDS, method="POST", headers=headers, body={"name": "restart"})
            assert (failed.status, failed.json["status"]) == (200, "failed")
            assert failed.json["error"] == {"code": "busy", "text": "not now"}

    run(main())


NO_COMMANDS: list[tuple[Any, int, str]] = [
    ({"name": "dance"}, 400, "command.unknown"),
    ({"name": "identify", "args": {"minutes": 5}}, 400, "command.args"),
    ({"name": "identify", "args": {"seconds": 61}}, 400, "command.args"),
    ({"name": "identify", "args": {"seconds": True}}, 400, "command.args"),
    ({"name": "identify", "args": {"seconds": "5"}}, 400, "command.args"),
    ({"name": "ping", "args": {"a": [1]}}, 422, "request.invalid"),
    ({"name": "ping", "args": {"a": "x" * 201}}, 422, "request.invalid"),
    ({"name": "ping", "timeout_s": 3601}, 422, "request.invalid"),
    ({"name": "ping", "timeout": 5}, 422, "request.invalid"),
    ({}, 422, "request.invalid"),
    ([], 422, "request.invalid"),
    (b"{", 422, "request.invalid"),
    (b"\xff", 400, "request.invalid"),
    (b"[" * 30_000, 400, "request.invalid"),
    (b"x" * (Limits().people_body_bytes + 1), 413, "request.size"),
]


def test_a_command_that_cannot_be_sent_is_refused_with_a_code(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_door(tmp_path) as door:
            for body, status, code in NO_COMMANDS:
                answer = await door.ask(COMMANDS, method="POST", headers=door.bearer, body=body)
                assert (answer.status, answer.json["error"]["code"]) == (status, code), (body, answer.body)

    run(main())


WRONG_REQUESTS = [
    ("GET", "/api/devices/greenhous", 404, "device.unknown"),
    ("GET", "/api/devices/..%2f..%2fetc/samples", 404, "request.path"),
    ("POST", "/api/devices/greenhous/commands", 404, "device.unknown"),
    ("GET", "/api/nothing", 404, "request.path"),
    ("GET", "/nothing", 404, "request.path"),
    ("DELETE", "/api/devices", 405, "request.method"),
    ("POST", "/", 405, "request.method"),
    ("DELETE", COMMANDS, 405, "request.method"),
    ("GET", "/api/devices/greenhouse/samples?max_points=1", 422, "request.invalid"),
    ("GET", "/api/devices/greenhouse/samples?from_ms=x", 422, "request.invalid"),
    ("GET", "/api/devices/greenhouse/samples?from_ms=2&to_ms=1", 422, "request.invalid"),
    ("GET", f"/api/devices/greenhouse/samples?to_ms={2**63}", 422, "request.invalid"),
    ("GET", "/api/devices/greenhouse/events?limit=0", 422, "request.invalid"),
]


def test_a_wrong_request_is_answered_with_a_code(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_door(tmp_path) as door:
            for method, path, status, code in WRONG_REQUESTS:
                body = {"name": "ping"} if method == "POST" else None
                answer = await door.ask(path, method=method, headers=door.bearer, body=body)
                assert (answer.status, answer.json["error"]["code"]) == (status, code), (path, answer.body)
                assert status != 405 or answer.headers["allow"], path

    run(main())


def test_a_body_that_hides_its_length_is_cut_off(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_door(tmp_path) as door:
            reader, writer = await asyncio.open_connection("127.0.0.1", door.server.port)
            writer.write(
                f"POST {COMMANDS} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {door.server.cli_token}\r\n"
                "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
            )
            for _ in range(Limits().people_body_bytes // 4096 + 2):
                writer.write(b"1000\r\n" + b"[" * 4096 + b"\r\n")
            answer = await reader.read(100)
            assert answer.startswith(b"HTTP/1.1 4"), answer
            writer.close()

    run(main())


def test_status_has_the_table_of_connections_and_what_the_parts_add(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_door(tmp_path) as door:
            await door.connect(errors={"value.range": 3})
            async with door.feed() as feed:
                await feed.recv()
                status = (await door.ask("/api/status", headers=door.bearer)).json
            assert (status["gateway"], status["browsers"]) == ("gw-test", 1)
            assert status["brokers"] == {"embedded": {"connected": True}}
            assert status["store"]["samples"] == 0
            row = status["connections"][0]
            assert (row["device"], row["address"], row["errors"]) == (
                "greenhouse",
                "192.168.1.17:51234",
                {"value.range": 3},
            )

    run(main())


def test_a_notice_that_was_read_is_dismissed(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_door(tmp_path) as door:
            await door.store._notices.keep("samples.db.1", "error", "a damaged file was moved aside", T0_MS)
            told = (await door.ask("/api/status", headers=door.bearer)).json["notices"]
            assert [(one["level"], one["text"], one["id"]) for one in told] == [
                ("error", "A damaged file was moved aside.", "samples.db.1")
            ]
            path = "/api/notices/samples.db.1"
            assert (await door.ask(path, method="DELETE", headers=door.bearer)).status == 204
            again = await door.ask(path, method="DELETE", headers=door.bearer)
            assert (again.status, again.json["error"]["code"]) == (404, "notice.unknown")
            assert (await door.ask("/api/status", headers=door.bearer)).json["notices"] == []

    run(main())


def test_answers_are_what_openapi_says(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_door(tmp_path) as door:
            await door.connect()
            await door.commit(batch(Event(0, 0, "boot"), sample(1)))
            openapi = (await door.ask("/api/openapi.json", headers=door.bearer)).json
            for path, shape in (
                ("/api/devices", shapes.DeviceList),
                ("/api/devices/{device}", shapes.Device),
                ("/api/devices/{device}/samples", shapes.Samples),
                ("/api/devices/{device}/quarantine", shapes.Quarantine),
                ("/api/devices/{device}/events", shapes.Events),
                ("/api/devices/{device}/gaps", shapes.Gaps),
                ("/api/devices/{device}/commands", shapes.Commands),
                ("/api/status", shapes.GatewayStatus),
                ("/api/session", people_shapes.Session),
                ("/api/users", people_shapes.Users),
                ("/api/tokens", people_shapes.Tokens),
                ("/healthz", shapes.Health),
            ):
                content = openapi["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]
                assert content["schema"]["$ref"].endswith(f"/{shape.__name__}")
                answer = await door.ask(path.replace("{device}", "greenhouse"), headers=door.bearer)
                assert answer.status == 200
                TypeAdapter(shape).validate_json(answer.body)
                if path != "/api/status":  # which may hold more
                    assert set(answer.json) == set(openapi["components"]["schemas"][shape.__name__]["properties"])
            for path, methods in openapi["paths"].items():
                for operation in methods.values():
                    for status, response in operation["responses"].items():
                        if status[0] == "4":
                            schema = response["content"]["application/json"]["schema"]
                            assert schema["$ref"].endswith("/Failure"), (path, status)

    run(main())


def test_the_examples_of_feed_md_are_of_the_shapes_they_show() -> None:
    """Whoever builds on the page's examples builds on the truth."""
    text = FEED_MD.read_text("utf-8")
    blocks = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", text, re.S) if "…" not in block]
    device = next(block for block in blocks if "sensors" in block)
    TypeAdapter(shapes.Device).validate_python(device)
    assert set(device) == set(shapes.Device.__dataclass_fields__)
    assert set(device["connection"]) == set(shapes.Connection.__dataclass_fields__)
    TypeAdapter(shapes.Samples).validate_python(next(block for block in blocks if "series" in block))
    quarantine, gaps, events, commands = (block for block in blocks if "rows" in block)
    TypeAdapter(shapes.Commands).validate_python(commands)
    assert all(set(row) == set(shapes.CommandRow.__dataclass_fields__) for row in commands["rows"])
    TypeAdapter(shapes.Gaps).validate_python(gaps)
    assert all(set(row) == set(shapes.GapRow.__annotations__) for row in gaps["rows"])
    status = next(block for block in blocks if "brokers" in block)
    assert status.pop("type") == "status"
    TypeAdapter(shapes.Panel).validate_python(status)
    assert set(status["store"]) == set(shapes.StorePanel.__dataclass_fields__)
    assert all(set(broker) == set(shapes.Broker.__dataclass_fields__) for broker in status["brokers"])
    TypeAdapter(shapes.Quarantine).validate_python(quarantine)
    TypeAdapter(shapes.Events).validate_python(events)


def test_every_code_a_caller_can_get_is_in_feed_md() -> None:
    text = FEED_MD.read_text("utf-8")
    source = "".join(file.read_text("utf-8") for file in FEED_MD.parent.glob("*.py"))
    kinds = "login|role|user|token|password|origin|host|device|notice|command|request|store|gateway"
    codes = set(re.findall(rf'"((?:{kinds})\.[a-z_]+)"', source))
    assert len(codes) > 20
    assert not {code for code in codes if f"`{code}`" not in text}


def test_the_store_that_cannot_answer_is_told_as_such(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_door(tmp_path) as door:

            async def unavailable() -> Any:
                raise Unavailable("the disk is full")

            door.devices.list = unavailable  # type: ignore[method-assign]
            answer = await door.ask("/api/devices", headers=door.bearer)
            assert (answer.status, answer.json["error"]["code"]) == (503, "store.unavailable")

    run(main())


def test_a_device_whose_profile_is_lost_is_still_shown(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_door(tmp_path) as door:
            info = await door.devices.get("greenhouse")
            assert info is not None
            await door.store.delete(f"profile/{info.profile_hash}")
            device = (await door.ask("/api/devices/greenhouse", headers=door.bearer)).json
            assert (device["title"], device["sensors"], device["commands"]) == ("climate-node", [], [])

    run(main())


def built_page(directory: Path) -> Path:
    assets = directory / "assets"
    assets.mkdir(parents=True)
    (directory / "index.html").write_text('<!doctype html><script src="/assets/app-5f3a.js"></script>')
    (assets / "app-5f3a.js").write_text("console.log('page');" * 100)
    (assets / "icon-1a2b.png").write_bytes(b"\x89PNG")
    (directory / "secret.txt").write_text("not an asset")
    return directory


def test_the_page_is_fresh_and_its_assets_are_kept_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "STATIC_DIR", built_page(tmp_path / "static"))

    async def main() -> None:
        async with open_door(tmp_path) as door:
            cookie = await door.log_in()
            page = await door.ask("/", headers=cookie)
            assert (page.status, page.headers["cache-control"]) == (200, "no-cache")
            assert b"/assets/app-5f3a.js" in page.body
            script = await door.ask("/assets/app-5f3a.js")
            assert script.headers["cache-control"] == "public, max-age=31536000, immutable"
            assert script.headers["content-type"].startswith("text/javascript")
            zipped = await door.ask("/assets/app-5f3a.js", headers={"Accept-Encoding": "gzip, br"})
            assert zipped.headers["content-encoding"] == "gzip"
            assert gzip.decompress(zipped.body) == script.body
            assert (await door.ask("/assets/icon-1a2b.png")).headers["content-type"] == "image/png"
            for path in (
                "/assets/nothing.js",
                "/assets/../secret.txt",
                "/assets/..%2fsecret.txt",
                "/assets/%2e%2e/secret.txt",
                "/secret.txt",
                "/assets/",
            ):
                assert (await door.ask(path)).status == 404, path

    run(main())


def test_a_page_that_was_not_built_says_so_and_the_api_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "STATIC_DIR", tmp_path / "nowhere")

    async def main() -> None:
        async with open_door(tmp_path) as door:
            page = await door.ask("/", headers=await door.log_in())
            assert page.status == 503
            assert b"pip install -e ." in page.body
            assert (await door.ask("/api/devices", headers=door.bearer)).status == 200

    run(main())


def test_every_answer_carries_the_security_headers(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_door(tmp_path) as door:
            for path, headers in (
                ("/", {}),
                ("/api/devices", door.bearer),
                ("/api/devices", {}),
                ("/nothing", {}),
                ("/healthz", {"Host": "evil.example"}),
            ):
                answer = await door.ask(path, headers=headers)
                policy = answer.headers["content-security-policy"]
                assert "default-src 'none'" in policy
                assert "script-src" not in policy, "only the page itself has scripts"
                assert "frame-ancestors 'none'" in policy
                assert "unsafe" not in policy
                assert answer.headers["x-content-type-options"] == "nosniff"
                assert answer.headers["referrer-policy"] == "same-origin"
                assert "camera=()" in answer.headers["permissions-policy"]
                assert answer.headers["cache-control"] == "no-store"
                assert "server" not in answer.headers

    run(main())


def test_a_port_in_use_is_one_sentence(tmp_path: Path) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            door = Door(tmp_path, port=taken.getsockname()[1])
            with pytest.raises(ConfigError, match=r"port \d+ on 127.0.0.1 is in use: .*people\.port"):
                await door.start()
            await door.store.close()
            assert not (tmp_path / "cli.token").exists()

    run(main())


def test_an_address_that_is_not_ours_is_one_sentence(tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(ConfigError, match=r"cannot listen on 192\.0\.2\.1"):
            await Door(tmp_path, host="192.0.2.1").server.start()

    run(main())


def test_the_door_closes_within_its_time_while_a_request_is_under_way(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_door(tmp_path) as door:
            info = await door.connect()
            begun = asyncio.Event()

            async def never(command: Command) -> Result:
                begun.set()
                return await asyncio.Future()

            answering(door.dispatcher, door.store, "greenhouse", info.epoch, never)
            headers = door.bearer
            asking = asyncio.create_task(door.ask(COMMANDS, method="POST", headers=headers, body={"name": "ping"}))
            await begun.wait()
            started = asyncio.get_running_loop().time()
            await door.server.stop()
            assert asyncio.get_running_loop().time() - started < 3
            await asyncio.gather(asking, return_exceptions=True)

    run(main())
