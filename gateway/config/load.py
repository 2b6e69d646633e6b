"""Puts the layers of settings on each other: file, environment, command line. All problems are reported together."""

from __future__ import annotations

import json
import os
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gateway.config.paths import PREFIX, default_file, state_dir
from gateway.config.sections import BrokerConfig, Config, DevicesConfig, Door, MqttConfig, Settings, is_loopback
from gateway.errors import ConfigError, WrongUse
from gateway.problems import Problem, Problems, did_you_mean, dotted, keys_at, model_at
from gateway.toml_lines import KeyPath, line_of, lines, syntax_error

_NOT_SETTINGS = ("CONFIG", "STATE", "WIFI_")
"""Variables behind the prefix that have a meaning of their own; the last is a prefix itself."""

_FILES = frozenset({"password_file", "certificate_file", "key_file", "ca_file"})
"""Keys that name a file."""


def load_config(
    path: Path | None,
    *,
    overrides: Sequence[str] = (),
    environ: Mapping[str, str] = os.environ,
    state: Path | None = None,
) -> Config:
    """The settings from the file `path`, overridden by `environ`, overridden by `overrides` (`"store.commit_ms=50"`).

    `path` None: $MPY_GATEWAY_CONFIG, else ./mpy-gateway.toml, else that in $XDG_CONFIG_HOME/mpy-gateway, else no file.
    Raises ConfigError with one line for each thing that is wrong.
    """
    loader = _Loader.read(path or default_file(environ))
    loader.environment(environ)
    loader.command_line(overrides)
    loader.credentials(environ)
    settings = loader.settings()
    if loader.problems.found or settings is None:
        report = loader.report()
        typed = all(line.startswith("--set ") for line in report)
        raise (WrongUse if typed else ConfigError)("\n".join(report))
    config = Config(**dict(settings), state=state_dir(state, environ))
    config._origins.update(loader.origins())
    return config


_ADVICE = {
    "password": "write it into a file of its own and name that in password_file",
    "state": "the state directory is named by --state or MPY_GATEWAY_STATE",
}
"""Better answers to keys somebody may try."""


@dataclass(slots=True)
class _Loader:
    """The layers of settings as they are put on each other, and where each came from."""

    path: Path | None
    text: str
    data: dict[str, Any]
    problems: Problems = field(default_factory=Problems)
    set_by: dict[KeyPath, str] = field(default_factory=dict)
    """Variable or option, for what is not as in the file."""
    elsewhere: list[str] = field(default_factory=list)
    """Problems that belong to no key: finished lines."""

    @classmethod
    def read(cls, path: Path | None) -> _Loader:
        if path is None:
            return cls(None, "", {})
        try:
            text = path.read_text("utf-8")
        except OSError as error:
            raise ConfigError(f"{path}: the settings cannot be read: {error.strerror}") from error
        except UnicodeDecodeError:
            raise ConfigError(f"{path}: the settings are not UTF-8 text") from None
        try:
            data = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            line, sentence = syntax_error(error, text)
            raise ConfigError(f"{path}:{line}: not valid TOML: {sentence}") from error
        loader = cls(path, text, data)
        loader._resolve_files(path.parent)
        return loader

    def _resolve_files(self, folder: Path) -> None:
        """A file named in the file is found from where the file is."""
        mqtt = self.data.get("mqtt")
        tables: list[Any] = [self.data.get("devices"), self.data.get("people"), self.data.get("broker")]
        tables += mqtt.values() if isinstance(mqtt, dict) else ()
        for table in tables:
            for key in _FILES & table.keys() if isinstance(table, dict) else ():
                if isinstance(table[key], str):
                    table[key] = str((folder / os.path.expanduser(table[key])).absolute())

    def environment(self, environ: Mapping[str, str]) -> None:
        for variable in sorted(environ):
            rest = variable.removeprefix(PREFIX)
            if rest == variable or rest in _NOT_SETTINGS or rest.startswith(_NOT_SETTINGS[-1]):
                continue
            path = tuple(rest.lower().split("__"))
            self._override(self._outlet_with_dashes(path), environ[variable], variable)

    def _outlet_with_dashes(self, path: tuple[str, ...]) -> tuple[str, ...]:
        """A variable's name cannot hold `-`: MY_HOME is [mqtt.my-home] where the file has that."""
        mqtt = self.data.get("mqtt")
        if path[0] == "mqtt" and len(path) > 1 and isinstance(mqtt, dict):
            for name in mqtt:
                if name.replace("-", "_") == path[1]:
                    return (path[0], name, *path[2:])
        return path

    def command_line(self, overrides: Sequence[str]) -> None:
        for override in overrides:
            key, equals, text = override.partition("=")
            if not equals:
                self.problems_at(f"--set {key}", 'must be "section.key=value"')
                continue
            path = tuple(part.strip() for part in key.split("."))
            self._override(path, text, f"--set {key.strip()}")

    def problems_at(self, place: str, sentence: str) -> None:
        self.elsewhere.append(f"{place}: {sentence}")

    def _override(self, path: tuple[str, ...], text: str, origin: str) -> None:
        """Put `text` in place of what is at `path`, unless there can be no such key."""
        table = model_at(Settings, path[:-1])
        if table is None or path[-1] not in table.model_fields or model_at(Settings, path) or path == ("mqtt",):
            self.problems_at(origin, _unknown(path))
            return
        here = self.data
        for part in path[:-1]:
            inner = here.setdefault(part, {})
            if not isinstance(inner, dict):
                return  # the file has something else there, which is reported as such
            here = inner
        here[path[-1]] = _typed(text, table.model_fields[path[-1]].annotation)
        self.set_by[path] = origin

    def credentials(self, environ: Mapping[str, str]) -> None:
        """systemd's `LoadCredential=mqtt.<name>.password:...`, where the settings name no file. So also `.key`."""
        folder = environ.get("CREDENTIALS_DIRECTORY")
        if not folder:
            return
        mqtt = self.data.get("mqtt")
        tables: dict[KeyPath, Any] = {("broker",): self.data.get("broker")}
        tables |= {("mqtt", name): outlet for name, outlet in mqtt.items()} if isinstance(mqtt, dict) else {}
        for path, table in tables.items():
            for key, ending in (("password_file", "password"), ("key_file", "key")):
                file = Path(folder) / f"{dotted(path)}.{ending}"
                if isinstance(table, dict) and key not in table and key in keys_at(Settings, path) and file.is_file():
                    table[key] = str(file)
                    self.set_by[*path, key] = "systemd credential"

    def settings(self) -> Settings | None:
        """The settings, if all is well. Otherwise there are problems."""
        try:
            settings = Settings.model_validate_json(json.dumps(self.data, default=str))
        except ValidationError as error:
            self.problems.add_all(error, Settings)
            self.problems.found = [_with_advice(problem) for problem in self.problems.found]
            return None
        _check_doors(settings, self.problems)
        _check_passwords(settings, self.problems)
        return None if self.elsewhere or self.problems.found else settings

    def report(self) -> list[str]:
        """One line per problem: first the file's, in its order."""
        placed = [(self._place(p.path), f"{dotted(p.path)}: {p.sentence}") for p in self.problems.found]
        said = []
        for (_, place), text in sorted(placed):
            key = text.partition(": ")[0]
            said.append(f"--set {text}" if place == f"--set {key}" else f"{place}: {text}")  # the key is said once
        return said + self.elsewhere

    def _place(self, path: KeyPath) -> tuple[int, str]:
        """Line in the file (else a number above all lines), and the place in words."""
        if path in self.set_by:
            return sys.maxsize, self.set_by[path]
        line = line_of(self.text, path) or 1
        beside = [origin for known, origin in self.set_by.items() if known[:-1] == path[:-1]]
        if beside and path[:-1] not in lines(self.text):  # the table itself is not from the file
            return sys.maxsize, beside[0]
        return (line, f"{self.path}:{line}") if self.path else (line, "settings")

    def origins(self) -> dict[KeyPath, str]:
        """Every key that is set, and where."""
        in_file = {path: f"{self.path}:{line}" for path, line in lines(self.text).items()} if self.path else {}
        return {**in_file, **self.set_by}


def _unknown(path: tuple[str, ...]) -> str:
    """Why `path` is no key that can be set."""
    if len(path) == 1:
        return "must name a section and a key: section.key, or SECTION__KEY in a variable"
    if advice := _ADVICE.get(path[-1]):
        return f"unknown key; {advice}"
    for length, part in enumerate(path):
        keys = keys_at(Settings, path[:length])
        if keys and part not in keys:
            kind = "key" if length else "section"
            return f'there is no {kind} "{part}"{did_you_mean(part, keys)}'
    return "names a section, not a key" if model_at(Settings, path) else "there is no key in this place"


def _typed(text: str, annotation: Any) -> Any:
    """`text` of a variable or option as the file would have it: `true`, `50`, `["a", "b"]`, or the text itself."""
    names = str(annotation)
    if "tuple" in names and not text.lstrip().startswith("["):
        return [part.strip() for part in text.split(",") if part.strip()]
    if "bool" in names:
        text = text.lower()
    if not any(kind in names for kind in ("int", "float", "bool", "tuple", "Any")):
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _with_advice(problem: Problem) -> Problem:
    advice = _ADVICE.get(str(problem.path[-1])) if problem.sentence.startswith("unknown key") else None
    return Problem(problem.path, f"unknown key; {advice}") if advice else problem


def _check_doors(settings: Settings, problems: Problems) -> None:
    doors: list[tuple[str, Door]] = [("devices", settings.devices), ("people", settings.people)]
    if not settings.mqtt:
        doors.append(("broker", settings.broker))
    for name, door in doors:
        if door.in_the_clear and not door.insecure:
            problems.add(
                (name, "tls"),
                f"is false, and {door.host} can be reached from other machines: leave tls out, or say "
                f"{name}.insecure = true if everyone on that network may read what passes",
            )
        if door.certificate_file or door.key_file or (isinstance(door, DevicesConfig) and door.ca_file):
            from gateway.tls.given import mistakes  # noqa: PLC0415 - only who brings a certificate waits for it

            for key, sentence in mistakes(door):
                problems.add((name, key), sentence)
    taken: dict[tuple[str, int], str] = {}
    for path, host, port in _listeners(settings):
        if port and (other := taken.setdefault((host, port), dotted(path))) != dotted(path):
            problems.add(path, f"{port} is taken by {other} already")


def _listeners(settings: Settings) -> Iterator[tuple[KeyPath, str, int]]:
    yield ("devices", "port"), settings.devices.host, settings.devices.port
    yield ("people", "port"), settings.people.host, settings.people.port
    if not settings.mqtt:
        yield ("broker", "port"), settings.broker.host, settings.broker.port
        yield ("broker", "port_v5"), settings.broker.host, settings.broker.port_v5


def _check_broker(broker: BrokerConfig, problems: Problems) -> None:
    try:
        broker.password()
    except ConfigError as error:
        problems.add(("broker", "password_file"), str(error))
    if (broker.username is None) != (broker.password_file is None):
        missing = "password_file" if broker.username else "username"
        problems.add(("broker", missing), "is missing: a login is a name and a password")
    elif broker.username is None and not is_loopback(broker.host):
        problems.add(
            ("broker", "host"),
            f"{broker.host} can be reached from other machines: set broker.username and broker.password_file, which "
            "every client must then have",
        )


def _check_passwords(settings: Settings, problems: Problems) -> None:
    if not settings.mqtt:
        _check_broker(settings.broker, problems)
    for name, outlet in settings.mqtt.items():
        try:
            outlet.password()
        except ConfigError as error:
            problems.add(("mqtt", name, "password_file"), str(error))
        if outlet.password_file and not outlet.username:
            problems.add(("mqtt", name, "username"), "is missing: MQTT takes a password only together with a name")
        _check_certificates(name, outlet, problems)


def _check_certificates(name: str, outlet: MqttConfig, problems: Problems) -> None:
    given = [key for key in ("ca_file", "certificate_file", "key_file") if getattr(outlet, key)]
    if not outlet.url.startswith("mqtts:"):
        for key in given:
            problems.add(("mqtt", name, key), "is for TLS alone, and url says mqtt://: say mqtts:// there")
    elif ("certificate_file" in given) != ("key_file" in given):
        missing = "key_file" if "certificate_file" in given else "certificate_file"
        problems.add(("mqtt", name, missing), "is missing: a certificate and its key go together")
    elif given:
        from gateway.mqtt.address import Address  # noqa: PLC0415 - only who names such files waits for it

        try:
            Address(outlet.url, "", name, **{key: getattr(outlet, key) for key in given}).context()
        except ConfigError as error:
            key, _, sentence = str(error).removeprefix(f"mqtt.{name}.").partition(": ")
            problems.add(("mqtt", name, key.partition(",")[0]), sentence)
