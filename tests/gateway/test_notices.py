"""What a person at the terminal is told of what boards tell."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from gateway.model import Batch, Correction, Event, Gap, Quality, Record, Refusal, Refused, Sample
from gateway.notices import sentences


def told(*records: Record) -> Sequence[tuple[int, str]]:
    batch = Batch("greenhouse", 1, "0" * 16, records, 0, Quality.SYNCED, 0)
    return [(level, sentence) for _, level, sentence in sentences(batch)]


def test_a_failing_sensor_is_a_warning_with_its_error() -> None:
    event = Event(0, 5, "sensor.failed", "climate", {"error": "NameError: name 'foo' isn't defined"})
    assert told(event) == [(logging.WARNING, "sensor climate failed: NameError: name 'foo' isn't defined")]


def test_a_failing_sensor_is_told_with_why_and_what_to_do() -> None:
    event = Event(0, 5, "sensor.failed", "climate", {"errno": 19, "why": "missing", "bus": "i2c0", "address": 0x76})
    words = "sensor climate failed: no chip answers at 0x76 (check its power, its wires and its address)"
    assert told(event) == [(logging.WARNING, words)]


def test_a_start_is_no_warning() -> None:
    assert told(Event(0, 5, "boot", None, {"reset_cause": 1})) == [(logging.INFO, "boot: reset_cause 1")]


def test_starts_that_were_given_up_are_a_warning() -> None:
    (said,) = told(Event(1, 5, "boots.forgotten", None, {"boots": 3, "records": 40}))
    assert said == (logging.WARNING, "boots.forgotten: boots 3, records 40")


def test_what_is_lost_or_refused_is_a_warning_with_the_reason() -> None:
    refusal = Refusal("temperature", "185.2", "value.range", "temperature 185.2 is outside -40..85 °C")
    assert told(
        Gap(0, 9, 10, None, "full"),
        Gap(10, None, None, 12, "power_loss"),
        Refused(22, 23, "{}", "frame.columns", "columns of different length"),
        Sample(24, 5, {}, (refusal,)),
    ) == [
        (
            logging.WARNING,
            "10 samples lost: memory full"
            " (a longer outage than the board has room for; `delivery` in its profile gives it more)",
        ),
        (
            logging.WARNING,
            "at most 12 samples lost: power cut"
            ' (`delivery.power_loss = "none"` in its profile keeps each sample on flash before it is sent)',
        ),
        (logging.WARNING, "a frame was refused: columns of different length (frame.columns)"),
        (logging.WARNING, "a value was refused: temperature 185.2 is outside -40..85 °C (value.range)"),
    ]


def test_a_correction_is_told_with_how_far_it_moved() -> None:
    assert told(Correction(0, 902, -3120), Correction(903, 950, 240_000)) == [
        (logging.INFO, "#0 to #902 were taken 3 s earlier than was estimated; corrected"),
        (logging.INFO, "#903 to #950 were taken 4 min later than was estimated; corrected"),
    ]


def test_a_good_sample_is_not_worth_a_word() -> None:
    assert told(Sample(0, 5, {"temperature": 21.5})) == []
