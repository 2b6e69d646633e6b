"""Prints what the device makes of each frame of tests/vectors/gateway_to_device.json, whose path is the argument."""

import binascii
import json
import sys

from device import wire
from device.websocket import ProtocolError, WebSocket


def made_of(payload):
    ws = WebSocket(bytes, 125)
    size = len(payload)
    head = bytes((0x81, size)) if size < 126 else bytes((0x81, 126, size >> 8, size & 255))
    try:
        ws.feed(head + payload, 0, len(head) + size)
        return wire.decode(ws.payload())[0]
    except (ProtocolError, wire.Refused) as error:
        return "refused: " + str(error)


with open(sys.argv[1]) as file:
    for vector in json.load(file):
        payload = vector["text"].encode() if "text" in vector else binascii.a2b_base64(vector["base64"])
        print(made_of(payload))
