"""How soon the first sample is on the page, and what the gateway's process weighs with the page open.

    python -m tests.bench.demo [--devices N] [--seconds S]

Starts `mpy-gateway demo` as a user would, opens its page in Chromium, and reads /proc. Memory is given in MB resident
(RSS) and proportional (PSS), the broker's child and the boards apart. Ratios are to the same figure of bare Python.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.browser import launch
from tests.flow.commands import FREE_PORTS, command, environment, set_options


def memory_mb(pid: int) -> tuple[float, float]:
    """Resident and proportional memory of one process."""
    rollup = (Path("/proc") / str(pid) / "smaps_rollup").read_text()
    figures = {match[1]: int(match[2]) / 1024 for match in re.finditer(r"^(Rss|Pss):\s+(\d+)", rollup, re.MULTILINE)}
    return figures["Rss"], figures["Pss"]


def children(pid: int) -> list[tuple[int, str]]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                if parent == pid:
                    found.append((int(entry.name), (entry / "cmdline").read_text().replace("\0", " ")))
            except OSError:
                continue
    return found


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--devices", type=int, default=1)
    options.add_argument("--seconds", type=float, default=20)
    wanted = options.parse_args()

    with sync_playwright() as playwright:
        browser = launch(playwright)  # a person's browser is open already
        page = browser.new_page()
        began = time.monotonic()
        process = subprocess.Popen(
            command("demo", "--devices", str(wanted.devices), *set_options(*FREE_PORTS)),
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        assert process.stdout is not None
        link = ""
        while not link:
            found = re.search(r"http\S+/login\?link=\S+", process.stdout.readline())
            link = found[0] if found else ""
        link_s = time.monotonic() - began
        page.goto(link)
        page.goto(link.partition("/login")[0] + "/#/device/climate-1")
        page.wait_for_function("() => /\\d+\\.\\d+\\s*°C/.test(document.body.innerText)", timeout=20_000)
        page_s = time.monotonic() - began
        time.sleep(wanted.seconds)
        bare = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        time.sleep(0.5)
        rows = [("gateway", *memory_mb(process.pid)), ("bare Python", *memory_mb(bare.pid))]
        bare.communicate(b"\n")
        for pid, line in children(process.pid):
            rows.append(("broker" if "broker" in line else "board", *memory_mb(pid)))
        browser.close()
    process.terminate()
    process.wait()
    print(f"link printed after {link_s:.2f} s, first values on the page after {page_s:.2f} s")
    base = rows[1][1]
    print(f"{'process':<14}{'RSS MB':>10}{'PSS MB':>10}{'x bare':>10}")
    for name, rss, pss in rows:
        print(f"{name:<14}{rss:>10.1f}{pss:>10.1f}{rss / base:>10.1f}")


if __name__ == "__main__":
    main()
