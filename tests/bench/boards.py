"""How many emulated boards a machine holds, each at a sample a second, with a gateway beside them.

    python -m tests.bench.boards [--devices N] [--seconds S] [--serial] [--node NODE]

Starts `mpy-gateway run` and `mpy-gateway emulate --devices N` as a user would, waits until all boards are connected,
and looks at both for S seconds: processor time from /proc/<pid>/stat, memory as PSS. What was taken is counted by the
emulated chips (hardware.page), what was committed by the gateway, after the boards were stopped with Ctrl-C. A board
that finds no processor takes fewer samples than it should: `on time` is that share. What else the machine does
meanwhile is measured, too: a figure from a busy machine is too bad, never too good.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from gateway.cli.common import RunningGateway
from gateway.emulator.page import HardwarePage
from gateway.profile import find_node, load_profile
from tests.bench.demo import children, memory_mb
from tests.flow.commands import command, environment, running_gateway

_HZ = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _HZ


def machine_busy_s() -> float:
    user, nice, system, _idle, _iowait, irq, softirq = map(int, Path("/proc/stat").read_text().split()[1:8])
    return (user + nice + system + irq + softirq) / _HZ


def taken(state: Path, names: list[str], sensors: list[str]) -> int:
    total = 0
    for name in names:
        with contextlib.closing(HardwarePage(state / "boards" / name / "hardware.page", only_look=True)) as page:
            total += sum(page.taken(sensor) for sensor in sensors)
    return total


def measure(devices: int, seconds: float, node: str, serial: bool, directory: Path) -> None:
    profile = load_profile(find_node(node))
    sensors = list(profile.sensors)
    due_per_s = sum(1000 / sensor.period_ms for sensor in profile.sensors.values())
    state = directory / "state"
    with running_gateway(state, f"limits.connections={max(devices + 10, 200)}") as gateway:
        asked = RunningGateway(state)
        began = time.monotonic()
        words = command("emulate", "--node", node, "--devices", str(devices), "--state", str(state))
        host = subprocess.Popen(words + (["--serial"] if serial else []), stdout=subprocess.DEVNULL, env=environment())
        try:
            deadline = began + 60 + 3 * devices
            while sum(device["online"] for device in asked.call("GET", "/api/devices")["devices"]) < devices:
                assert host.poll() is None
                assert time.monotonic() < deadline, "not all boards came up"
                time.sleep(2)  # asking costs the gateway something, too
            up_s = time.monotonic() - began
            names = [device["id"] for device in asked.call("GET", "/api/devices")["devices"]]
            time.sleep(5)  # what connecting costs is not what we look for

            boards = [pid for pid, _ in children(host.pid)]
            groups = {"boards": boards, "their host": [host.pid], "gateway": [gateway.process.pid],
                      "broker": [pid for pid, _ in children(gateway.process.pid)]}  # fmt: skip
            before = {name: sum(map(cpu_s, pids)) for name, pids in groups.items()}
            busy_before, taken_before, at = machine_busy_s(), taken(state, names, sensors), time.monotonic()
            time.sleep(seconds)
            span_s = time.monotonic() - at
            cores = {name: (sum(map(cpu_s, pids)) - before[name]) / span_s for name, pids in groups.items()}
            others = (machine_busy_s() - busy_before) / span_s - sum(cores.values())
            on_time = (taken(state, names, sensors) - taken_before) / (due_per_s * devices * span_s)
            memory = {name: sum(memory_mb(pid)[1] for pid in pids) for name, pids in groups.items()}
        finally:
            host.send_signal(signal.SIGINT)
            host.wait(30)
        counts = [device["counts"] for device in asked.call("GET", "/api/devices")["devices"]]
        committed = sum(count["samples"] for count in counts)
        all_taken = taken(state, names, sensors)

    print(f"{devices} boards ({node}, {due_per_s:g} samples/s each{', serial' if serial else ''}) in {span_s:.0f} s")
    print(
        f"all connected after {up_s:.1f} s; on time {on_time:.2%}; taken {all_taken}, committed {committed}, ", end=""
    )
    print(f"lost {sum(count['lost'] for count in counts)}")
    print(f"{'':<12}{'cores':>8}{'PSS MB':>10}{'a board':>16}")
    for name in groups:
        each = f"{cores[name] / devices * 1000:.2f} ms/s" if name in ("boards", "their host") else ""
        print(f"{name:<12}{cores[name]:>8.2f}{memory[name]:>10.1f}{each:>16}")
    print(
        f"{'all':<12}{sum(cores.values()):>8.2f}{sum(memory.values()):>10.1f}{sum(memory.values()) / devices:>13.1f} MB"
    )
    print(f"others used {max(others, 0):.2f} of {os.cpu_count()} cores meanwhile; load {os.getloadavg()[0]:.1f}")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--devices", type=int, default=50)
    options.add_argument("--seconds", type=float, default=60)
    options.add_argument("--node", default="climate-node")
    options.add_argument("--serial", action="store_true")
    wanted = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="mpy-gateway-boards-") as directory:
        measure(wanted.devices, wanted.seconds, wanted.node, wanted.serial, Path(directory))


if __name__ == "__main__":
    main()
