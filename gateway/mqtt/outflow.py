"""What is on its way to the broker, and how far the cursor may move: pure.

The log is read in pages. A page is done when every one of its messages is acknowledged, and the cursor stands behind
the last page before which all are done. Until then the messages stay here: this is the copy that a reconnect sends.

Beside the log go notices: what is not in the log and is made anew when it is lost (states, availability), and results.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gateway.mqtt.topics import Message

WINDOW = 90
"""Messages under way without a PUBACK. Measured with paho: 33 to 43 us a publish with 90, 66 to 103 us with 1,000."""
MAX_NOTICES = 200
"""Notices waiting. Past this, states wait at their source, where they are coalesced; of results the oldest go."""


@dataclass(slots=True)
class _Page:
    cursor: str
    open: int
    """Messages not acknowledged yet."""


@dataclass(slots=True, eq=False)
class Item:
    """One message on its way. `page` is None for a notice."""

    message: Message
    page: _Page | None = None


class Outflow:
    """`cursor` is where a restart has to begin. `window` is the most that may be under way."""

    def __init__(self, cursor: str, window: int = WINDOW) -> None:
        self.cursor = cursor
        self.window = window
        self.dropped = 0
        """Notices that had to go because too many waited."""
        self.generation = 0
        """Grows when the log must be read again from `cursor`."""
        self._pages: deque[_Page] = deque()
        self._waiting: deque[Item] = deque()
        self._notices: deque[Item] = deque()
        self._under_way: dict[Item, None] = {}  # in the order sent

    def add(self, messages: Sequence[Message], cursor: str) -> None:
        """A page of the log, which ends at `cursor`. It may come to no message at all."""
        page = _Page(cursor, len(messages))
        self._pages.append(page)
        self._waiting.extend(Item(message, page) for message in messages)
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
        return len(self._waiting) < WINDOW

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
    def under_way(self) -> int:
        return len(self._under_way)

    def take(self, *, log: bool = True) -> Iterator[Item]:
        """What is to be sent now, in order, within the window. `log` False: notices only."""
        while len(self._under_way) < self.window:
            if self._notices:
                item = self._notices.popleft()
            elif log and self._waiting:
                item = self._waiting.popleft()
            else:
                return
            self._under_way[item] = None
            yield item

    def done(self, item: Item) -> None:
        """`item` is acknowledged, or set aside. Twice does no harm."""
        if item not in self._under_way:
            return
        del self._under_way[item]
        if item.page:
            item.page.open -= 1
            self._advance()

    def again(self) -> None:
        """The connection is gone: what was under way must be sent again, before the rest and in its old order.

        Retained notices are dropped: they are made anew, and an old one must not go out after a newer."""
        under_way, self._under_way = list(self._under_way), {}
        self._waiting.extendleft(item for item in reversed(under_way) if item.page)
        results = [item for item in (*under_way, *self._notices) if not item.page and not item.message.retain]
        self._notices = deque(results[-MAX_NOTICES:])

    def start_over(self) -> None:
        """Forget the log's messages, to have them made again. Only between connections."""
        self._pages.clear()
        self._waiting.clear()
        self.generation += 1

    def log_under_way(self) -> list[Item]:
        """The messages of the log that are not acknowledged yet."""
        return [item for item in self._under_way if item.page]

    def _advance(self) -> None:
        while self._pages and not self._pages[0].open:
            self.cursor = self._pages.popleft().cursor
