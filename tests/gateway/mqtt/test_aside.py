"""What was set aside is counted once, bounded, and there again after a restart."""

from __future__ import annotations

from gateway.model import Gap
from gateway.mqtt.aside import NEWEST, Aside
from tests.gateway.mqtt.test_topics import BOOT_ID, batch, messages, sample


def test_an_entry_says_where_the_samples_are_and_why_they_were_not_published() -> None:
    aside = Aside()
    (message,) = messages(batch(sample(3, temperature=1), sample(4, temperature=2)))
    entry = aside.add(message, "x" * 1_000, 1_790_000_000_000)
    assert (entry.device, entry.boot_id, entry.seq, entry.through) == ("greenhouse", BOOT_ID, 3, 4)
    assert (entry.topic, entry.at_ms, len(entry.why)) == ("mpy-gateway/greenhouse/samples", 1_790_000_000_000, 300)


def test_the_same_again_is_not_counted_again_and_only_the_newest_are_kept() -> None:
    aside = Aside()
    for seq in range(NEWEST + 10):
        for message in messages(batch(Gap(seq, seq, 1, None, "full"))):
            aside.add(message, "no", 0)
            aside.add(message, "no", 1)
    assert aside.count == NEWEST + 10
    assert [entry.seq for entry in aside.newest] == list(range(10, NEWEST + 10))


def test_it_survives_a_restart() -> None:
    aside = Aside()
    assert aside.is_saved
    aside.add(*messages(batch(sample(0, temperature=1))), "no", 5)
    assert not aside.is_saved
    again = Aside()
    again.load(aside.save())
    assert (again.count, list(again.newest)) == (1, list(aside.newest))


def test_nothing_of_a_forgotten_device_is_kept_but_that_it_was_counted() -> None:
    aside = Aside()
    for device in ("greenhouse", "cellar"):
        aside.add(*messages(batch(sample(0, temperature=1), device=device)), "no", 5)
    aside.is_saved = True
    aside.forget("attic")
    assert aside.is_saved
    aside.forget("cellar")
    assert not aside.is_saved
    assert (aside.count, [entry.device for entry in aside.newest]) == (2, ["greenhouse"])
