"""Pure: frames to the gateway, written into a reused buffer; frames from it, checked field by field
(gateway/device/WIRE.md).

What repeats (samples, latest, gaps, clock answers) is written by `Writer` from integers and allocates nothing; what is
rare goes through `json.dumps`. Whatever comes in is taken for hostile until `decode` has passed it.
"""

import gc
import json
from micropython import const

from device.columns import Column, event_body  # noqa: F401  # event_body: for those who import it from here
from device.fast import number, put
from device.ring import EVENT, SAMPLE
from device.sensors import NULL

SUBPROTOCOL = "mpy-gateway.v1"
MAX_TEXT = const(500)  # characters of a log line
MAX_SAMPLES = const(1000)  # in one frame, by WIRE.md
_VALUE_BYTES = const(14)  # the longest value: sign, 10 digits, "0.", comma
_T_BYTES = const(21)
_BILLION = const(1000000000)  # the largest power of ten among a board's small ints
_COUNTER = 0x1FFFFFFFFFFFFF  # 2^53 - 1
_SAFE_DEPTH_BYTES = const(512)  # so short a text may nest as deep as it likes
_MAX_DEPTH = const(8)


class Refused(Exception):
    """A frame from the gateway that we do not act on."""


# -- out ---------------------------------------------------------------------------------------------------------------


class Writer:
    """JSON into buf[start:]. `at` is the index behind what was written. IndexError where it is full."""

    def __init__(self, buf, start):
        self.buf = buf
        self.start = start
        self.at = start

    def clear(self):
        self.at = self.start
        return self

    def raw(self, source):
        self.at = put(self.buf, self.at, source)

    def integer(self, value):
        """Any integer; one beyond a board's small ints is cut in two once, not divided digit by digit."""
        if -_BILLION < value < _BILLION:
            self.at = number(self.buf, self.at, value, 0)
            return
        if value < 0:
            self._byte(45)
            value = -value
        self.integer(value // _BILLION)
        self._nine_digits(value % _BILLION)

    def scaled(self, value, decimals):
        """`value` / 10^decimals with just as many digits behind the point: 2150, 2 is written 21.50. NULL is null."""
        if value == NULL:
            self.raw(b"null")
            return
        self.at = number(self.buf, self.at, value, decimals)

    def _nine_digits(self, value):
        end = self.at + 9
        for i in range(end - 1, self.at - 1, -1):
            self.buf[i] = 48 + value % 10
            value //= 10
        self.at = end

    def _byte(self, byte):
        self.buf[self.at] = byte
        self.at += 1


class Columns:
    """Writes the frames that hold measured values. Made once; `sensors` has a list of `Column` per sensor, in order."""

    def __init__(self, sensors, frame_bytes):
        self._sensors = sensors
        self._frame_bytes = frame_bytes
        fixed = 96 + sum(column.room for columns in sensors for column in columns)
        sample = _T_BYTES + _VALUE_BYTES * sum(len(columns) for columns in sensors)
        self.limit = min(MAX_SAMPLES, (frame_bytes - fixed) // sample)
        """How many samples always fit into a frame."""
        if self.limit < 1:
            raise ValueError("the quantities of this profile do not fit into a frame of %d bytes" % frame_bytes)

    def other(self, sensors):
        """Columns of another profile: [[name, decimals], ...] per sensor."""
        return Columns([[Column(*column) for column in columns] for columns in sensors], self._frame_bytes)

    def as_lists(self):
        """What `other` takes, of these."""
        return [[[column.name, column.decimals] for column in columns] for columns in self._sensors]

    def samples(self, out, boot, outbox, seq, count):
        """`count` samples of the source `outbox` from `seq` on."""
        out.raw(b'{"type":"samples","boot":')
        out.integer(boot.number)
        out.raw(b',"seq":')
        out.integer(seq)
        out.raw(b',"t":[')
        for i in range(seq, seq + count):
            if i > seq:
                out.raw(b",")
            out.integer(outbox.t_ms(i))
        out.raw(b'],"values":{')
        empty = True
        for sensor in range(len(self._sensors)):
            columns = self._sensors[sensor]
            for j in range(len(columns)):
                if self._measured(outbox, seq, count, sensor, j):
                    self._column(out, outbox, seq, count, sensor, j, empty)
                    empty = False
        if empty:  # nothing was measured at all: one column says so
            self._column(out, outbox, seq, count, outbox.sensor(seq), 0, True)
        out.raw(b"}}")

    def _measured(self, outbox, seq, count, sensor, j):
        for i in range(seq, seq + count):
            if outbox.sensor(i) == sensor and outbox.value(i, j) != NULL:
                return True
        return False

    def _column(self, out, outbox, seq, count, sensor, j, first):
        column = self._sensors[sensor][j]
        if not first:
            out.raw(b",")
        out.raw(column.head)
        out.raw(b"[")
        for i in range(seq, seq + count):
            if i > seq:
                out.raw(b",")
            out.scaled(outbox.value(i, j) if outbox.sensor(i) == sensor else NULL, column.decimals)
        out.raw(b"]")

    def latest(self, out, boot, t_ms, newest):
        """The newest value of every quantity; `newest` has an array of values per sensor. False where there is none."""
        out.raw(b'{"type":"latest","boot":')
        out.integer(boot.number)
        out.raw(b',"t":')
        out.integer(t_ms)
        out.raw(b',"values":{')
        empty = True
        for sensor in range(len(self._sensors)):
            columns = self._sensors[sensor]
            for j in range(len(columns)):
                if newest[sensor][j] != NULL:
                    if not empty:
                        out.raw(b",")
                    out.raw(columns[j].head)
                    out.scaled(newest[sensor][j], columns[j].decimals)
                    empty = False
        out.raw(b"}}")
        return not empty


def record(out, outbox):
    """The frame that `outbox.load` found."""
    source = outbox.source
    seq = outbox.seq
    kind = source.kind(seq)
    if kind == SAMPLE:
        outbox.columns.samples(out, outbox.boot, source, seq, outbox.count)
    elif kind == EVENT:
        _start(out, b'{"type":"event","boot":', outbox.boot.number, b',"seq":', seq)
        out.raw(b',"t":')
        out.integer(source.t_ms(seq))
        out.raw(b",")
        out.raw(source.event(seq))
        out.raw(b"}")
    else:
        _start(out, b'{"type":"gap","boot":', outbox.boot.number, b',"from":', seq)
        if source.at_most(seq) is None:
            out.raw(b',"to":')
            out.integer(seq + outbox.count - 1)
            out.raw(b',"count":')
            out.integer(source.samples_lost(seq, outbox.count))
        else:
            out.raw(b',"to":null,"at_most":')
            out.integer(source.at_most(seq))
        out.raw(b',"why":"')
        out.raw(source.why(seq))
        out.raw(b'"}')


def _start(out, head, boot, name, seq):
    out.raw(head)
    out.integer(boot)
    out.raw(name)
    out.integer(seq)


def hello(out, device, hardware, node, firmware, t_ms, boots):
    """`boots`: (Boot, when its newest record was taken or None), oldest first."""
    boots = [_hello_boot(boot, newest_ms) for boot, newest_ms in boots]
    body = {"device": device, "hardware": hardware, "node": node, "firmware": firmware, "t": t_ms, "boots": boots}
    _dump(out, "hello", body)


def _hello_boot(boot, newest_ms):
    body = {"boot": boot.number, "id": boot.id, "first": boot.base, "next": boot.next, "profile": boot.profile}
    if newest_ms is not None:
        body["t"] = newest_ms
    return body


def clock(out, id, t_ms):
    out.raw(b'{"type":"clock","id":')
    out.integer(id)
    out.raw(b',"t":')
    out.integer(t_ms)
    out.raw(b"}")


def result(id, status, data=None, error=None):
    """The whole frame as bytes, to be sent until it is acknowledged. `error` is (code, text)."""
    body = {"id": id, "status": status}
    if data:
        body["data"] = data
    if error:
        body["error"] = {"code": error[0], "text": error[1]}
    return b'{"type":"result",' + json.dumps(body).encode()[1:]


def settings(out, refused):
    """Names of desired settings to the reason why each was refused."""
    _dump(out, "settings", {"reported": {}, "refused": refused})


def sleep(out, ms):
    out.raw(b'{"type":"sleep","ms":')
    out.integer(ms)
    out.raw(b"}")


def log(out, t_ms, level, text):
    _dump(out, "log", {"t": t_ms, "level": level, "text": text[:MAX_TEXT]})


def _dump(out, kind, body):
    out.raw(b'{"type":"' + kind.encode() + b'",')
    out.raw(json.dumps(body).encode()[1:])


# -- in ----------------------------------------------------------------------------------------------------------------


def decode(data):
    """One text frame (a buffer with valid UTF-8) as (type, fields). All fields that WIRE.md names are there and of the
    right type; one that may be left out is None then. Raises Refused for anything else."""
    if len(data) > _SAFE_DEPTH_BYTES:
        _check_depth(data)
    try:
        body = _loads(data)
    except (ValueError, MemoryError, RuntimeError, OverflowError):
        raise Refused("not JSON")
    kind = body.get("type") if type(body) is dict else None
    fields = _FIELDS.get(kind) if type(kind) is str else None
    if fields is None:
        raise Refused("not an object with a type we know")
    found = {}
    for name, check in fields:
        value = body.get(name)
        if not check(value):
            raise Refused("%s: '%s' is missing or wrong" % (kind, name))
        found[name] = value
    if kind == "ack" and (found["result"] is None) == (found["boot"] is None or found["seq"] is None):
        raise Refused("ack: of a boot and seq, or of a result")
    return kind, found


def _loads(data):
    try:
        return json.loads(data)
    except MemoryError:  # a long text needs room in one piece, which what the first try left behind may give
        gc.collect()
        return json.loads(data)


def _check_depth(data):
    depth = 0
    quoted = escaped = False
    for byte in data:
        if escaped:
            escaped = False
        elif quoted:
            escaped = byte == 92
            quoted = byte != 34
        elif byte == 34:
            quoted = True
        elif byte == 91 or byte == 123:
            depth += 1
            if depth > _MAX_DEPTH:
                raise Refused("nested too deeply")
        elif byte == 93 or byte == 125:
            depth -= 1


def _whole(value, low=0, high=_COUNTER):
    return type(value) is int and low <= value <= high


def _optional(check):
    return lambda value: value is None or check(value)


def _text(most, least=1):
    return lambda value: type(value) is str and least <= len(value) <= most


def _flat(value):
    """A flat object of 16 entries at most, as in commands and settings."""
    if type(value) is not dict or len(value) > 16:
        return False
    for name, item in value.items():
        if type(name) is not str or len(name) > 64 or not (item is None or type(item) in (bool, int, float, str)):
            return False
        if type(item) is str and len(item) > 200:
            return False
    return True


def _command_id(value):
    if type(value) is not str or not 1 <= len(value) <= 32:
        return False
    for c in value:
        if not ("0" <= c <= "9" or "a" <= c <= "z" or "A" <= c <= "Z" or c in "_-"):
            return False
    return True


def is_token(value):
    """Whether it is 32 bytes as base64url without padding: it goes into a header line, where nothing else may."""
    if type(value) is not str or len(value) != 43:
        return False
    for c in value:
        if not ("0" <= c <= "9" or "a" <= c <= "z" or "A" <= c <= "Z" or c in "_-"):
            return False
    return True


def _welcome_boots(value):
    if type(value) is not list or len(value) > 64:
        return False
    for boot in value:
        if type(boot) is not dict or not _whole(boot.get("boot")) or not _whole(boot.get("committed"), -1):
            return False
    return True


_FIELDS = {
    "welcome": (
        ("boots", _welcome_boots),
        ("window", lambda value: _whole(value, 1)),
        ("time", _optional(_whole)),
    ),
    "ack": (("boot", _optional(_whole)), ("seq", _optional(_whole)), ("result", _optional(_command_id))),
    "clock": (("id", _whole),),
    "command": (
        ("id", _command_id),
        ("name", _text(64)),
        ("args", _flat),
        ("deadline_ms", lambda value: _whole(value, -_COUNTER)),
    ),
    "settings": (("desired", _flat),),
    "token": (("token", is_token),),
    "error": (
        ("code", _text(64)),
        ("text", _optional(_text(MAX_TEXT, 0))),
        ("retry", _optional(lambda value: type(value) is bool)),
        ("boot", _optional(_whole)),
        ("seq", _optional(_whole)),
    ),
}
