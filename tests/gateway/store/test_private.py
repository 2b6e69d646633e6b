"""State directories that were there before, with modes that let others in."""

from __future__ import annotations

import logging
import stat
from pathlib import Path

import pytest

from gateway.errors import ConfigError
from gateway.store.database import make_state_directory


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def ours(directory: Path) -> Path:
    """A gateway's directory, as a careless copy leaves it."""
    (directory / "tls").mkdir(parents=True)
    for name in ("registry.db", "samples.db", "cli.token", "tls/ca.key"):
        (directory / name).write_text("secret")
        (directory / name).chmod(0o644)
    directory.chmod(0o755)
    return directory


def test_it_is_narrowed_with_all_that_is_in_it_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    state = ours(tmp_path / "state")
    with caplog.at_level(logging.WARNING):
        make_state_directory(state)
    assert mode(state) == 0o700
    assert {mode(path) for path in state.rglob("*") if path.is_file()} == {0o600}
    assert "could be read by others (mode 0755): it is 0700 now" in caplog.text
    assert "4 files" in caplog.text
    caplog.clear()
    make_state_directory(state)
    assert caplog.text == ""


def test_files_are_narrowed_in_a_directory_that_is_right(tmp_path: Path) -> None:
    state = ours(tmp_path / "state")
    state.chmod(0o700)
    make_state_directory(state)
    assert mode(state / "tls" / "ca.key") == 0o600


def test_an_empty_one_is_taken(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state").chmod(0o777)
    make_state_directory(tmp_path / "state")
    assert mode(tmp_path / "state") == 0o700


def test_one_with_other_things_is_refused_and_left_alone(tmp_path: Path) -> None:
    """Whoever gives --state /tmp must not find /tmp closed."""
    tmp = tmp_path / "tmp"
    tmp.mkdir()
    (tmp / "of-somebody-else").write_text("x")
    tmp.chmod(0o1777)
    with pytest.raises(ConfigError, match=r"mode 1777\) and holds other things .*--state"):
        make_state_directory(tmp)
    assert mode(tmp) == 0o1777
    assert mode(tmp / "of-somebody-else") & 0o044


def test_what_a_link_names_is_left_alone(tmp_path: Path) -> None:
    state = ours(tmp_path / "state")
    outside = tmp_path / "outside"
    outside.write_text("x")
    outside.chmod(0o644)
    (state / "link").symlink_to(outside)
    make_state_directory(state)
    assert mode(outside) == 0o644


def test_one_of_another_user_that_cannot_be_narrowed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = ours(tmp_path / "state")

    def refused(self: Path, mode: int) -> None:
        raise PermissionError(1, "Operation not permitted", str(self))

    monkeypatch.setattr(Path, "chmod", refused)
    with pytest.raises(ConfigError, match="belongs to another user than this one: narrow it with chmod"):
        make_state_directory(state)
