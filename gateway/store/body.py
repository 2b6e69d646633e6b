"""The body of a row of `batches`: MessagePack of its records."""

from __future__ import annotations

import logging

import msgspec

from gateway.model import Gap, Record

log = logging.getLogger("store")

decode_records = msgspec.msgpack.Decoder(tuple[Record, ...]).decode


def records_of(body: bytes, device: str, first: int, last: int) -> tuple[Record, ...]:
    """What `body` holds. What cannot be read any more (a bit that SQLite does not guard) is a gap to whoever asks: it
    must not stop the readers for ever."""
    try:
        return decode_records(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        log.error("%s: records %d to %d on the disk cannot be read any more: %s", device, first, last, error)
        return (Gap(first, last, None, last - first + 1, "other"),)


def count_records(head: bytes) -> int:
    """How many records a body holds, by its first five bytes: the length of a MessagePack array."""
    if not head:
        return 0
    kind = head[0]
    if kind == 0xDC:
        return int.from_bytes(head[1:3], "big")
    return int.from_bytes(head[1:5], "big") if kind == 0xDD else kind & 0x0F
