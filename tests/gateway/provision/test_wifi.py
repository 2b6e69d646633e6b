"""Which Wi-Fi a board is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.errors import ConfigError
from gateway.provision.wifi import find_networks, read_networks

HOME = {"ssid": "home", "password": "secret-one"}
GUEST = {"ssid": "guest"}


def nobody(_: str) -> dict[str, str]:
    raise AssertionError("nobody is to be asked")


def test_the_environment_says_it_without_a_question() -> None:
    environ = {"MPY_GATEWAY_WIFI_SSID": "home", "MPY_GATEWAY_WIFI_PASSWORD": "secret-one"}
    assert find_networks(environ, None, [GUEST], nobody) == [HOME]
    assert find_networks({"MPY_GATEWAY_WIFI_SSID": "guest"}, None, [], nobody) == [GUEST]


def test_a_file_names_several_the_most_wanted_first(tmp_path: Path) -> None:
    file = tmp_path / "wifi.toml"
    file.write_text('[[wifi]]\nssid = "home"\npassword = "secret-one"\n\n[[wifi]]\nssid = "guest"\n')
    assert find_networks({"MPY_GATEWAY_WIFI_SSID": "other"}, file, [], nobody) == [HOME, GUEST]


def test_a_board_keeps_what_it_knows_where_nobody_says_anything() -> None:
    assert find_networks({}, None, [HOME, GUEST], None) == [HOME, GUEST]
    with pytest.raises(ConfigError, match="set MPY_GATEWAY_WIFI_SSID and MPY_GATEWAY_WIFI_PASSWORD, or name a file"):
        find_networks({}, None, [], None)


def test_a_person_is_offered_what_the_board_knows() -> None:
    offered = []

    def ask(known: str) -> dict[str, str]:
        offered.append(known)
        return {"ssid": known, "password": ""}

    assert find_networks({}, None, [HOME, GUEST], ask) == [HOME, GUEST]
    assert offered == ["home"]
    other = {"ssid": "office", "password": "secret-two"}
    assert find_networks({}, None, [HOME, GUEST], lambda _: other) == [other, HOME, GUEST]
    changed = {"ssid": "home", "password": "secret-two"}
    assert find_networks({}, None, [HOME, GUEST], lambda _: changed) == [changed, GUEST]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", r"must look like this.*\[\[wifi\]\]"),
        ("wifi = 1", "must look like this"),
        ("[[wifi]\n", "must look like this"),
        ("[[wifi]]\nssid = 'a'\nkey = 'hidden-secret'", '"key" is unknown'),
        ("[[wifi]]\npassword = 'hidden-secret'", "texts"),
        ("[[wifi]]\nssid = ''", "1 to 32 bytes"),
        (f"[[wifi]]\nssid = '{'x' * 33}'", "1 to 32 bytes"),
        ("[[wifi]]\nssid = 'a'\npassword = 'short'", "8 to 63 characters"),
        ("[[wifi]]\nssid = 'a'\n" * 9, "at most 8"),
    ],
)
def test_a_wrong_file_is_one_sentence_that_never_repeats_a_password(tmp_path: Path, text: str, sentence: str) -> None:
    file = tmp_path / "wifi.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=rf"(?s)--wifi-file .*{sentence}") as caught:
        read_networks(file)
    assert "hidden-secret" not in str(caught.value)
    assert "short" not in str(caught.value)


def test_a_file_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_networks(tmp_path / "none.toml")
