"""Writes frames as the board does, from records given as JSON on standard input, and prints them.

{"sensors": [[[name, decimals], ...], ...], "records": [[sensor, t_ms, values] or [code, data] ...], "slots", "limit"}
"""

import json
import sys
from array import array

from device import wire
from device.outbox import Boot, Outbox
from device.sensors import NULL


def frames(case):
    columns = wire.Columns([[wire.Column(*column) for column in sensor] for sensor in case["sensors"]], 4096)
    width = max(len(sensor) for sensor in case["sensors"])
    box = Outbox(Boot(17, "9f3c11d2c01b6a55", "5a0f9c3be1d27718"), case["slots"], width, columns=columns)
    for record in case["records"]:
        if len(record) == 3:
            sensor, t_ms, values = record
            values = array("i", [NULL if value is None else value for value in values])
            box.put_sample(sensor, t_ms, values, len(values))
        else:
            box.put_event(5, wire.event_body(record[0], None, record[1]))
    out = wire.Writer(bytearray(4096), 0)
    while box.load(case["limit"]):
        wire.record(out.clear(), box)
        print(str(bytes(out.buf[: out.at]), "utf8"))
        box.mark_sent()


frames(json.loads(sys.stdin.read()))
