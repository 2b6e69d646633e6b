"""What is to be done to a board: pure."""

from __future__ import annotations

import random

from gateway.provision.plan import (
    MAIN,
    PROFILE,
    SETTINGS,
    Found,
    Plan,
    What,
    foreign,
    full_sentence,
    is_flashed,
    is_program,
    make_plan,
)

ROOM = 1 << 20


def file(text: str = "x") -> Found:
    return Found.of(text.encode())


WANTED = {
    "/boot.py": file("boot"),
    "/device/link.mpy": file("link"),
    "/device/node.mpy": file("node"),
    "/ca.der": file("ca"),
    PROFILE: file("profile"),
    SETTINGS: file("settings"),
    MAIN: file("main"),
}


def steps(plan: Plan) -> list[str]:
    return [f"{step.what.value} {step.path}" for step in plan.steps]


def test_a_blank_board_gets_everything_the_token_late_and_main_last() -> None:
    plan = make_plan({}, WANTED, ROOM)
    assert {step.what for step in plan.steps} == {What.WRITE}
    assert [step.path for step in plan.steps][-3:] == [PROFILE, SETTINGS, MAIN]
    assert {step.path for step in plan.steps} == WANTED.keys()
    assert plan.bytes == sum(found.size for found in WANTED.values())
    assert plan.missing_bytes == plan.unchanged == 0


def test_a_board_that_is_as_it_should_be_is_left_alone() -> None:
    plan = make_plan(WANTED, WANTED, 0)
    assert plan.steps == ()
    assert plan.unchanged == len(WANTED)


def test_when_the_program_changes_main_goes_first_and_comes_last() -> None:
    there = WANTED | {"/device/link.mpy": file("old")}
    assert steps(make_plan(there, WANTED, ROOM)) == ["remove /main.py", "write /device/link.mpy", "write /main.py"]


def test_other_settings_alone_do_not_touch_the_program() -> None:
    assert steps(make_plan(WANTED | {SETTINGS: file("old")}, WANTED, ROOM)) == ["write /settings.json"]


def test_what_is_no_longer_needed_goes_and_what_is_the_boards_or_the_users_stays() -> None:
    ours = {"/device/link.py": file(), "/device/sensors/old.mpy": file(), "/flash.new": file()}
    theirs = {"/outbox/running": file(), "/token.json": file(), "/executed.bin": file(), "/lib/x.py": file()}
    plan = make_plan(WANTED | ours | theirs, WANTED, ROOM)
    assert {step.path for step in plan.of(What.REMOVE)} == ours.keys() | {MAIN}


def test_a_same_size_is_not_the_same_file() -> None:
    there = WANTED | {"/device/link.mpy": file("LINK")}
    assert "write /device/link.mpy" in steps(make_plan(there, WANTED, ROOM))


def test_carried_out_step_by_step_and_cut_anywhere_the_next_plan_ends_at_the_same_files() -> None:
    chance = random.Random(3)
    paths = [*WANTED, "/device/old.py", "/notes.txt", "/outbox/1"]
    for _ in range(300):
        there = {path: file(chance.choice("ab")) for path in paths if chance.random() < 0.7}
        kept = {path: there[path] for path in ("/notes.txt", "/outbox/1") if path in there}
        plan = make_plan(there, WANTED, ROOM)
        done = chance.randint(0, len(plan.steps))
        for step in plan.steps[:done]:
            if step.what is What.REMOVE:
                del there[step.path]
            else:
                there[step.path] = WANTED[step.path]
        again = make_plan(there, WANTED, ROOM)
        if done and MAIN in there:  # it would run: then nothing of the program is missing
            assert {step.path for step in again.steps} <= {SETTINGS}
        for step in again.steps:
            there.pop(step.path, None)
            if step.what is What.WRITE:
                there[step.path] = WANTED[step.path]
        assert there == WANTED | kept


def test_a_file_is_there_twice_while_it_is_replaced() -> None:
    wanted = {"/device/big.mpy": Found(40_000, "new")}
    there = {"/device/big.mpy": Found(40_000, "old")}
    assert make_plan(there, wanted, 90_000).missing_bytes == 0
    assert 0 < make_plan(there, wanted, 40_000).missing_bytes <= 40_000


def test_what_is_removed_first_makes_room() -> None:
    wanted = {"/device/big.mpy": Found(40_000, "new")}
    there = {"/device/old.py": Found(40_000, "old")}
    assert make_plan(there, wanted, 40_000).missing_bytes == 0


def test_a_full_flash_says_what_could_go() -> None:
    there = {
        "/photo.jpg": Found(500_000),
        "/log.txt": Found(90_000),
        "/a.txt": Found(10),
        "/b.txt": Found(11),
        "/outbox/1": Found(16_384),
        "/outbox/2": Found(16_384),
    }
    plan = make_plan(there, {MAIN: Found(100_000, "new")}, 40_000)
    assert full_sentence(plan, there, "/dev/ttyUSB0") == (
        "the board's flash is full: 96.0 KB more are needed. What is not ours there: /photo.jpg (488.3 KB), /log.txt "
        "(87.9 KB), /b.txt (11 B); remove some (mpremote connect /dev/ttyUSB0 rm :FILE). Samples that wait to be sent "
        "take 32.0 KB: let it reach its gateway first, or lose them. `mpy-gateway erase /dev/ttyUSB0` empties it"
    )


def test_a_program_of_somebody_elses_is_asked_about_and_one_of_ours_is_not() -> None:
    theirs = {MAIN: file("theirs"), "/boot.py": file("theirs"), "/x.py": file()}
    assert foreign(theirs, WANTED) == ["/boot.py", MAIN]
    assert foreign(theirs | {"/device/link.py": file("an older one")}, WANTED) == []
    assert foreign({}, WANTED) == []
    assert is_flashed({SETTINGS})
    assert not is_flashed({MAIN, "/lib/device.py"})


def test_a_new_boards_boot_file_is_no_program() -> None:
    assert not is_program(b"# This file is executed on every boot\n#import esp\n\n  # x\n")
    assert is_program(b"# mine\nimport network\n")
