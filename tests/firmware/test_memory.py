"""What a sample costs in memory, measured inside the interpreter with the heap of a board."""

from __future__ import annotations

import json

from tests.firmware import interpreter


def test_a_sample_taken_framed_masked_and_sent_allocates_nothing_but_its_share_of_random_bytes() -> None:
    measured = json.loads(interpreter.run_script("bench.py").splitlines()[-1])
    assert measured["bytes_per_sample"] < 16
    assert measured["bytes_per_sample_with_ack"] < 600
    assert measured["motion_bytes_per_sample"] < 4
