"""What is on its way to the broker, and how far the cursor may move: pure.

The log is read in pages. A page is done when every one of its messages is acknowledged, and the cursor stands behind
the last page before which all are done. Until then the messages stay here: this is the copy that a reconnect sends.

Beside the log go notices: what is not in the log and is made anew when it is lost (states, availability), and results.
Each has a share of what may be under way, so that neither holds up the other however slow the broker is.

Bounds: `WINDOW` messages under way, of the log at most `WINDOW_BYTES`; waiting, less than `WINDOW` messages or
`WAITING_BYTES`, and one page more; `MAX_NOTICES` notices.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from gateway.mqtt.topics import Message

WINDOW = 90
"""Messages under way without a PUBACK. Measured with paho: 33 to 43 us a publish with 90, 66 to 103 us with 1,000."""
WINDOW_BYTES = 256 * 1024
"""Of the log under way, or one message: a state sent behind them waits for all of them."""
WAITING_BYTES = 1 << 20
"""No page is read while more than this waits."""
MAX_PAGES = 1_000
"""Pages begun and not done. Only where a broker keeps one message waiting while it takes others."""
MAX_NOTICES = 200
"""Notices waiting. Past this, states wait at their source, where they are coalesced; of results the oldest go."""


@dataclass(slots=True)
class _Page:
    cursor: str
    open: int
    """Messages not acknowledged yet."""


@dataclass(slots=True, eq=False)
class Item:
    """One message on its way. `page` is None for a notice, and `place` its place in the log otherwise."""

    message: Message
    page: _Page | None = None
    place: tuple[int, ...] = ()
    refusals: int = 0
    """How often the broker has refused it for a reason that may pass ..."""
    blamed: int = 0
    """... and how often so while it took others."""
    others_taken: int = 0
    """What the broker had taken at the last refusal."""
    forgotten: bool = False
    """It is not to be sent again."""

    @property
    def size_bytes(self) -> int:
        return len(self.message.payload)


class Outflow:
    """`cursor` is where a restart has to begin. `window` is the most that may be under way; of the log besides
    `log_window` messages and `log_bytes`. What `must_go_alone` is under way alone."""

    def __init__(
        self, cursor: str, window: int = WINDOW, *, must_go_alone: Callable[[Item], bool] = lambda _: False
    ) -> None:
        self.cursor = cursor
        self.window = window
        self.log_window = WINDOW
        self.log_bytes = WINDOW_BYTES
        self.must_go_alone = must_go_alone
        self.dropped = 0
        """Notices that had to go because too many waited."""
        self.generation = 0
        """Grows when the log must be read again from `cursor`."""
        self._places = 0
        self._pages: deque[_Page] = deque()
        self._waiting: deque[Item] = deque()
        self._waiting_bytes = 0
        self._notices: deque[Item] = deque()
        self._under_way: dict[Item, None] = {}  # in the order sent
        self._log_under_way = self._log_under_way_bytes = 0
        self._notice_was_last = False

    def add(self, messages: Sequence[Message], cursor: str) -> None:
        """A page of the log, which ends at `cursor`. It may come to no message at all."""
        page = _Page(cursor, len(messages))
        self._pages.append(page)
        for message in messages:
            self._places += 1
            self._waiting.append(Item(message, page, (self._places,)))
            self._waiting_bytes += len(message.payload)
        self._advance()

    def notice(self, message: Message) -> Item:
        """Goes before the log. Where there are too many, the oldest is dropped."""
        if len(self._notices) >= MAX_NOTICES:
            self._notices.popleft()
            self.dropped += 1
        self._notices.append(item := Item(message))
        return item

    @property
    def hungry(self) -> bool:
        """Whether the next page should be read."""
        waiting = len(self._waiting) < WINDOW and self._waiting_bytes < WAITING_BYTES
        return waiting and len(self._pages) < MAX_PAGES

    @property
    def room(self) -> int:
        """Notices that may be added without dropping any, some kept free for results."""
        return MAX_NOTICES // 2 - len(self._notices)

    @property
    def idle(self) -> bool:
        """Whether everything that was added is acknowledged."""
        return not (self._waiting or self._notices or self._under_way)

    @property
    def waiting(self) -> int:
        return len(self._waiting) + len(self._notices)

    @property
    def waiting_bytes(self) -> int:
        """Of the log: payloads that wait or are under way."""
        return self._waiting_bytes + self._log_under_way_bytes

    @property
    def under_way(self) -> int:
        return len(self._under_way)

    def take(self, *, log: bool = True, alone: bool = True) -> Iterator[Item]:
        """What is to be sent now, in order, within the window. `log` False: notices only. `alone` False: nothing that
        must go alone, nor what comes behind it."""
        while (source := self._next(log, alone)) is not None:
            item = source.popleft()
            self._under_way[item] = None
            self._notice_was_last = item.page is None
            if item.page:
                self._waiting_bytes -= item.size_bytes
                self._log_under_way += 1
                self._log_under_way_bytes += item.size_bytes
            yield item

    def _next(self, log: bool, alone: bool) -> deque[Item] | None:
        """Where the next to be sent waits."""
        if len(self._under_way) >= self.window or self._one_goes_alone():
            return None
        notices_share = max(1, self.window // 3)
        notice = bool(self._notices) and len(self._under_way) - self._log_under_way < notices_share
        record = log and bool(self._waiting) and self._log_fits(max(1, self.window - notices_share))
        if not (notice or record):
            return None
        in_turn = self.window == 1 and self._notice_was_last
        source = self._notices if notice and not (record and in_turn) else self._waiting
        if self.must_go_alone(source[0]) and (self._under_way or not alone):
            return None
        return source

    def _one_goes_alone(self) -> bool:
        return len(self._under_way) == 1 and self.must_go_alone(next(iter(self._under_way)))

    def _log_fits(self, share: int) -> bool:
        if self._log_under_way >= min(share, self.log_window):
            return False
        size_bytes = self._log_under_way_bytes + self._waiting[0].size_bytes
        return not self._log_under_way or size_bytes <= self.log_bytes

    def done(self, item: Item) -> None:
        """`item` is acknowledged, or set aside. Twice does no harm."""
        if self._no_longer_under_way(item) and item.page:
            item.page.open -= 1
            self._advance()

    def retry(self, item: Item) -> None:
        """The broker does not take `item` now: it waits again, in its old place."""
        if self._no_longer_under_way(item):
            if item.page:
                self._put_back([item])
                self._advance()
            elif not item.forgotten:
                self._notices.appendleft(item)

    def replace(self, item: Item, messages: Sequence[Message]) -> list[Item]:
        """Send `messages` in the place of `item`, which is too large as one. Without any nothing changes."""
        if not messages or item.page is None or not self._no_longer_under_way(item):
            return []
        item.page.open += len(messages) - 1
        parts = [Item(message, item.page, (*item.place, number)) for number, message in enumerate(messages)]
        self._put_back(parts)
        return parts

    def again(self) -> None:
        """The connection is gone: what was under way must be sent again, before the rest and in its old order.

        Retained notices are dropped: they are made anew, and an old one must not go out after a newer."""
        under_way = list(self._under_way)
        self._under_way.clear()
        self._log_under_way = self._log_under_way_bytes = 0
        self._put_back([item for item in under_way if item.page])
        results = [item for item in (*under_way, *self._notices) if not item.page and not item.message.retain]
        self._notices = deque([item for item in results if not item.forgotten][-MAX_NOTICES:])
        self._advance()

    def forget(self, is_of: Callable[[Message], bool]) -> None:
        """Send nothing of the device whose messages are so any more. What is under way is, once."""
        for item in self._under_way:
            item.forgotten = item.forgotten or is_of(item.message)
        gone = [item for item in self._waiting if is_of(item.message)]
        self._waiting = deque(item for item in self._waiting if not is_of(item.message))
        self._notices = deque(item for item in self._notices if not is_of(item.message))
        for item in gone:
            self._waiting_bytes -= item.size_bytes
            self._give_up(item)
        self._advance()

    def start_over(self) -> None:
        """Forget the log's messages, to have them made again. Only between connections."""
        self._pages.clear()
        self._waiting.clear()
        self._waiting_bytes = 0
        self.generation += 1

    def all_under_way(self) -> list[Item]:
        """What is not acknowledged yet, in the order sent."""
        return list(self._under_way)

    def _no_longer_under_way(self, item: Item) -> bool:
        """Whether it was."""
        if item not in self._under_way:
            return False
        del self._under_way[item]
        if item.page:
            self._log_under_way -= 1
            self._log_under_way_bytes -= item.size_bytes
        return True

    def _put_back(self, items: list[Item]) -> None:
        """Into `waiting`, which is in the order of the log."""
        for item in items:
            if item.forgotten:
                self._give_up(item)
        items = [item for item in items if not item.forgotten]
        self._waiting_bytes += sum(item.size_bytes for item in items)
        last = max((item.place for item in items), default=())
        while self._waiting and self._waiting[0].place < last:
            items.append(self._waiting.popleft())
        self._waiting.extendleft(sorted(items, key=lambda item: item.place, reverse=True))

    @staticmethod
    def _give_up(item: Item) -> None:
        """It is out of all queues: its page does not wait for it."""
        if item.page:
            item.page.open -= 1

    def _advance(self) -> None:
        while self._pages and not self._pages[0].open:
            self.cursor = self._pages.popleft().cursor
