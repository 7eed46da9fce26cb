"""When a session is looked at again."""

from authsvc.core.session import Session
from bridge.hub import CHECK_EVERY, Room

NOW = 1_000_000.0


def a_session(*, idle: int = 3600, absolute: int = 86400) -> Session:
    return Session(
        "sid", b"", "user", "", "", (), int(NOW), int(NOW), int(NOW), (), idle, absolute, "", {}, 0
    )  # fmt: skip


def test_a_session_is_checked_twice_a_minute_but_not_all_at_once() -> None:
    dues = set()
    for _ in range(100):
        room = Room("sid")
        room.found(a_session(), NOW)
        dues.add(room.due)
    assert min(dues) >= NOW + CHECK_EVERY / 2
    assert max(dues) <= NOW + CHECK_EVERY
    assert len(dues) > 50


def test_a_session_is_checked_when_it_should_run_out() -> None:
    room = Room("sid")
    room.found(a_session(idle=5, absolute=9), NOW)
    assert (room.due, room.ends) == (NOW + 5, NOW + 9)
