"""Shell: the steps of a plan, carried out over a session."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gateway.provision.plan import MAIN, PROFILE, SETTINGS, Found, Plan, What, make_plan
from gateway.provision.usb import BoardError, Progress, Session

_IDENTITY = (PROFILE, SETTINGS, MAIN)


def carry_out(
    session: Session,
    plan: Plan,
    contents: Mapping[str, bytes],
    settle: Callable[[], bytes],
    progress: Progress = lambda _: None,
) -> None:
    """Bring `contents` onto the board. `settle` makes the board's identity and returns its settings file: it is called
    when everything before that is on the board, and so as late as can be. Raises UsbError, and what `settle` raises."""
    if removed := [step.path for step in plan.of(What.REMOVE)]:
        session.remove(removed)
    settings: bytes | None = None
    for step in plan.of(What.WRITE):
        if settings is None and step.path in _IDENTITY:
            settings = settle()
        session.write(step.path, settings if step.path == SETTINGS and settings else contents[step.path], progress)
    if settings is None:  # nothing of it was to be written, and yet the gateway must know what the board is
        settings = settle()
    if plan.steps:
        _verify(session, dict(contents) | {SETTINGS: settings})


def _verify(session: Session, contents: Mapping[str, bytes]) -> None:
    """Everything is read back."""
    left = make_plan(session.files(), {path: Found.of(content) for path, content in contents.items()}, 1 << 40)
    if left.steps:
        raise BoardError(
            f"the board at {session.port} does not hold what was written ({left.steps[0].path}): its flash may be worn "
            f"out, or its file system damaged. Empty it and try again: mpy-gateway erase {session.port}"
        )
