"""Pure: what the sampler needs of the protocol. Apart from `wire`, so that a board that wakes only to measure loads no
more than this."""

import json


class Column:
    """One quantity of the profile: its `name`, and `decimals` of the integers kept for it."""

    def __init__(self, name, decimals):
        self.name = name
        self.head = b'"' + name.encode() + b'":'
        self.decimals = decimals
        self.room = len(self.head) + 3  # "[", "]" and a comma


def event_body(code, sensor=None, data=None):
    """An event without its frame: what `Outbox.put_event` keeps. `data` is flat: names to integers or short texts."""
    body = '"code":' + json.dumps(code)
    if sensor:
        body += ',"sensor":' + json.dumps(sensor)
    if data:
        body += ',"data":' + json.dumps(data)
    return body.encode()
