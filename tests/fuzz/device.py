"""Coverage-guided fuzzing of the devices' door, by atheris (libFuzzer):

    .venv/bin/python -m tests.fuzz.device --inputs 1000000 --seed 1 [--target talk|opening] [--corpus DIR]

Two targets, half the inputs each: `talk` (frames to the pure session, talk.py) and `opening` (bytes to the library as
our listener sets it up, opening.py). What is fuzzed runs instrumented: whatever reaches new code is kept and changed
further. Reports inputs, distinct errors, crashes, hangs (an input has a second of CPU) and how memory grew; exit code 1 where
there is something to mend, with each input in a file. `--corpus` keeps what was found to be new from run to run.
"""

from __future__ import annotations

import argparse
import codecs
import contextlib
import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
DEADLINE_S: Final = 1.0
"""Of CPU: a busy machine is no hang, and nothing here waits for anything."""
LONGEST_BYTES: Final = 20_000
WARM_UP: Final = 0.2
"""After this part of the inputs the memory that is needed is there: growth is counted from then on."""


def seeds(target: str) -> dict[str, bytes]:
    """The corpus kept in the repository, by name. Openings are written with escapes: they hold bytes that are no text."""
    files = sorted((HERE / "corpus" / target).glob("*.txt"))
    return {file.stem: _seed(target, file.read_text()) for file in files}


def _seed(target: str, text: str) -> bytes:
    text = text.rstrip("\n")
    if target == "talk":
        return text.encode()
    return codecs.decode("".join(text.split("\n")), "unicode_escape").encode("latin-1")


class Hang(BaseException):
    """An input took longer than it may. No Exception: nobody is to catch it on the way."""


class Watch:
    """Plays inputs and notes what came of them."""

    def __init__(self, target: str, inputs: int, findings: Path) -> None:
        from tests.fuzz.opening import Opening
        from tests.fuzz.talk import Talk

        self._talk, self._opening = Talk, Opening
        self._target, self._most, self._findings = target, inputs, findings
        self.count = 0
        self.heard: Counter[str] = Counter()
        self.crashes: dict[str, str] = {}
        self.hangs = 0
        self.slowest_s = 0.0
        self.rss_mb = 0.0
        self._began_s = time.monotonic()
        signal.signal(signal.SIGPROF, self._too_long)

    def _too_long(self, *_: object) -> None:
        raise Hang

    def one(self, data: bytes) -> None:
        """One input."""
        self.count += 1
        began_s = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, DEADLINE_S)
        try:
            self.heard.update(self._play(data).keys())
        except Hang:
            self.hangs += 1
            self._keep("hang", data)
        except Exception as error:
            self._crashed(error, data)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        self.slowest_s = max(self.slowest_s, time.process_time() - began_s)
        if self.count == int(self._most * WARM_UP) + 1:
            self.rss_mb = rss_mb()
        if self.count >= self._most:
            self._end()

    def _play(self, data: bytes) -> Counter[str]:
        if self._target == "talk":
            return self._talk().play(data.decode(errors="replace"))
        return self._opening().play(data, pieces=1 + len(data) % 3)

    def _crashed(self, error: Exception, data: bytes) -> None:
        last = traceback.extract_tb(error.__traceback__)[-1]
        what = f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}: {str(error)[:120]}"
        if what not in self.crashes and len(self.crashes) < 50:
            self.crashes[what] = self._keep(f"crash-{len(self.crashes)}", data)

    def _keep(self, name: str, data: bytes) -> str:
        file = self._findings / f"{self._target}-{name}"
        file.write_bytes(data)
        return str(file)

    def _end(self) -> None:
        """libFuzzer does not return: what there is to say is said here."""
        report = {
            "target": self._target,
            "inputs": self.count,
            "seconds": round(time.monotonic() - self._began_s, 1),
            "heard": sorted(self.heard),
            "crashes": self.crashes,
            "hangs": self.hangs,
            "slowest_ms": round(self.slowest_s * 1000, 1),
            "rss_mb": [round(self.rss_mb, 1), round(rss_mb(), 1)],
        }
        print("REPORT " + json.dumps(report), flush=True)
        os._exit(0)


def rss_mb() -> float:
    """What this process holds in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def fuzz(target: str, inputs: int, seed: int, corpus: Path, findings: Path) -> None:
    """One target, in this process. Does not return."""
    import atheris

    with atheris.instrument_imports(
        include=["gateway.device", "gateway.intake", "gateway.store.commit", "websockets.http11", "websockets.server",
                 "websockets.protocol", "websockets.frames", "websockets.headers", "websockets.streams"]
    ):  # fmt: skip
        import tests.fuzz.opening
        import tests.fuzz.talk  # noqa: F401
    from tests.fuzz import mutate

    watch = Watch(target, inputs, findings)

    def change(data: bytes, max_size: int, number: int) -> bytes:
        rng = random.Random(number)
        if rng.random() < 0.2:
            return bytes(atheris.Mutate(data, max_size))
        try:
            changed = mutate.change(target, data, rng)
        except Exception:  # libFuzzer would wait for ever
            traceback.print_exc()
            os._exit(2)
        return changed if len(changed) <= max_size else data

    arguments = [sys.argv[0], f"-seed={seed}", f"-max_len={LONGEST_BYTES}", "-len_control=0", "-rss_limit_mb=2048",
                 "-timeout=20", f"-artifact_prefix={findings}/native-", str(corpus)]  # fmt: skip
    atheris.Setup(arguments, watch.one, custom_mutator=change)
    atheris.Fuzz()


def run(target: str, inputs: int, seed: int, corpus: Path | None, findings: Path) -> dict[str, Any]:
    """One target in a process of its own; its report. A process that dies is a crash, too."""
    with tempfile.TemporaryDirectory() as folder:
        working = Path(folder) if corpus is None else corpus / target
        working.mkdir(parents=True, exist_ok=True)
        for name, data in seeds(target).items():
            (working / name).write_bytes(data)
        words = [sys.executable, "-m", "tests.fuzz.device", "--target", target, "--inputs", str(inputs)]
        words += ["--seed", str(seed), "--corpus", str(working), "--findings", str(findings), "--here"]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, errors="replace")
    found = re.search(r"^REPORT (.*)$", done.stdout, re.MULTILINE)
    if found is None:
        end = done.stderr[-2000:]
        return {"target": target, "inputs": 0, "heard": [], "crashes": {f"the process died: {end}": ""}, "hangs": 0}
    report: dict[str, Any] = json.loads(found[1])
    coverage = re.findall(r"cov: (\d+) ft: (\d+) corp: (\d+)", done.stderr)
    with contextlib.suppress(IndexError):
        report["places"], report["kept"] = int(coverage[-1][0]), int(coverage[-1][2])
        report["places_of_corpus"] = int(coverage[0][0])
    return report


def show(report: dict[str, Any]) -> bool:
    """Prints a report; True where nothing is to be mended."""
    print(f"{report['target']}: {report['inputs']:,} inputs in {report.get('seconds', 0):g} s")
    print(f"  code reached        {report.get('places_of_corpus', '?')} places by the corpus, {report.get('places', '?')}"
          f" at the end; {report.get('kept', '?')} inputs were new")  # fmt: skip
    print(f"  distinct answers    {len(report['heard'])}: {' '.join(report['heard'])}")
    print(f"  crashes             {len(report['crashes'])}")
    for what, file in report["crashes"].items():
        print(f"    {what}  {file}")
    print(f"  hangs               {report['hangs']} (slowest input {report.get('slowest_ms', 0):g} ms)")
    before, after = report.get("rss_mb", (0.0, 0.0))
    print(f"  memory              {before:g} MB after {WARM_UP:.0%}, {after:g} MB at the end")
    return not report["crashes"] and not report["hangs"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--target", choices=("talk", "opening"))
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--findings", type=Path, default=Path(tempfile.gettempdir()) / "mpy-gateway-fuzz")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    given.findings.mkdir(parents=True, exist_ok=True)
    if given.here:
        fuzz(given.target, given.inputs, given.seed, given.corpus, given.findings)
    targets = (given.target,) if given.target else ("talk", "opening")
    reports = [run(t, given.inputs // len(targets), given.seed, given.corpus, given.findings) for t in targets]
    good = [show(report) for report in reports]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
