"""`network.WLAN` over emulated air."""

from __future__ import annotations

from pathlib import Path

from gateway.emulator import Interpreter
from gateway.profile import Profile, load_profile
from tests.aio import run, until
from tests.gateway.emulator.bench import NODE, WIFI, make_board, output, powered

JOIN = """
import network, time
wlan = network.WLAN(network.STA_IF)
def join(ssid, password):
    wlan.connect(ssid, password)
    start = time.ticks_ms()
    seen = [wlan.status()]
    while wlan.status() == network.STAT_CONNECTING:
        time.sleep_ms(5)
    return seen[0], wlan.status(), time.ticks_diff(time.ticks_ms(), start)
"""


def test_it_connects_after_a_moment_with_the_right_password(tmp_path: Path, interpreter: Interpreter) -> None:
    program = (
        JOIN
        + """
print(wlan.active(), wlan.isconnected(), wlan.ifconfig()[0])
try:
    wlan.connect("home", "x")
except OSError as error:
    print(error)
wlan.active(True)
first, last, took_ms = join("home", "sesame-sesame")
print(first, last, 90 <= took_ms < 2000, wlan.isconnected(), wlan.ifconfig()[0], wlan.config("ssid"))
print(network.WLAN() is wlan, len(wlan.config("mac")), wlan.scan()[0][0], -90 < wlan.status("rssi") < -30)
wlan.disconnect()
print(wlan.isconnected(), wlan.status())
wlan.active(False)
"""
    )
    assert output(tmp_path, interpreter, program) == [
        "False False 0.0.0.0",
        "Wifi Not Started",
        "1001 1010 True True 127.0.0.1 home",
        "True 6 b'home' True",
        "False 1000",
    ]


def test_a_wrong_password_and_a_network_out_of_reach_have_their_own_status(
    tmp_path: Path, interpreter: Interpreter
) -> None:
    program = (
        JOIN
        + """
wlan.active(True)
print(join("home", "sesame")[1] == network.STAT_WRONG_PASSWORD, wlan.isconnected())
print(join("elsewhere", "sesame-sesame")[1] == network.STAT_NO_AP_FOUND, wlan.isconnected())
print(join("cafe", "")[1] == network.STAT_GOT_IP)
"""
    )
    air = [WIFI, {"ssid": "cafe"}]
    assert output(tmp_path, interpreter, program, air=air) == ["True False", "True False", "True"]


def test_the_signal_walks_within_what_is_believable_and_each_look_counts(
    tmp_path: Path, interpreter: Interpreter
) -> None:
    program = (
        JOIN
        + """
wlan.active(True)
try:
    wlan.status("rssi")
except OSError as error:
    print(error)
join("home", "sesame-sesame")
walk = [wlan.status("rssi") for _ in range(300)]
print(all(-85 < level < -37 for level in walk), len(set(walk)) > 3, max(abs(a - b) for a, b in zip(walk, walk[1:])) < 5)
wlan.status(); wlan.isconnected(); wlan.scan()
"""
    )

    async def scenario() -> None:
        board = make_board(tmp_path, interpreter, program)
        async with powered(board):
            await until(lambda: board.ended, what="the end of main.py")
            await board.stop()
        assert list(board.console_tail) == ["Wifi Not Connected", "True True True"]
        assert board.taken() == {"climate": 0, "vitals": 301}

    run(scenario())


def test_a_board_without_vitals_has_a_radio_all_the_same(tmp_path: Path, interpreter: Interpreter) -> None:
    whole = load_profile(NODE)
    profile = Profile(
        node=whole.node,
        board=whole.board,
        buses=whole.buses,
        sensors={"climate": whole.sensors["climate"]},
        outputs=whole.outputs,
        delivery=whole.delivery,
    )
    program = (
        JOIN
        + """
wlan.active(True)
join("home", "sesame-sesame")
print(-90 < wlan.status("rssi") < -30)
"""
    )
    assert output(tmp_path, interpreter, program, profile=profile) == ["True"]
