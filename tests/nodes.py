"""The climate node as most tests want it: one chip on a bus, and the board itself. What they are about is not light."""

from __future__ import annotations

import re

from gateway.profile import Profile, find_node, load_profile


def plain_climate() -> str:
    """Its profile without the light sensor."""
    text, times = re.subn(
        r"(?s)\[sensors\.light\]\n.*?(?=# The board itself)", "", find_node("climate-node").read_text()
    )
    assert times == 1
    return text


def plain_profile() -> Profile:
    """The same, loaded."""
    whole = load_profile(find_node("climate-node"))
    return whole.model_copy(update={"sensors": {name: s for name, s in whole.sensors.items() if name != "light"}})
