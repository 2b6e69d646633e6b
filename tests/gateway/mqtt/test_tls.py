"""TLS and login towards Debian's mosquitto. Whatever is wrong ends in one sentence that says what to do."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import ConfigError
from gateway.mqtt.address import Address
from tests.aio import run, until
from tests.gateway.mqtt.certificates import Authority, Pair
from tests.gateway.mqtt.world import Mosquitto, World
from tests.programs import need_program


@dataclass
class Keys:
    """What there is of certificates in a test."""

    authority: Authority
    stranger: Authority
    broker: Pair
    client: Pair


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    folder = tmp_path_factory.mktemp("keys")
    authority = Authority(folder)
    return Keys(
        authority,
        Authority(folder, "stranger"),
        authority.issue("broker", "127.0.0.1"),
        authority.issue("gateway"),
    )


def tls_broker(folder: Path, keys: Keys, pair: Pair, *more: str) -> Mosquitto:
    lines = (f"certfile {pair.certificate}", f"keyfile {pair.key}", f"cafile {keys.authority.file}", "user root", *more)
    return Mosquitto(folder, config="\n".join(lines))


async def ends_as(folder: Path, broker: Mosquitto, state: str, **config: Any) -> str:
    """The bridge comes to `state`; returns what it says of it."""
    async with World(folder) as world:
        bridge = await world.bridge(broker.url.replace("mqtt:", "mqtts:"), config=config)
        await until(lambda: bridge.stats()["state"] == state, what=state, timeout_s=45)
        return str(bridge.stats()["why"])


ANYBODY = "allow_anonymous true"


def test_a_broker_whose_certificate_is_right_is_used(tmp_path: Path, keys: Keys) -> None:
    async def scenario() -> None:
        with tls_broker(tmp_path, keys, keys.broker, ANYBODY) as broker:
            assert await ends_as(tmp_path, broker, "connected", ca_file=keys.authority.file) == "MQTT 5"

    run(scenario())


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("stranger", "is not from the authority in"),
        ("nobody", "name the file with its authority's certificate in mqtt.test.ca_file"),
        ("name", "is not for 127.0.0.1: use a name in mqtt.test.url that it is for"),
        ("expired", "has expired: renew it at the broker, or set this machine's clock right"),
        ("future", "is not valid yet: set this machine's clock right"),
    ],
)
def test_a_certificate_that_is_wrong_is_refused_with_what_to_do(
    tmp_path: Path, keys: Keys, wrong: str, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    pairs = {
        "name": keys.authority.issue("other-name", "other.example", "192.0.2.1"),
        "expired": keys.authority.issue("expired", "127.0.0.1", ends_in_days=-1),
        "future": keys.authority.issue("future", "127.0.0.1", begins_in_days=10),
    }
    ca_file = {"stranger": keys.stranger.file, "nobody": None}.get(wrong, keys.authority.file)

    async def scenario() -> None:
        with tls_broker(tmp_path, keys, pairs.get(wrong, keys.broker), ANYBODY) as broker:
            assert says in await ends_as(tmp_path, broker, "refused", ca_file=ca_file)

    run(scenario())
    (line,) = [r.getMessage() for r in caplog.records if r.name == "mqtt" and "store" in r.getMessage()]
    assert says in line
    assert line.endswith("; samples wait in the store"), "cut off"


@pytest.mark.timeout(160)  # with TLS 1.3 the refusal comes behind the handshake, and is lost in some tries
def test_a_broker_that_wants_our_certificate_gets_it_and_says_so_where_there_is_none(
    tmp_path: Path, keys: Keys
) -> None:
    async def scenario() -> None:
        with tls_broker(tmp_path, keys, keys.broker, "require_certificate true", ANYBODY) as broker:
            trusted = {"ca_file": keys.authority.file}
            why = await ends_as(tmp_path, broker, "refused", **trusted)
            assert why == (
                "the broker ends TLS (certificate required): it may want a certificate of ours, in "
                "mqtt.test.certificate_file and key_file"
            )
            wrong = keys.stranger.issue("wrong")
            files = {"certificate_file": wrong.certificate, "key_file": wrong.key}
            why = await ends_as(tmp_path, broker, "refused", **trusted, **files)
            assert why.startswith("the broker does not accept our certificate (unknown ca): name one")
            files = {"certificate_file": keys.client.certificate, "key_file": keys.client.key}
            await ends_as(tmp_path, broker, "connected", **trusted, **files)

    run(scenario(), timeout_s=150)


def test_plain_and_tls_taken_for_each_other_are_told_apart(tmp_path: Path, keys: Keys) -> None:
    async def scenario() -> None:
        with Mosquitto(tmp_path) as plain:
            why = await ends_as(tmp_path, plain, "away", ca_file=keys.authority.file)
            assert why == f"the connection broke while TLS was set up: is {plain.port} its TLS port (usually 8883)?"
        with tls_broker(tmp_path, keys, keys.broker, ANYBODY) as broker:
            async with World(tmp_path) as world:
                bridge = await world.bridge(broker.url)
                await until(lambda: "mqtts:// in mqtt.test.url" in bridge.stats()["why"], what="the advice")

    run(scenario())


def passwords(folder: Path) -> Path:
    file = folder / "passwords"
    need_program("mosquitto")
    subprocess.run(["mosquitto_passwd", "-c", "-b", str(file), "gateway", "right"], check=True)
    return file


def test_over_tls_a_login_is_refused_or_taken_and_its_rights_are_respected(
    tmp_path: Path, keys: Keys, caplog: pytest.LogCaptureFixture
) -> None:
    """The ACL lets us publish states and nothing else."""
    (tmp_path / "acl").write_text(
        "user gateway\ntopic write mpy-gateway/bridge/state\ntopic write mpy-gateway/+/state\n"
    )
    rules = ("allow_anonymous false", f"password_file {passwords(tmp_path)}", f"acl_file {tmp_path / 'acl'}")
    secret = tmp_path / "secret"
    secret.write_text("planted-wrong-password\n")

    async def scenario() -> None:
        with tls_broker(tmp_path, keys, keys.broker, *rules) as broker:
            trusted = {"ca_file": keys.authority.file}
            why = await ends_as(tmp_path, broker, "refused", **trusted)
            assert why.startswith("the broker wants a login: set mqtt.test.username and password_file")
            login = {"username": "gateway", "password_file": secret}
            why = await ends_as(tmp_path, broker, "refused", **trusted, **login)
            assert why == (
                f"the broker does not accept this login: put right mqtt.test.username, or the password in {secret}"
            )
            secret.write_text("right\n")
            async with World(tmp_path) as world:
                await world.add("greenhouse")
                bridge = await world.bridge(broker.url.replace("mqtt:", "mqtts:"), config={**trusted, **login})
                await world.samples("greenhouse", 1)
                await until(lambda: bridge.stats()["aside"], what="what the ACL refuses")
                assert bridge.stats()["refused"].keys() == {"mpy-gateway/greenhouse/availability"}

    run(scenario())
    assert "planted-wrong-password" not in caplog.text


def test_files_that_cannot_be_used_are_named_with_their_key(tmp_path: Path, keys: Keys) -> None:
    (tmp_path / "none.pem").write_text("nothing")

    def context(**files: Path) -> str:
        with pytest.raises(ConfigError) as caught:
            Address("mqtts://b", "", "home", **files).context()
        return str(caught.value)

    assert context(ca_file=tmp_path / "none.pem").startswith("mqtt.home.ca_file: ")
    assert "No such file" in context(ca_file=tmp_path / "nowhere.pem").replace("no such file", "No such file")
    said = context(certificate_file=keys.client.certificate, key_file=keys.broker.key)
    assert said.startswith("mqtt.home.certificate_file, key_file: ")
    assert "key values mismatch" in said
