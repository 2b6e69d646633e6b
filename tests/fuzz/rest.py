"""Fuzzing of the REST API from its own OpenAPI, by schemathesis, against a gateway in a process of its own:

    .venv/bin/python -m tests.fuzz.rest --inputs 20000 --seed 1

Every route, half with what OpenAPI allows and half with what it does not; as admin, as viewer and without a login. An
answer must be one that OpenAPI lists, of the shape it promises, and never a fault; who may not is refused whatever he
says. Reports inputs, statuses, faults, hangs and how the gateway's memory grew; exit code 1 where something is to be mended.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import resource
import sys
import tempfile
import time
import urllib.parse
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

DEADLINE_S: Final = 5.0
CHECKS: Final = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
CHANGES: Final = {"post", "put", "delete", "patch"}
FOR_ALL: Final = {"/healthz"}
LOGS_OUT: Final = {"/api/logout", "/api/logout/everywhere"}
KNOWN: Final = {"device": "greenhouse", "name": "mona", "notice": "samples.db.1", "id": "0"}
"""Put into most paths: of what is not there, only the 404 would be seen ..."""
ENDS: Final = ("/revoke", "/rotate")
"""... and behind these, or with DELETE, it would not be there any more."""


@dataclass
class Report:
    """What came of it."""

    inputs: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    faults: dict[str, str] = field(default_factory=dict)
    """What was wrong, with the first request that showed it."""
    hangs: list[str] = field(default_factory=list)
    slowest_ms: float = 0


class Fuzzer:
    """Sends cases to the door at `url`, as each of `logins`."""

    def __init__(self, url: str, logins: dict[str, dict[str, str]], number: int) -> None:
        self.report = Report()
        self._url = url
        self._logins = logins
        self._rng = random.Random(number)
        self._number = number
        self._session = requests.Session()
        self._session.trust_env = False
        answer = self._session.get(f"{url}/api/openapi.json", headers=logins["admin"], timeout=DEADLINE_S)
        self._schema = schemathesis.openapi.from_dict(answer.json())

    def run(self, inputs: int, *, only: str = "") -> Report:
        """About so many inputs; `only` to the routes with that in their path."""
        operations = [one for found in self._schema.get_all_operations() if only in (one := found.ok()).path]
        modes = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
        each = max(1, inputs // (len(operations) * len(modes) * len(self._logins)))
        for operation in operations:
            for mode in modes:
                try:
                    strategy = operation.as_strategy(generation_mode=mode)
                except Exception as error:  # nothing that could be wrong: no parameter, no body
                    if mode is GenerationMode.NEGATIVE:
                        continue
                    raise error
                self._send_all(strategy, each)
        return self.report

    def _send_all(self, strategy: Any, each: int) -> None:
        options: dict[str, Any] = {"max_examples": each, "deadline": None, "database": None, "phases": [Phase.generate]}

        @seed(self._number)
        @settings(suppress_health_check=list(HealthCheck), **options)
        @given(strategy)
        def send(case: Case) -> None:
            for login in self._logins:
                self._send(case, login)

        try:
            send()
        except Exception as error:
            if "Unsatisfiable" not in type(error).__name__:  # nothing that could be wrong
                raise

    def _send(self, case: Case, login: str) -> None:
        for name in case.path_parameters or {}:
            spared = case.path.endswith(ENDS) or (case.method.upper() == "DELETE" and name == "device")
            if name in KNOWN and not spared and self._rng.random() < 0.7:
                case.path_parameters[name] = KNOWN[name]
        if isinstance(case.body, dict) and isinstance(case.body.get("timeout_s"), int | float):
            case.body["timeout_s"] = min(case.body["timeout_s"], 1)
        began_s = time.monotonic()
        self.report.inputs += 1
        what = f"{login}: {case.method} {case.formatted_path} {case.query} {str(case.body)[:300]}"
        try:
            response = case.call(self._url, session=self._session, headers=self._logins[login], timeout=DEADLINE_S)
        except (requests.exceptions.InvalidHeader, requests.exceptions.InvalidURL, UnicodeError):
            return  # what no client can send
        except requests.Timeout:
            self.report.hangs.append(what)
            return
        except requests.ConnectionError as error:
            if "RemoteDisconnected" not in str(error) and "reset" not in str(error):
                raise
            self.report.statuses[f"{login} cut"] += 1  # a body too long: the door may close before it is sent
            return
        self.report.slowest_ms = max(self.report.slowest_ms, (time.monotonic() - began_s) * 1000)
        self.report.statuses[f"{login} {response.status_code}"] += 1
        self._check(case, login, response, what)

    def _check(self, case: Case, login: str, response: Any, what: str) -> None:
        may_read = login != "nobody" or case.path in FOR_ALL
        may_change = login == "admin" or case.path in LOGS_OUT
        if response.status_code < 400 and not (may_change if case.method.lower() in CHANGES else may_read):
            self._fault(f"{case.operation.label} lets {login} in", what)
        if (
            case.path.startswith("/api")
            and login == "nobody"
            and response.status_code not in {401, 400, 405, 413, 414, 421, 429, 431}
        ):
            self._fault(f"{case.operation.label} answers nobody with {response.status_code}", what)
        if (
            case.meta is not None
            and case.meta.generation.mode is GenerationMode.NEGATIVE
            and 400 <= response.status_code < 500
        ):
            self._check_failure(case, response, what)
            return
        try:
            case.validate_response(response, checks=CHECKS)
        except FailureGroup as group:
            for failure in group.exceptions:
                self._fault(f"{case.operation.label} {response.status_code}: {str(failure)[:160]}", what)

    def _check_failure(self, case: Case, response: Any, what: str) -> None:
        """Every refusal, of whatever is wrong, has a code and a sentence."""
        try:
            error = json.loads(response.content)["error"]
            good = bool(error["code"]) and bool(error["text"])
        except (ValueError, KeyError, TypeError):
            good = b"Invalid HTTP request" in response.content  # h11's: it is not even HTTP
        if not good and case.method.upper() != "HEAD":
            self._fault(f"{case.operation.label} {response.status_code} without a code", what)

    def _fault(self, wrong: str, what: str) -> None:
        if len(self.report.faults) < 50:
            self.report.faults.setdefault(wrong, what)


def logins(url: str, cli_token: str) -> dict[str, dict[str, str]]:
    """Headers of everybody: the command line, an API token that may only read, and nobody."""
    parts = urllib.parse.urlsplit(url)
    assert parts.hostname
    connection = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=DEADLINE_S)
    admin = {"Authorization": f"Bearer {cli_token}"}
    body = json.dumps({"name": "fuzz", "scope": "read"})
    connection.request("POST", "/api/tokens", body, admin | {"Content-Type": "application/json"})
    secret = json.loads(connection.getresponse().read())["secret"]
    # An account to ask about; and the first password, as the 20 MB that argon2id needs stay.
    user = json.dumps({"name": "mona", "password": "correct horse battery staple"})
    connection.request("POST", "/api/users", user, admin | {"Content-Type": "application/json"})
    connection.getresponse().read()
    connection.close()
    return {"admin": admin, "viewer": {"Authorization": f"Bearer {secret}"}, "nobody": {}}


@contextmanager
def gateway(state: Path) -> Iterator[tuple[str, str, int]]:
    """A gateway in a process of its own: the url of its people's door, the token of its command line, its pid."""
    from gateway.profile import find_node
    from tests.rig import GatewayProgram, add_device

    add_device("greenhouse", find_node("climate-node"), state)
    limits = ("limits.people_requests_per_s=100000", "mqtt.away.url=mqtt://127.0.0.1:1")
    program = GatewayProgram(state, *limits)
    try:
        program.start()
        told = json.loads((state / "run.json").read_text())
        yield told["people_url"], (state / "cli.token").read_text().strip(), program.pid
        assert program.running, program.text()[-2000:]
        faults = [line for line in program.text().splitlines() if " ERROR " in line or "Traceback" in line]
        assert not faults, faults[:5]
    finally:
        program.kill()


def rss_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=1)
    given_ = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, gateway(Path(folder) / "state") as (url, token, pid):
        who = logins(url, token)
        Fuzzer(url, who, given_.seed).run(given_.inputs // 5)
        before_mb, began_s = rss_mb(pid), time.monotonic()
        report = Fuzzer(url, who, given_.seed + 1).run(given_.inputs)
        after_mb = rss_mb(pid)
    print(f"{report.inputs:,} inputs in {time.monotonic() - began_s:.0f} s")
    print("  statuses  " + "  ".join(f"{name}: {count:,}" for name, count in sorted(report.statuses.items())))
    print(f"  faults    {len(report.faults)}")
    for wrong, what in report.faults.items():
        print(f"    {wrong}\n      {what[:400]}")
    print(f"  hangs     {len(report.hangs)} (slowest answer {report.slowest_ms:.0f} ms)")
    for what in report.hangs[:5]:
        print(f"    {what[:400]}")
    print(f"  memory    {before_mb:.1f} MB after the warm-up, {after_mb:.1f} MB at the end")
    return 1 if report.faults or report.hangs else 0


if __name__ == "__main__":
    sys.exit(main())
