"""Settings from file, environment and command line; every mistake is named together with where it was made."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.config import (
    Config,
    ConfigError,
    Limits,
    MqttConfig,
    Settings,
    default_file,
    example,
    is_loopback,
    load_config,
    read_secret,
    schema,
    show,
    state_dir,
)
from tests.gateway.mqtt.certificates import Authority
from tests.toml_text import toml

ROOT = Path(__file__).parents[2]


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Loads settings as if nothing of this machine's were there."""
    monkeypatch.chdir(tmp_path)

    def load(text: str | None = None, *overrides: str, **environ: str) -> Config:
        path = tmp_path / "mpy-gateway.toml"
        path.unlink(missing_ok=True)
        if text is not None:
            path.write_text(text, "utf-8")
        return load_config(
            path if text is not None else None, overrides=overrides, environ={"HOME": str(tmp_path), **environ}
        )

    return load


@pytest.fixture
def problems(load, tmp_path):
    """The lines that come back, without the folder in front of the file's name."""

    def problems(*args, **environ) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            load(*args, **environ)
        return str(caught.value).replace(f"{tmp_path}/", "").splitlines()

    return problems


def test_without_any_setting_everything_has_its_default_and_only_this_machine_is_served(load):
    config = load()
    assert (config.devices.host, config.devices.port) == ("127.0.0.1", 8765)
    assert (config.people.host, config.people.port) == ("127.0.0.1", 8080)
    assert (config.broker.host, config.broker.port, config.broker.port_v5) == ("127.0.0.1", 1883, 1884)
    assert config.mqtt == {}
    assert config.store.commit_ms == "auto"
    assert config.limits == Limits()
    assert config.warnings() == []


def test_the_environment_is_over_the_file_and_the_command_line_over_both(load):
    text = "[store]\ncommit_ms = 1\n[devices]\nport = 1\n[people]\nport = 2\n"
    environ = {"MPY_GATEWAY_DEVICES__PORT": "11", "MPY_GATEWAY_STORE__COMMIT_MS": "12"}
    config = load(text, "store.commit_ms=23", **environ)
    assert (config.people.port, config.devices.port, config.store.commit_ms) == (2, 11, 23)


def test_what_is_read_cannot_be_changed(load):
    with pytest.raises(ValueError, match="frozen"):
        load().devices.port = 1


def test_values_of_the_environment_take_the_type_of_their_key(load):
    config = load(
        None,
        "gateway.id=gw-attic",
        MPY_GATEWAY_GATEWAY__NAME="12",
        MPY_GATEWAY_STORE__COMMIT_MS="auto",
        MPY_GATEWAY_LIMITS__HELLO_S="2.5",
        MPY_GATEWAY_DEVICES__INSECURE="True",
        MPY_GATEWAY_PEOPLE__ALLOWED_HOSTS="pi.local, attic.local",
    )
    assert config.gateway.name == "12"
    assert config.gateway.id == "gw-attic"
    assert config.store.commit_ms == "auto"
    assert config.limits.hello_s == 2.5
    assert config.devices.insecure is True
    assert config.people.allowed_hosts == ("pi.local", "attic.local")
    assert load(None, 'people.allowed_hosts=["a", "b"]').people.allowed_hosts == ("a", "b")


def test_every_key_can_be_set_by_environment_and_by_option(load):
    """The example has each key once: read it as options, then as variables."""
    wanted = tomllib.loads(uncommented(example()))
    sections = {name: keys for name, keys in wanted.items() if name != "mqtt"} | {"mqtt.home": wanted["mqtt"]["home"]}
    pairs = [
        (f"{section}.{key}", value)
        for section, keys in sections.items()
        for key, value in keys.items()
        if not key.endswith("_file")  # there is none here, which would be reported
    ]
    for render in (lambda v: v if isinstance(v, str) else json.dumps(v), str):
        options = [f"{key}={render(value)}" for key, value in pairs if value != []]
        variables = {f"MPY_GATEWAY_{key.upper().replace('.', '__')}": render(v) for key, v in pairs if v != []}
        by_option, by_variable = load(None, *options), load(None, **variables)
        assert dict(by_option) == dict(by_variable)
        assert by_option.limits == Limits()
        assert by_option.mqtt["home"].username == "gateway"


def test_an_outlet_whose_name_has_a_dash_can_be_set_by_a_variable(load):
    config = load('[mqtt.my-home]\nurl = "mqtt://a"\n', MPY_GATEWAY_MQTT__MY_HOME__URL="mqtt://b")
    assert {name: outlet.url for name, outlet in config.mqtt.items()} == {"my-home": "mqtt://b"}


def test_variables_with_a_meaning_of_their_own_are_no_settings(load, tmp_path):
    config = load(None, MPY_GATEWAY_WIFI_SSID="x", MPY_GATEWAY_WIFI_PASSWORD="y", MPY_GATEWAY_STATE=str(tmp_path / "s"))
    assert config.state == tmp_path / "s"


def test_all_problems_come_together_each_with_its_place(problems):
    found = problems(
        '[devices]\nprot = 1\n\n[store]\ncommit_ms = "soon"\n[lmits]\n'
        '[people]\nport = "8080"\nallowed_hosts = ["a", "b c"]\n',
        "log.level=loud",
        "devices.tsl=true",
        MPY_GATEWAY_LIMITS__FRAME_BYTES="12",
        MPY_GATEWAY_SOTRE__COMMIT_MS="1",
        MPY_GATEWAY_STORE_COMMIT_MS="1",
    )
    assert found == [
        'mpy-gateway.toml:2: devices.prot: unknown key; did you mean "port"?',
        'mpy-gateway.toml:5: store.commit_ms: must be "auto", or milliseconds from 1 to 60_000',
        'mpy-gateway.toml:6: lmits: unknown key; did you mean "limits"?',
        'mpy-gateway.toml:8: people.port: must be a whole number, not "8080"',
        'mpy-gateway.toml:9: people.allowed_hosts[1]: "b c" is not a host name or address',
        '--set log.level: must be "debug", "info", "warning" or "error", not "loud"',
        "MPY_GATEWAY_LIMITS__FRAME_BYTES: limits.frame_bytes: must be at least 1_024, not 12",
        'MPY_GATEWAY_SOTRE__COMMIT_MS: there is no section "sotre"; did you mean "store"?',
        "MPY_GATEWAY_STORE_COMMIT_MS: must name a section and a key: section.key, or SECTION__KEY in a variable",
        '--set devices.tsl: there is no key "tsl"; did you mean "tls"?',
    ]


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("nonsense", 'must be "section.key=value"'),
        ("port=1", "must name a section and a key"),
        ("mqtt=1", "must name a section and a key"),
        ("mqtt.home=mqtt://x", "names a section, not a key"),
        ("devices.port.x=1", "there is no key in this place"),
        ("devices=1", "must name a section and a key"),
        ("=1", "must name a section and a key"),
        ("..=1", "there is no section"),
        ("devices.insecrue=1", 'did you mean "insecure"'),
        ("state.x=1", "there is no section"),
    ],
)
def test_an_option_that_names_no_key_says_what_it_should_be(problems, override, says):
    (line,) = problems(None, override)
    assert line.startswith("--set")
    assert says in line


ANYTHING = st.recursive(
    st.booleans() | st.integers(-(2**40), 2**40) | st.floats() | st.sampled_from(["", "auto", "mqtt://b", "x" * 99]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["url", "port", "home", ""]), inner),
    max_leaves=5,
)


@settings(derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from([*Settings.model_fields, "other", ""]), ANYTHING, max_size=4))
def test_whatever_stands_anywhere_is_answered_with_a_sentence(tmp_path, document):
    path = tmp_path / "mpy-gateway.toml"
    path.write_text(toml(document), "utf-8")
    try:
        load_config(path, overrides=["mqtt.home.base=x"], environ={"HOME": "/", "MPY_GATEWAY_DEVICES__PORT": "1"})
    except ConfigError as error:
        for line in str(error).splitlines():
            assert re.match(rf"({path}:\d+|--set mqtt.home.base): .+: .+", line)


def test_a_syntax_error_names_file_and_line(problems):
    assert problems("[devices]\nport = \n") == ["mpy-gateway.toml:2: not valid TOML: Invalid value"]


def test_a_file_that_cannot_be_read_is_one_line(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere.toml: the settings cannot be read: No such file"):
        load_config(tmp_path / "nowhere.toml", environ={})
    (tmp_path / "latin.toml").write_bytes(b"# \xe9")
    with pytest.raises(ConfigError, match=r"not UTF-8"):
        load_config(tmp_path / "latin.toml", environ={})


def test_a_table_where_a_value_belongs_and_the_other_way_round(problems):
    assert problems("devices = 5\n[store.commit_ms]\n") == [
        "mpy-gateway.toml:1: devices: must be a table, not 5",
        'mpy-gateway.toml:2: store.commit_ms: must be "auto", or milliseconds from 1 to 60_000',
    ]
    assert problems("devices = 5\n", "devices.port=1") == ["mpy-gateway.toml:1: devices: must be a table, not 5"]


def test_dates_and_infinity_are_no_values_of_ours(problems):
    (date, infinity) = problems("[log]\nlevel = 1979-05-27\n[limits]\nhello_s = inf\n")
    assert "log.level: must be" in date
    assert "limits.hello_s: must be" in infinity


# -- doors


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "[::1]", "localhost"])
def test_this_machine_alone_reaches_a_loopback_address(host):
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "pi.local", "127.0.0.1.example.org", ""])
def test_anything_else_may_be_reached_by_others(host):
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("host", "tls", "uses"),
    [
        ("127.0.0.1", "", False),
        ("localhost", "", False),
        ("::1", "", False),
        ("127.0.0.1", "tls = true", True),
        ("0.0.0.0", "", True),
        ("192.168.1.5", "tls = true", True),
        ("::", "insecure = true", True),
        ("::", "tls = false\ninsecure = true", False),
    ],
)
def test_a_door_speaks_tls_unless_only_this_machine_reaches_it_or_it_is_told_not_to(load, host, tls, uses):
    for name in ("devices", "people"):
        door = getattr(load(f'[{name}]\nhost = "{host}"\n{tls}\n'), name)
        assert door.uses_tls is uses
        assert door.in_the_clear is (not uses and host in ("0.0.0.0", "::"))


def test_an_open_door_without_tls_must_be_asked_for_and_warns(load, problems):
    text = '[devices]\nhost = "0.0.0.0"\ntls = false\n[people]\nhost = "::"\ntls = false\n'
    assert [line.split(":")[1:3] for line in problems(text)] == [["3", " devices.tls"], ["6", " people.tls"]]
    assert all(".insecure = true" in line for line in problems(text))
    config = load(text, "devices.insecure=true", "people.insecure=true")
    assert [warning.split(":")[0] for warning in config.warnings()] == ["devices.insecure", "people.insecure"]
    assert all("can be read by anyone" in warning for warning in config.warnings())


def test_insecure_that_changes_nothing_is_said(load):
    config = load('[devices]\nhost = "0.0.0.0"\ninsecure = true\n[people]\ninsecure = true\n')
    (warning,) = config.warnings()
    assert warning.startswith("devices.insecure does nothing")
    assert "devices.tls = false" in warning


def test_tls_can_be_written_in_capitals_where_it_is_text(load):
    assert load(None, "devices.tls=True", MPY_GATEWAY_PEOPLE__TLS="FALSE").devices.uses_tls is True


def test_an_embedded_broker_that_others_reach_needs_a_login_and_speaks_tls(load, problems, tmp_path):
    text = '[broker]\nhost = "0.0.0.0"\n'
    (line,) = problems(text)
    assert line.startswith("mpy-gateway.toml:2: broker.host: 0.0.0.0 can be reached from other machines: set")
    assert load(text, "mqtt.home.url=mqtt://broker.local").warnings() == [], "it is not started then"
    (tmp_path / "secret").write_text("geheim")
    text += 'password_file = "secret"\n'
    assert problems(text) == ["mpy-gateway.toml:1: broker.username: is missing: a login is a name and a password"]
    config = load(text + 'username = "home"\n')
    assert config.warnings() == []
    assert config.broker.uses_tls
    assert config.broker.password() == "geheim"
    assert "geheim" not in show(config) + repr(config)
    text += 'username = "home"\ntls = false\n'
    assert "broker.tls: is false" in problems(text)[0]
    (warning,) = load(text, "broker.insecure=true").warnings()
    assert warning.startswith("broker.insecure: what passes 0.0.0.0:1883 can be read")


def test_the_brokers_password_may_be_a_systemd_credential(load, tmp_path):
    (tmp_path / "broker.password").write_text("geheim")
    config = load('[broker]\nusername = "home"\n', CREDENTIALS_DIRECTORY=str(tmp_path))
    assert config.broker.password() == "geheim"


def test_what_is_kept_has_limits_that_make_sense(load, problems):
    store = load("[store]\nretention_days = 30\nmax_mb = 500\n").store
    assert (store.retention_days, store.max_mb) == (30, 500)
    assert (load("").store.retention_days, load("").store.max_mb) == (0, 0)
    assert problems("[store]\nmax_mb = 5\n") == [
        "mpy-gateway.toml:2: store.max_mb: must be 0 for no limit, or at least 20"
    ]
    assert "store.retention_days" in problems("[store]\nretention_days = -1\n")[0]


def test_one_port_for_two_doors_is_refused_unless_it_is_any(load, problems):
    assert problems("[people]\nport = 8765\n") == [
        "mpy-gateway.toml:2: people.port: 8765 is taken by devices.port already"
    ]
    assert "broker.port_v5: 8080 is taken by people.port" in problems("[broker]\nport_v5 = 8080\n")[0]
    assert load("[people]\nport = 0\n[devices]\nport = 0\n").people.port == 0


# -- brokers and secrets


def test_a_password_in_the_url_is_refused_and_not_repeated(problems):
    (line,) = problems('[mqtt.home]\nurl = "mqtt://me:geheim@broker"\n')
    assert line.startswith("mpy-gateway.toml:2: mqtt.home.url: must not hold a name or password")
    assert "password_file" in line
    assert "geheim" not in line


def test_a_password_is_no_setting_and_is_not_repeated(problems):
    found = problems('[mqtt.home]\nurl = "mqtt://broker"\npassword = "geheim"\n', "mqtt.home.password=geheim")
    assert len(found) == 2
    assert all("password_file" in line and "geheim" not in line for line in found)


@pytest.mark.parametrize(
    "url",
    [
        "broker",
        "http://broker",
        "mqtt://",
        "mqtt://broker:x",
        "mqtt://broker:0",
        "mqtt://broker:99999",
        "mqtt://b/topic",
        "",
    ],
)
def test_a_url_that_is_none_is_refused_with_an_example(problems, url):
    (line,) = problems(f'[mqtt.home]\nurl = "{url}"\n')
    assert "mqtt.home.url: must" in line


@pytest.mark.parametrize("base", ["a/#", "+", "$SYS", "/a", "a/", "a//b", "", "a\\u0000b", "x" * 101])
def test_a_base_that_is_no_topic_is_refused(problems, base):
    (line,) = problems(f'[mqtt.home]\nurl = "mqtt://b"\nbase = "{base}"\n')
    assert "mqtt.home.base: must be topic levels" in line


def test_an_outlets_missing_url_is_placed_at_the_outlet(problems):
    assert problems('[mqtt.home]\nbase = "x"\n[mqtt."My Home"]\nurl = "mqtt://b"\n') == [
        "mpy-gateway.toml:1: mqtt.home.url: is missing",
        'mpy-gateway.toml:3: mqtt."My Home": "My Home" is not a name: small letters, digits, - and _, 32 at most, '
        "a letter or digit first",
    ]
    assert problems(None, MPY_GATEWAY_MQTT__HOME__BASE="x") == [
        "MPY_GATEWAY_MQTT__HOME__BASE: mqtt.home.url: is missing"
    ]


def test_a_password_file_is_found_from_where_the_settings_are(load, tmp_path, monkeypatch):
    (tmp_path / "secret").write_text("geheim\n")
    text = '[mqtt.home]\nurl = "mqtt://b"\nusername = "me"\npassword_file = "secret"\n'
    config = load(text)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert config.mqtt["home"].password() == "geheim"
    assert "geheim" not in repr(config)
    assert "geheim" not in show(config)


def test_a_password_file_that_is_wrong_is_named(problems, tmp_path):
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "two").write_text("a\nb\n")
    for name, says in (("nowhere", "cannot be read"), ("empty", "nothing else"), ("two", "nothing else")):
        (line,) = problems(f'[mqtt.home]\nurl = "mqtt://b"\nusername = "me"\npassword_file = "{name}"\n')
        assert line.startswith(f"mpy-gateway.toml:4: mqtt.home.password_file: {name}: ")
        assert says in line


@pytest.mark.parametrize("name", ["a\\u0000b", "~nobody-here/x", "~"])
def test_a_strange_name_of_a_password_file_is_a_problem_like_any_other(problems, name):
    (line,) = problems(f'[mqtt.home]\nurl = "mqtt://b"\nusername = "me"\npassword_file = "{name}"\n')
    assert line.startswith("mpy-gateway.toml:4: mqtt.home.password_file: ")


def test_a_password_needs_a_name(problems, tmp_path):
    (tmp_path / "secret").write_text("geheim")
    (line,) = problems('[mqtt.home]\nurl = "mqtt://b"\npassword_file = "secret"\n')
    assert "mqtt.home.username: is missing" in line


def test_a_systemd_credential_is_used_where_no_file_is_named(load, tmp_path):
    (tmp_path / "mqtt.home.password").write_text("geheim")
    text = '[mqtt.home]\nurl = "mqtt://b"\nusername = "me"\n[mqtt.other]\nurl = "mqtt://c"\n'
    config = load(text, CREDENTIALS_DIRECTORY=str(tmp_path))
    assert config.mqtt["home"].password() == "geheim"
    assert config.mqtt["other"].password() is None
    assert config.origin(("mqtt", "home", "password_file")) == "systemd credential"


def test_what_is_for_tls_needs_mqtts_and_a_certificate_its_key(problems, tmp_path):
    (tmp_path / "a.pem").write_text("nothing")
    assert problems('[mqtt.home]\nurl = "mqtt://b"\nca_file = "a.pem"\n') == [
        "mpy-gateway.toml:3: mqtt.home.ca_file: is for TLS alone, and url says mqtt://: say mqtts:// there"
    ]
    assert problems('[mqtt.home]\nurl = "mqtts://b"\ncertificate_file = "a.pem"\n') == [
        "mpy-gateway.toml:1: mqtt.home.key_file: is missing: a certificate and its key go together"
    ]
    (line,) = problems('[mqtt.home]\nurl = "mqtts://b"\nca_file = "a.pem"\n')
    assert line.startswith("mpy-gateway.toml:3: mqtt.home.ca_file: a.pem cannot be used")


def test_a_password_that_passes_a_network_in_plain_text_warns(load, tmp_path):
    (tmp_path / "secret").write_text("geheim")
    login = 'username = "me"\npassword_file = "secret"\n'
    (warning,) = load('[mqtt.home]\nurl = "mqtt://b"\n' + login).warnings()
    assert warning.startswith("mqtt.home.url: its password")
    for url in ("mqtts://b", "mqtt://127.0.0.1"):
        assert load(f'[mqtt.home]\nurl = "{url}"\n' + login).warnings() == []


def test_a_key_of_ours_may_be_a_systemd_credential(load, tmp_path):
    pair = Authority(tmp_path).issue("me")
    pair.key.rename(tmp_path / "mqtt.home.key")
    text = '[mqtt.home]\nurl = "mqtts://b"\ncertificate_file = "me.pem"\n'
    config = load(text, CREDENTIALS_DIRECTORY=str(tmp_path))
    assert config.mqtt["home"].key_file == tmp_path / "mqtt.home.key"


def test_a_secret_keeps_its_spaces(tmp_path):
    (tmp_path / "s").write_bytes(b" a b \r\n")
    assert read_secret(tmp_path / "s") == " a b "


# -- places


def test_the_file_beside_us_is_read_before_the_users_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    environ = {"HOME": str(tmp_path)}
    assert default_file(environ) is None
    own = tmp_path / ".config" / "mpy-gateway" / "mpy-gateway.toml"
    own.parent.mkdir(parents=True)
    own.touch()
    assert default_file(environ) == own
    assert default_file({**environ, "XDG_CONFIG_HOME": str(tmp_path / "other")}) is None
    (tmp_path / "mpy-gateway.toml").touch()
    assert str(default_file(environ)) == "mpy-gateway.toml"
    assert str(default_file({**environ, "MPY_GATEWAY_CONFIG": "/x.toml"})) == "/x.toml"


def test_the_state_directory_is_named_by_option_variable_systemd_or_xdg(tmp_path):
    environ = {"HOME": "/home/me"}
    assert str(state_dir(None, environ)) == "/home/me/.local/state/mpy-gateway"
    environ["XDG_STATE_HOME"] = "not/absolute"
    assert str(state_dir(None, environ)) == "/home/me/.local/state/mpy-gateway"
    environ["XDG_STATE_HOME"] = "/xdg"
    assert str(state_dir(None, environ)) == "/xdg/mpy-gateway"
    environ["STATE_DIRECTORY"] = "/var/lib/mpy-gateway:/var/lib/more"
    assert str(state_dir(None, environ)) == "/var/lib/mpy-gateway"
    environ["MPY_GATEWAY_STATE"] = "/variable"
    assert str(state_dir(None, environ)) == "/variable"
    assert state_dir(tmp_path, environ) == tmp_path


# -- texts


def uncommented(text: str) -> str:
    """The example with its settings in force: those stand behind a # without a space."""
    return re.sub(r"(?m)^#(?=\S)", "", text)


def test_the_example_sets_nothing_as_it_is(load):
    assert dict(load(example())) == dict(load())


def test_the_example_uncommented_is_right_and_at_the_defaults(load):
    text = re.sub(r"\w+_file = .*", "", uncommented(example()))
    config = load(text)
    assert config.limits == Limits()
    assert config.mqtt["home"] == MqttConfig(
        url="mqtt://broker.local:1883", username="gateway", client_id="mpy-gateway-attic"
    )


@pytest.mark.parametrize(
    "origin", ["*", "null", "dash.example.org", "https://dash.example.org/", "https://a@b", "ws://a"]
)
def test_an_origin_is_scheme_name_and_port(problems, origin):
    (problem,) = problems("", f'people.allowed_origins=["{origin}"]')
    assert "is not an origin" in problem


def test_what_is_shown_sets_the_same_again(load):
    text = '[gateway]\nname = "Dach \\" \\\\ é"\n[mqtt.home]\nurl = "mqtt://b"\n[limits]\nhello_s = 0.5\n'
    config = load(text, "people.port=0", 'people.allowed_hosts=["pi.local"]')
    again = load(show(config))
    assert dict(again) == dict(config)


def test_what_is_shown_says_where_it_was_set(load):
    text = show(load("[devices]\nport = 1\n", "people.port=2", MPY_GATEWAY_LOG__LEVEL="debug"))
    assert re.search(r"port = 1  # \S+mpy-gateway.toml:2\n", text)
    assert "port = 2  # --set people.port\n" in text
    assert 'level = "debug"  # MPY_GATEWAY_LOG__LEVEL\n' in text
    assert 'commit_ms = "auto"\n' in text


def test_the_schema_describes_every_key(load):
    for definition in schema()["$defs"].values():
        for key, about in definition["properties"].items():
            assert about.get("description"), key
            assert definition["additionalProperties"] is False


def test_the_limits_are_those_of_the_protocol():
    wire = (ROOT / "gateway/device/WIRE.md").read_text("utf-8")
    limits = Limits()
    for said in (
        f"| {limits.frame_bytes:,} bytes;",
        f"| {limits.window_samples} samples;",
        f"| {limits.hello_s:g} s each |",
        f"| {limits.errors} in {limits.errors_window_s:g} s |",
        f"| {limits.frames_uncommitted}; then",
        f"ping within {limits.ping_s:g} s",
    ):
        assert said in wire, said
    assert limits.handshake_s == limits.hello_s


def test_every_setting_has_an_effect_somewhere():
    sources = [path for path in (ROOT / "gateway").rglob("*.py") if "config" not in path.relative_to(ROOT).parts]
    words = set(re.findall(r"\w+", "".join(path.read_text("utf-8") for path in sources)))
    checked_by_ourselves = {"insecure", "tls", "password_file"}
    for definition in schema()["$defs"].values():
        assert set(definition["properties"]) <= words | checked_by_ourselves
