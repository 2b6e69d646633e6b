"""Log lines: for a person, `19:02:11 INFO  device  greenhouse connected`, or for a program, one JSON object a line.

A logger has the name of the part it speaks for: `logging.getLogger("device")`. Whatever came from outside is cleaned
here, on its way out: no line holds a control character, and none is endless.
"""

from __future__ import annotations

import datetime
import json
import logging
import sys
import traceback
from typing import Any, Final, Literal, TextIO

LINE_LIMIT: Final = 2_000
"""Characters of one line."""
MOST_LINES: Final = 100
"""Of one traceback."""
_CUT = "..."

_COLOURS = {
    logging.DEBUG: "\x1b[2m",
    logging.WARNING: "\x1b[33m",
    logging.ERROR: "\x1b[31m",
    logging.CRITICAL: "\x1b[1;31m",
}
_PLAIN = "\x1b[0m"
_LEVELS = {"CRITICAL": "FATAL", "WARNING": "WARN"}
"""Five letters at most, so that the parts stand in one column."""

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""What every record has: the rest was given as `extra`."""


def setup(
    level: Literal["debug", "info", "warning", "error"] = "info",
    format: Literal["text", "json"] = "text",
    stream: TextIO | None = None,
) -> None:
    """Send every log line of this process to `stream` (standard error). A second call replaces the first."""
    stream = stream or sys.stderr
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines() if format == "json" else TextLines(colour=stream.isatty()))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)
    for name, quietest in _QUIET.items():
        logging.getLogger(name).setLevel(max(quietest, logging.getLevelNamesMapping()[level.upper()]))


_QUIET = {
    "asyncio": logging.INFO,  # at debug: one line per selector and executor
    "websockets": logging.WARNING,  # at info: one line per connection, which the device door says better
    "uvicorn.access": logging.WARNING,  # at info: one line per request
}
"""Libraries whose lines would hide ours, and the least of theirs that is shown."""


def clean(text: object, limit: int = 200) -> str:
    """`text` from outside, fit for a log line: what cannot be printed becomes its escape, and `limit` bounds it."""
    whole = str(text)
    cleaned = "".join(char if char.isprintable() else _escape(char) for char in whole[: limit + 1])
    return cleaned if len(cleaned) <= limit and len(whole) <= limit else cleaned[: limit - len(_CUT)] + _CUT


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode()


class TextLines(logging.Formatter):
    """Lines for a person. Tracebacks follow on lines of their own, indented."""

    def __init__(self, *, colour: bool) -> None:
        super().__init__()
        self.colour = colour

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        level = _LEVELS.get(record.levelname, record.levelname)
        line = f"{at} {level:<5} {clean(record.name, 40):<7} {clean(record.getMessage(), LINE_LIMIT)}"
        if self.colour and (colour := _COLOURS.get(record.levelno)):
            line = f"{colour}{line}{_PLAIN}"
        return "\n  ".join([line, *_traceback(record)])


class JsonLines(logging.Formatter):
    """Lines for a program: `ts` (ISO 8601, UTC), `level`, `part`, `text`, what was given as `extra`, `traceback`."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        line: dict[str, Any] = {
            "ts": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "part": clean(record.name, 40),
            "text": clean(record.getMessage(), LINE_LIMIT),
        }
        line |= {
            clean(key, 40): _jsonable(value)
            for key, value in vars(record).items()
            if key not in _OWN and key not in line
        }
        if lines := _traceback(record):
            line["traceback"] = "\n".join(lines)
        return json.dumps(line, ensure_ascii=False)


def _traceback(record: logging.LogRecord) -> list[str]:
    """The lines of the record's traceback and stack, each cleaned. Of many the first and the last are told."""
    text = "".join(traceback.format_exception(*record.exc_info)) if record.exc_info else ""
    text += record.stack_info or ""
    lines = text.splitlines()
    if len(lines) > MOST_LINES:  # an exception may hold text from outside, with as many lines as it likes
        lines[MOST_LINES // 2 : -MOST_LINES // 2] = [f"... {len(lines) - MOST_LINES:,} lines more ..."]
    return [clean(line, LINE_LIMIT) for line in lines]


def _jsonable(value: object) -> object:
    """JSON knows neither NaN nor infinity, and a text may be endless."""
    if value is None or isinstance(value, bool | int) or (isinstance(value, float) and value - value == 0):
        return value
    return clean(value, LINE_LIMIT)
