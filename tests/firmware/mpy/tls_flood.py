"""More than the socket takes, through the firmware's Net: `tls_flood.py CA NAME PORT BLOCKS BYTES`

Sends so many blocks, each longer than a TLS record of ours, and reads what comes meanwhile, until so many bytes have come. Prints a line `full` when
nothing was taken for the first time, and one of JSON at the end: how often that was, how often a part was taken, and the
SHA-256 of what was sent and of what came.
"""

import binascii
import hashlib
import json
import sys

from device.net import Net
from device.places import Places
from device.secure import Secure

BLOCK = 20000
SOL_SOCKET, SO_SNDBUF = 1, 7

with open(sys.argv[1], "rb") as file:
    secure = Secure(file.read(), sys.argv[2])
blocks = int(sys.argv[4])
places = Places("/nowhere", {"host": "127.0.0.1", "tls": False})
net = Net([], places, int(sys.argv[3]), secure, print)
buf = bytearray(BLOCK)
rx = bytearray(1000)
sent, came = hashlib.sha256(), hashlib.sha256()
found = {"nothing": 0, "part": 0, "came": 0}


def read():
    """All there is: nobody tells what TLS holds already."""
    while size := net.read_into(rx):
        came.update(memoryview(rx)[:size])
        found["came"] += size


net.connect(0)
net._socket.setsockopt(SOL_SOCKET, SO_SNDBUF, 16384)
while not net.connected():
    net.wait(100, True)
while not net.shake(b"!"):
    net.wait(50, False)
for number in range(blocks):
    for i in range(0, BLOCK, 250):
        buf[i] = number + i & 255
    sent.update(buf)
    at = 0
    while at < BLOCK:
        taken = net.write(buf, at, BLOCK - at)
        read()
        if not taken:
            if not found["nothing"]:
                print("full")
            found["nothing"] += 1
            net.wait(100, True)
        else:
            found["part"] += taken < BLOCK - at
            at += taken
while found["came"] < int(sys.argv[5]):
    net.wait(100, False)
    read()
net.close()
found["sent_hash"] = binascii.hexlify(sent.digest()).decode()
found["came_hash"] = binascii.hexlify(came.digest()).decode()
print(json.dumps(found))
