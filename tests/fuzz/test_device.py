"""The devices' door under fuzzing, in short and seeded: `python -m tests.fuzz.device --inputs 1000000` is the long run."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz import device
from tests.fuzz.mutate import EVENTS, NAMES, NUMBERS, RAW, SCALARS
from tests.fuzz.opening import Opening
from tests.fuzz.talk import DEVICE, Broken, Talk

HAS_ATHERIS = importlib.util.find_spec("atheris") is not None
TALKS, OPENINGS = device.seeds("talk"), device.seeds("opening")


@pytest.mark.parametrize("name", TALKS)
def test_every_talk_of_the_corpus_keeps_what_is_promised(name: str) -> None:
    assert Talk().play(TALKS[name].decode())


@pytest.mark.parametrize("name", OPENINGS)
@pytest.mark.parametrize("pieces", [1, 3], ids=["at once", "in pieces"])
def test_every_opening_of_the_corpus_keeps_what_is_promised(name: str, pieces: int) -> None:
    assert bool(Opening().play(OPENINGS[name], pieces=pieces)) == (name not in NOT_HTTP)


NOT_HTTP = {"bare-line-feeds", "a-folded-header", "two-of-every-header"}
"""Dropped without an answer: nobody could say what it means."""

NUMBER = st.sampled_from(NUMBERS) | st.integers(0, 40)
VALUE = NUMBER | st.sampled_from(SCALARS) | st.floats()
COLUMNS = st.dictionaries(st.sampled_from([*NAMES, "temperature", "humidity"]), st.lists(VALUE, max_size=4), max_size=4)
FIELDS = {
    "boot": st.sampled_from([16, 17, 17, 17, 18, -1, "17", None]),
    "seq": NUMBER,
    "t": NUMBER | st.lists(NUMBER, max_size=4),
    "values": COLUMNS | st.dictionaries(st.sampled_from(NAMES), VALUE, max_size=4),
    "from": NUMBER,
    "to": NUMBER | st.none(),
    "count": NUMBER | st.none(),
    "at_most": NUMBER | st.none(),
    "why": st.sampled_from(["full", "power_loss", "erased", "dance"]),
    "code": st.sampled_from(["boot", "sensor.failed", "NO CODE"]),
    "data": st.dictionaries(st.sampled_from(NAMES), VALUE, max_size=3),
    "id": NUMBER | st.sampled_from(["abc", "c_1"]),
    "status": st.sampled_from(["done", "failed", "dance"]),
    "level": st.sampled_from(["info", "loud"]),
    "text": st.text(max_size=20),
    "note": VALUE,
}
OF_TYPE = {
    "samples": ("boot", "seq", "t", "values"),
    "latest": ("boot", "t", "values"),
    "gap": ("boot", "from", "to", "why", "at_most"),
    "event": ("boot", "seq", "t", "code", "data"),
    "clock": ("id", "t"),
    "result": ("id", "status", "data"),
    "log": ("level", "text"),
}
BOOT = st.fixed_dictionaries(
    {"boot": st.sampled_from([16, 17, 18]), "id": st.sampled_from(["0" * 16, "9f3c11d2c01b6a55"]),
     "first": st.just(0), "next": NUMBER}, optional={"t": NUMBER, "profile": st.sampled_from(["0" * 16, "f" * 16, ""])},
)  # fmt: skip


@st.composite
def frames(draw: st.DrawFn) -> str:
    """A frame of some type, mostly with the fields it should have."""
    kind = draw(st.sampled_from([*OF_TYPE, "samples", "samples", "gap", "dance"]))
    wanted = {name for name in OF_TYPE.get(kind, ()) if draw(st.integers(0, 19))} | draw(
        st.sets(st.sampled_from([*FIELDS]), max_size=1)
    )
    text = json.dumps({"type": kind} | {name: draw(FIELDS[name]) for name in sorted(wanted)})
    return text.replace("null", draw(st.sampled_from(RAW)), 1) if not draw(st.integers(0, 9)) else text


def hello(boots: list[dict[str, Any]]) -> str:
    return json.dumps({"type": "hello", "device": DEVICE, "hardware": "a4", "t": 5000, "boots": boots})


HELLO = st.lists(BOOT, min_size=1, max_size=3).map(hello)
STEPS = st.lists(frames() | frames() | frames() | st.sampled_from(EVENTS) | HELLO, max_size=14)


@settings(max_examples=100, deadline=1_000, derandomize=True, database=None)
@given(HELLO, STEPS)
def test_whatever_a_device_says_in_whatever_order_the_promises_hold(first: str, steps: list[str]) -> None:
    Talk().play("\n".join([first, *steps]))


@pytest.mark.skipif(not HAS_ATHERIS, reason="atheris has wheels for Linux on x86-64 only")
@pytest.mark.parametrize("target", ["talk", "opening"])
def test_a_short_run_guided_by_coverage_finds_new_code_and_no_fault(target: str, tmp_path: Path) -> None:
    report = device.run(target, 1_000, seed=1, corpus=None, findings=tmp_path)
    assert (report["crashes"], report["hangs"]) == ({}, 0)
    assert report["inputs"] == 1_000
    assert report["places"] > report["places_of_corpus"], "it is guided by nothing"
    before_mb, after_mb = report["rss_mb"]
    assert after_mb < before_mb + 15


def test_a_crash_and_a_hang_are_noticed_and_their_inputs_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def play(_: Talk, text: str) -> None:
        if text == "endless":
            while True:
                pass
        raise Broken(text)

    monkeypatch.setattr(Talk, "play", play)
    monkeypatch.setattr(device, "DEADLINE_S", 0.05)
    watch = device.Watch("talk", 1_000, tmp_path)
    for text in (b"first", b"endless", b"second", b"second"):
        watch.one(text)
    assert (watch.count, watch.hangs, len(watch.crashes)) == (4, 1, 2)
    assert sorted(file.read_bytes() for file in tmp_path.iterdir()) == [b"endless", b"first", b"second"]
