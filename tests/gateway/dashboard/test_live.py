"""Newest values, messages and one browser's outbox, without a loop."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from gateway.dashboard.live import SAMPLES_IN_A_MESSAGE, Live, Outbox
from gateway.dashboard.messages import HeartbeatMessage
from gateway.dashboard.shapes import Latest
from gateway.model import Correction, Event, Gap, Quality, Refusal, Refused, Sample
from gateway.store import history

from .door import BOOT_ID, T0_MS, batch, sample

NOW_MS = T0_MS + 60_000
HOT = Refusal("temperature", "140.2", "value.range", "temperature 140.2 is outside -40..85 °C")


def taken(live: Live) -> list[dict[str, Any]]:
    """The messages as a browser gets them."""
    decoded: list[dict[str, Any]] = json.loads(msgspec.json.encode(live.take()))
    return decoded


def test_samples_become_columns_with_null_where_nothing_was_measured() -> None:
    live = Live()
    live.committed(batch(sample(3, temperature=21.5), sample(4, humidity=48.0), sample(5, temperature=21.7)))
    assert taken(live) == [
        {
            "type": "samples",
            "device": "greenhouse",
            "boot": 17,
            "boot_id": BOOT_ID,
            "seq": [3, 4, 5],
            "at_ms": [T0_MS + 3000, T0_MS + 4000, T0_MS + 5000],
            "quality": "synced",
            "values": {"temperature": [21.5, None, 21.7], "humidity": [None, 48.0, None]},
        }
    ]


def test_a_sample_of_which_everything_was_refused_is_still_told() -> None:
    live = Live()
    live.committed(batch(Sample(0, 0, {}, (HOT,))))
    samples, quarantine = taken(live)
    assert (samples["seq"], samples["values"]) == ([0], {})
    assert quarantine == {
        "type": "quarantine",
        "device": "greenhouse",
        "rows": [
            {
                "at_ms": T0_MS,
                "boot_id": BOOT_ID,
                "seq": 0,
                "quantity": "temperature",
                "value": "140.2",
                "code": "value.range",
                "reason": HOT.reason,
            }
        ],
    }


def test_batches_of_one_boot_are_joined_and_others_kept_apart() -> None:
    live = Live()
    live.committed(batch(sample(0)))
    live.committed(batch(sample(0), device="cellar"))
    live.committed(batch(sample(1)))
    live.committed(batch(sample(2), quality=Quality.ESTIMATED))
    live.committed(batch(sample(0), boot=18, boot_id="0" * 16))
    told = [(m["device"], m["boot"], m["quality"], m["seq"]) for m in taken(live)]
    assert told == [
        ("greenhouse", 17, "synced", [0, 1]),
        ("cellar", 17, "synced", [0]),
        ("greenhouse", 17, "estimated", [2]),
        ("greenhouse", 18, "synced", [0]),
    ]
    assert taken(live) == []


def test_a_corrected_sample_comes_after_the_one_it_replaces() -> None:
    live = Live()
    live.committed(batch(sample(0), quality=Quality.CORRECTED))
    live.committed(batch(sample(1), quality=Quality.ESTIMATED))
    live.committed(batch(sample(1), quality=Quality.CORRECTED, offset_ms=T0_MS - 5000))
    assert [(m["quality"], m["seq"]) for m in taken(live)] == [
        ("corrected", [0]),
        ("estimated", [1]),
        ("corrected", [1]),
    ]
    assert live.latest("greenhouse")["temperature"].at_ms == T0_MS - 4000


def test_no_message_holds_more_than_its_limit() -> None:
    live = Live()
    live.committed(batch(*(sample(seq) for seq in range(SAMPLES_IN_A_MESSAGE + 5))))
    assert [len(m["seq"]) for m in taken(live)] == [SAMPLES_IN_A_MESSAGE, 5]


def test_events_gaps_and_refused_frames_are_told() -> None:
    live = Live()
    live.committed(
        batch(
            Event(0, 100, "boot", None, {"reset_cause": 1}),
            Gap(1, 50, 50, None, "full"),
            Refused(51, 52, '{"type":"samples"', "frame.columns", "lists of different length"),
        )
    )
    gap, event, quarantine = taken(live)
    assert gap == {
        "type": "gap",
        "device": "greenhouse",
        "boot": 17,
        "boot_id": BOOT_ID,
        "from": 1,
        "to": 50,
        "count": 50,
        "at_most": None,
        "why": "full",
        "before_ms": T0_MS + 100,
        "after_ms": None,
        "received_ms": T0_MS + 999,
    }
    assert event["rows"][0] == {
        "at_ms": T0_MS + 100,
        "boot_id": BOOT_ID,
        "seq": 0,
        "code": "boot",
        "sensor": None,
        "data": {"reset_cause": 1},
    }
    row = quarantine["rows"][0]
    assert (row["quantity"], row["at_ms"], row["code"]) == (None, T0_MS + 999, "frame.columns")


def stored(value: float, at_ms: int, seq: int, boot_id: str = BOOT_ID) -> history.Latest:
    return history.Latest(at_ms, value, Quality.SYNCED, boot_id, seq)


def test_a_gap_has_the_times_known_around_it() -> None:
    live = Live()
    live.committed(batch(sample(0), sample(1)))
    live.committed(batch(Gap(2, 4, 3, None, "full"), sample(5)))
    live.committed(batch(Gap(6, None, None, 64, "power_loss")))
    live.committed(batch(Gap(0, 3, 4, None, "full"), boot=18, boot_id="0" * 16, offset_ms=T0_MS + 9000))
    live.committed(batch(Gap(7, 8, 2, None, "unexplained"), boot=19, boot_id="1" * 16))
    times = [(m["before_ms"], m["after_ms"]) for m in taken(live) if m["type"] == "gap"]
    assert times == [
        (T0_MS + 1000, T0_MS + 5000),
        (T0_MS + 5000, None),
        (T0_MS + 9000, None),  # the start of its boot
        (None, None),  # nothing before it was seen
    ]


def test_a_correction_is_told_and_moves_the_newest_values() -> None:
    live = Live()
    live.committed(batch(sample(3), sample(4, humidity=50.0), quality=Quality.ESTIMATED))
    taken(live)
    live.committed(batch(Correction(0, 3, 500), Correction(4, 9, -700), quality=Quality.CORRECTED))
    assert taken(live) == [
        {"type": "corrected", "device": "greenhouse", "boot": 17, "boot_id": BOOT_ID, **moved}
        for moved in ({"from": 0, "to": 3, "moved_ms": 500}, {"from": 4, "to": 9, "moved_ms": -700})
    ]
    newest = live.latest("greenhouse")
    assert newest["temperature"] == Latest(20.03, T0_MS + 3500, Quality.CORRECTED)
    assert newest["humidity"] == Latest(50.0, T0_MS + 3300, Quality.CORRECTED)


def test_what_was_read_as_corrected_is_not_moved_again() -> None:
    """The feed was behind: the store gave it the true times, and the correction comes after them."""
    live = Live()
    late = batch(sample(5, temperature=21.0))
    live.committed(msgspec.structs.replace(late, quality=Quality.CORRECTED))
    live.committed(msgspec.structs.replace(late, records=(Correction(0, 9, -700_000),), quality=Quality.CORRECTED))
    assert live.latest("greenhouse")["temperature"].at_ms == T0_MS + 5000


def test_two_corrections_of_a_boot_are_not_added_up_before_a_gap() -> None:
    live = Live()
    late = batch(sample(9, temperature=21.0))
    live.committed(msgspec.structs.replace(late, quality=Quality.ESTIMATED))
    moved = (Correction(0, 3, 500), Correction(4, 9, -700))
    live.committed(msgspec.structs.replace(late, records=moved, quality=Quality.CORRECTED))
    taken(live)
    live.committed(msgspec.structs.replace(late, records=(Gap(10, 19, 10, None, "full"),)))
    (gap,) = taken(live)
    assert gap["before_ms"] is None, "REST knows"


def test_a_value_stamped_ahead_of_time_does_not_freeze_the_newest() -> None:
    """The gateway ran with a wrong clock, was restarted with the right one: what it has of the future gives way."""
    year_ms = 31_536_000_000
    live = Live()
    live.load("greenhouse", {"temperature": stored(1.0, T0_MS + year_ms, seq=9, boot_id="0" * 16)}, NOW_MS)
    live.committed(batch(sample(5, temperature=21.0)))
    assert live.latest("greenhouse")["temperature"].value == 21.0
    live.load("greenhouse", {"temperature": stored(1.0, T0_MS + year_ms, seq=9, boot_id="0" * 16)}, NOW_MS)
    assert live.latest("greenhouse")["temperature"].value == 21.0
    live.provisional("greenhouse", T0_MS + 6000, {"temperature": 22.0}, Quality.SYNCED, NOW_MS)
    assert live.latest("greenhouse")["temperature"].value == 22.0


def test_within_a_boot_the_sequence_decides_after_a_restart_of_the_gateway_too() -> None:
    live = Live()
    live.load("greenhouse", {"temperature": stored(20.0, T0_MS + 10_000, seq=4)}, NOW_MS)
    live.committed(batch(sample(5, temperature=21.0)))  # its boot was stamped earlier since
    assert live.latest("greenhouse")["temperature"].value == 21.0


def test_the_newest_value_never_goes_backwards() -> None:
    live = Live()
    live.load("greenhouse", {"temperature": stored(20.0, T0_MS + 10_000, seq=10)}, NOW_MS)
    live.committed(batch(sample(5, temperature=1.0), boot_id="0" * 16, boot=16))
    assert live.latest("greenhouse")["temperature"].value == 20.0
    live.committed(batch(sample(11, temperature=21.0)))
    assert live.latest("greenhouse")["temperature"] == Latest(21.0, T0_MS + 11_000, Quality.SYNCED)


def test_what_the_history_says_late_does_not_hide_what_is_newer() -> None:
    live = Live()
    live.committed(batch(sample(5, temperature=21.0)))
    live.load("greenhouse", {"temperature": stored(20.0, T0_MS, seq=0)}, NOW_MS)
    assert live.latest("greenhouse")["temperature"].value == 21.0


def test_a_provisional_value_stays_ahead_of_the_backlog_until_it_is_committed() -> None:
    live = Live()
    live.provisional("greenhouse", T0_MS + 9000, {"temperature": 25.0}, Quality.ESTIMATED, NOW_MS)
    assert taken(live) == [
        {
            "type": "latest",
            "device": "greenhouse",
            "at_ms": T0_MS + 9000,
            "values": {"temperature": 25.0},
            "provisional": True,
        }
    ]
    live.committed(batch(sample(1)))
    assert live.latest("greenhouse")["temperature"].provisional
    live.committed(batch(sample(9, temperature=25.0)))
    assert live.latest("greenhouse")["temperature"] == Latest(25.0, T0_MS + 9000, Quality.SYNCED)


def test_changed_counts_are_told_once() -> None:
    live = Live()
    live.committed(batch(sample(0)))
    live.committed(batch(sample(1)))
    assert live.take_counted() == {"greenhouse"}
    assert live.take_counted() == set()


def test_an_outbox_gives_frames_in_order_and_no_larger_than_asked() -> None:
    outbox = Outbox(1000)
    outbox.put([b'{"a":%d}' % i for i in range(5)])
    assert json.loads(outbox.take(15)) == [{"a": 0}, {"a": 1}, {"a": 2}]
    assert json.loads(outbox.take(1000)) == [{"a": 3}, {"a": 4}]
    assert not outbox


def test_an_outbox_that_is_too_full_says_so_and_takes_nothing_more() -> None:
    outbox = Outbox(10)
    outbox.put([b"123456"])
    assert not outbox.too_slow
    outbox.put([b"123456", b"1"])
    assert outbox.too_slow
    outbox.put([b"1"])
    assert json.loads(outbox.take(1000)) == [123456]


def test_messages_are_given_in_the_order_they_were_told() -> None:
    live = Live()
    live.committed(batch(sample(0)))
    live.tell(HeartbeatMessage(1))
    assert [message["type"] for message in taken(live)] == ["samples", "heartbeat"]
