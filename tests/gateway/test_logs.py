"""Log lines: readable, bounded, and harmless whatever is in them."""

from __future__ import annotations

import io
import json
import logging

import pytest

from gateway import logs


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def _root_logger_as_before():
    root = logging.getLogger()
    before = root.level, root.handlers[:]
    quiet = {name: logging.getLogger(name).level for name in logs._QUIET}
    yield
    root.setLevel(before[0])
    root.handlers[:] = before[1]
    logging.captureWarnings(False)
    for name, level in quiet.items():
        logging.getLogger(name).setLevel(level)


def written(text_format="text", level="info", stream=None, say=lambda log: log.info("hello")):
    stream = stream or io.StringIO()
    logs.setup(level, text_format, stream)
    say(logging.getLogger("device"))
    return stream.getvalue()


def test_a_line_says_when_how_bad_which_part_and_what():
    line = written(say=lambda log: log.info("%s connected from %s", "greenhouse", "127.0.0.1"))
    assert line[2] == line[5] == ":"
    assert line[8:] == " INFO  device  greenhouse connected from 127.0.0.1\n"


def test_levels_below_the_one_asked_for_are_left_out():
    assert written(say=lambda log: log.debug("quiet")) == ""
    assert "quiet" in written(level="debug", say=lambda log: log.debug("quiet"))


def test_libraries_whose_every_line_is_noise_stay_quiet_even_at_debug():
    assert written(level="debug", say=lambda _: logging.getLogger("uvicorn.access").info("GET /")) == ""


def test_colour_is_only_for_a_terminal():
    assert "\x1b" not in written(say=lambda log: log.error("broken"))
    assert "\x1b[31m" in written(stream=Terminal(), say=lambda log: log.error("broken"))


def test_control_characters_from_outside_never_reach_the_terminal():
    hostile = "a\x1b[2Jb\r\nfake line\x00\u202e\x9b"
    line = written(stream=Terminal(), say=lambda log: log.info("device %s", hostile))
    assert line.count("\n") == 1
    assert not {"\x1b", "\r", "\x00", "\u202e", "\x9b"} & set(line)
    assert r"a\x1b[2Jb\r\nfake line\x00\u202e\x9b" in line


def test_a_line_has_an_end():
    line = written(say=lambda log: log.info("x" * 1_000_000))
    assert len(line) < logs.LINE_LIMIT + 30
    assert line.endswith("...\n")


def test_a_traceback_follows_on_lines_of_its_own():
    def say(log):
        try:
            raise OSError("disk\x1bfull")
        except OSError:
            log.exception("cannot write")

    lines = written(say=say).splitlines()
    assert lines[0].endswith("cannot write")
    assert lines[1] == "  Traceback (most recent call last):"
    assert lines[-1] == r"  OSError: disk\x1bfull"


@pytest.mark.parametrize("text_format", ["text", "json"])
def test_a_traceback_has_an_end_too(text_format):
    def say(log):
        try:
            raise OSError("\n".join(f"line {number}" + "x" * 10_000 for number in range(1_000)))
        except OSError:
            log.exception("cannot write")

    line = written(text_format, say=say)
    assert len(line) < (logs.MOST_LINES + 5) * (logs.LINE_LIMIT + 10)
    assert "Traceback (most recent call last)" in line
    assert "lines more ..." in line


@pytest.mark.parametrize("text_format", ["text", "json"])
@pytest.mark.parametrize("way", ["argument", "message", "extra", "exception", "name"])
def test_no_way_into_a_line_makes_a_second_one(text_format, way):
    hostile = "x\r\n19:02:11 INFO  people  admin logged in\x1b[1A\x85\u2028\x00"

    def say(log):
        if way == "argument":
            log.warning("device %s", hostile)
        elif way == "message":
            log.warning(hostile)
        elif way == "extra":
            log.warning("said", extra={"device": hostile})
        elif way == "name":
            logging.getLogger(hostile).warning("said")
        else:
            try:
                raise OSError(hostile)
            except OSError as error:
                log.warning("failed: %s", error)

    line = written(text_format, say=say)
    assert line.count("\n") == 1
    assert not set("\r\x1b\x85\u2028\x00") & set(line)


def test_json_lines_are_json_with_what_was_given_as_extra():
    def say(log):
        log.warning(
            "slow %d\n", 3, extra={"device": "greenhouse", "wait_ms": 12.5, "odd": float("nan"), "thing": object}
        )

    line = written("json", say=say)
    assert line.count("\n") == 1
    entry = json.loads(line, parse_constant=pytest.fail)
    assert entry["level"] == "warning"
    assert entry["part"] == "device"
    assert entry["text"] == r"slow 3\n"
    assert entry["ts"].endswith("Z")
    assert (entry["device"], entry["wait_ms"], entry["odd"]) == ("greenhouse", 12.5, "nan")
    assert "taskName" not in entry


def test_json_lines_hold_the_traceback():
    def say(log):
        try:
            raise OSError("disk full")
        except OSError:
            log.exception("cannot write")

    assert json.loads(written("json", say=say))["traceback"].endswith("OSError: disk full")


def test_extra_cannot_take_the_place_of_our_own_keys():
    entry = json.loads(written("json", say=lambda log: log.info("true", extra={"text": "false", "level": "fatal"})))
    assert (entry["text"], entry["level"]) == ("true", "info")


def test_clean_keeps_what_can_be_printed_and_bounds_the_rest():
    assert logs.clean("21.5 °C, Küche") == "21.5 °C, Küche"
    assert logs.clean("a\tb\ud800") == r"a\tb\ud800"
    assert logs.clean("x" * 201, 200) == "x" * 197 + "..."
    assert len(logs.clean("\x00" * 1_000, 50)) == 50
    assert logs.clean("x" * 200, 200) == "x" * 200
    assert logs.clean(b"\xff") == r"b'\xff'"
