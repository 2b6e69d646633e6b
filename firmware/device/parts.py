"""Loads what it takes to talk to the gateway, before any buffer is made: compiling takes memory, the largest while
there is most, and what is loaded late scatters what is left."""

import gc


def load(tls):
    parts = ["wire", "link", "journal", "net", "commands", "places", "signs"]
    if tls:
        parts.append("secure")
    for part in parts:
        __import__("device." + part)
        gc.collect()
