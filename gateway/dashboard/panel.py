"""The gateway itself in the words of people: from the figures of its parts to `shapes.Panel`. Pure.

A part may leave out any figure: it is then not known, or there is nothing to tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.dashboard.shapes import Broker, DoorPanel, Notice, Panel, SetAside, StorePanel
from gateway.words import crowded_out

BROKER_AWAY_MS = 10_000
"""A broker that is away for less is no news."""
FAILED_LOGINS = 10
"""So many in an hour are worth a notice; fewer are people who mistype."""
OTHER_BOARD_MS = 600_000
"""How long it is told that a board was refused: one that goes on trying comes every 30 s."""
MANY_BAD_TOKENS = 20
"""From one address. A board whose token was revoked has so many after ten minutes."""
UP = frozenset({"connected", "stopped"})


def panel(status: Mapping[str, Any], now_ms: int) -> Panel:
    """`status`: what the parts add to `GET /api/status`."""
    store = _store(status.get("store") or {})
    brokers = [_broker(name, figures) for name, figures in sorted((status.get("brokers") or {}).items())]
    notices = _notices(status.get("store") or {}, store, brokers, now_ms)
    for name, figures in sorted((status.get("brokers") or {}).items()):
        notices += _refused(name, figures)
    for text in status.get("warnings") or []:  # each begins with the name of a setting
        notices.append(Notice("warning", f"{text}.", None))
    notices += _guessing(status.get("people") or {})
    door = status.get("door") or {}
    notices += _at_the_door(door, now_ms)
    return Panel(sorted(notices, key=lambda notice: notice.level != "error"), store, brokers, _door(door))


def _store(figures: Mapping[str, Any]) -> StorePanel:
    return StorePanel(
        trouble=figures.get("trouble") or "",
        samples=figures.get("samples") or 0,
        bytes=figures.get("bytes") or 0,
        queue=figures.get("queue") or 0,
        commit_ms=figures.get("commit_ms") or 0,
        last_commit_ms=figures.get("last_commit_ms") or 0,
        disk_free_bytes=figures.get("disk_free_bytes"),
        pruned_samples=figures.get("pruned_samples") or 0,
        untaken={outlet: samples for outlet, samples in (figures.get("untaken") or {}).items() if samples},
    )


def _door(figures: Mapping[str, Any]) -> DoorPanel:
    refused = figures.get("refused") or {}
    return DoorPanel(
        trouble=figures.get("trouble") or "",
        connections=figures.get("connections") or 0,
        strangers=figures.get("strangers") or 0,
        bad_tokens=refused.get("token") or 0,
        failed_tls=refused.get("tls") or 0,
        crowded_out=crowded_out(refused),
    )


def _at_the_door(figures: Mapping[str, Any], now_ms: int) -> list[Notice]:
    """Who cannot come in and should, and who came and should not."""
    found = []
    if trouble := figures.get("trouble"):
        found.append(Notice("error", _sentence(f"{trouble}: boards cannot connect; those connected go on"), None))
    for other in figures.get("other_boards") or []:
        if now_ms - other["at_ms"] < OTHER_BOARD_MS:
            device = other["device"]
            text = (
                f"Another board ({other['hardware']}, from {other['address']}) came as {device} and was refused. If it"
                f" took its place: mpy-gateway devices replace {device}. Else give it an identity of its own."
            )
            found.append(Notice("warning", text, other["at_ms"]))
    for failures in figures.get("bad_tokens") or []:
        if failures["count"] >= MANY_BAD_TOKENS and now_ms - failures["last_ms"] < OTHER_BOARD_MS:
            text = f"{failures['count']:,} connections from {failures['address']} came with a token that is not known."
            found.append(Notice("warning", text, failures["last_ms"]))
    return found


def _broker(name: str, figures: Mapping[str, Any]) -> Broker:
    return Broker(
        name=name,
        url=figures.get("url") or "",
        state=figures.get("state") or "",
        why=figures.get("why") or "",
        since_ms=figures.get("since_ms"),
        published=figures.get("published") or 0,
        backlog=figures.get("backlog"),
        aside=figures.get("aside") or 0,
        last_aside=[SetAside(one.get("topic", ""), one.get("why", "")) for one in figures.get("last_aside") or []],
    )


def _notices(figures: Mapping[str, Any], store: StorePanel, brokers: list[Broker], now_ms: int) -> list[Notice]:
    """Errors first."""
    found = [
        Notice(one["level"], _sentence(one["text"]), one.get("since_ms"), one.get("id") or "")
        for one in figures.get("notices") or []
    ]
    if store.trouble and not any(notice.level == "error" for notice in found):
        text = f"The disk cannot be written ({store.trouble}): nothing is acknowledged; boards keep their samples."
        found.append(Notice("error", text, None))
    for broker in brokers:
        away = broker.state and broker.state not in UP
        if away and broker.since_ms is not None and now_ms - broker.since_ms >= BROKER_AWAY_MS:
            why = f": {broker.why}" if broker.why else ""
            behind = f"{broker.backlog:,} samples wait for it" if broker.backlog else "Its samples wait"
            text = f"The broker {broker.name} is not connected{why}. {behind} on the gateway's disk."
            found.append(Notice("warning", text, broker.since_ms))
        if broker.aside:
            many = "1 message" if broker.aside == 1 else f"{broker.aside:,} messages"
            reason = f". The last one: {broker.last_aside[-1].why}" if broker.last_aside else ""
            text = f"The broker {broker.name} refused {many}, set aside and not published{reason}."
            found.append(Notice("warning", text, None))
    return sorted(found, key=lambda notice: notice.level != "error")


def _refused(name: str, figures: Mapping[str, Any]) -> list[Notice]:
    """Retained topics that a broker does not take: what they tell is missing or old there."""
    refused = figures.get("refused") or {}
    if not refused:
        return []
    topic, why = next(iter(refused.items()))
    more = f" and {len(refused) - 1:,} more" if len(refused) > 1 else ""
    return [Notice("warning", _sentence(f"The broker {name} refuses {topic}{more}: {why}"), None)]


def _guessing(figures: Mapping[str, Any]) -> list[Notice]:
    failed = figures.get("failed_logins_hour") or 0
    if failed < FAILED_LOGINS:
        return []
    text = f"{failed:,} logins failed within an hour: somebody may be guessing passwords. The gateway's log says where."
    return [Notice("warning", text, None)]


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '!', '?')) else '.'}"
