"""The rules about a session, and its copy."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authsvc.core.session import (
    RECORD,
    SHAPE,
    Copy,
    Session,
    alive,
    decode,
    encode,
    expires,
    fresh,
    idle_expires,
    keepable,
)

SESSION = Session(
    "sid", b"h" * 32, "user", "anna@example.org", "Anna", ("admin",), 1000, 1500, 1200, ("pwd",), 100, 900, "Firefox",
    {"a": 1}, 3,
)  # fmt: skip
COPY = Copy(SESSION, b"run 8 b.", 1_800_000_000_123)


def test_it_ends_when_nobody_used_it_for_the_idle_time() -> None:
    assert idle_expires(SESSION) == 1600
    assert alive(SESSION, 1599.999)
    assert not alive(SESSION, 1600)


def test_it_ends_at_its_absolute_time_though_it_is_in_use() -> None:
    used = SESSION._replace(seen=1899)
    assert expires(used) == 1900
    assert alive(used, 1899.999)
    assert not alive(used, 1900)


@pytest.mark.parametrize(("max_age", "is_fresh"), [(300, True), (299, False), (0, False)])
def test_it_is_fresh_for_a_while_after_its_user_proved_who_they_are(max_age: int, is_fresh: bool) -> None:
    assert fresh(SESSION, 1500, max_age) is is_fresh


def test_a_copy_is_read_as_it_was_written() -> None:
    assert decode(encode(COPY)) == COPY


def test_a_copy_has_the_shape_that_is_checked() -> None:
    assert len(SHAPE) == 18
    assert encode(COPY)[:4] == b"\xdc\x00\x12" + bytes([RECORD])


@pytest.mark.promise("S7")
def test_a_copy_of_an_ordinary_session_is_small() -> None:
    ordinary = SESSION._replace(sid="s" * 22, user="u" * 22, email="a" * 40, name="n" * 30, device="d" * 30, data={})
    assert len(encode(Copy(ordinary, COPY.run, COPY.checked))) < 350


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)  # fmt: skip
SECONDS = st.integers(0, 2**40)
SESSIONS = st.builds(
    Session,
    sid=st.text(), hash=st.binary(), user=st.text(), email=st.text(), name=st.text(),
    roles=st.lists(st.text(), max_size=4).map(tuple), created=SECONDS, seen=SECONDS, authenticated=SECONDS,
    amr=st.lists(st.text(), max_size=3).map(tuple), idle=SECONDS, absolute=SECONDS, device=st.text(),
    data=st.dictionaries(st.text(), JSON, max_size=4), version=SECONDS,
)  # fmt: skip
COPIES = st.builds(Copy, SESSIONS, st.binary(min_size=8, max_size=8), st.integers(0, 2**50))


@given(COPIES)
def test_any_copy_is_read_as_it_was_written(copy: Copy) -> None:
    assert decode(encode(copy)) == copy
    assert keepable(copy.session.data)


@pytest.mark.promise("B1")
@given(st.binary(max_size=300) | st.binary(max_size=300).map(lambda more: b"\xdc\x00\x12" + more))
def test_no_bytes_are_an_error(value: bytes) -> None:
    assert decode(value) is None


@pytest.mark.promise("B1")
@given(COPIES, st.data())
def test_a_damaged_copy_is_another_one_or_none(copy: Copy, data: st.DataObject) -> None:
    value = bytearray(encode(copy))
    for _ in range(data.draw(st.integers(1, 3))):
        value[data.draw(st.integers(0, len(value) - 1))] = data.draw(st.integers(0, 255))
    damaged = decode(bytes(value))
    assert damaged is None or isinstance(alive(damaged.session, 1.5), bool)
    assert damaged is None or type(damaged.session.hash) is type(damaged.run) is bytes


@pytest.mark.parametrize("value", [2**64, float("nan"), "\ud800", {"\ud800": 1}, {1}, b"x", object()])
def test_what_json_or_msgpack_cannot_hold_is_not_keepable(value: object) -> None:
    assert not keepable({"key": value})


def test_data_that_nests_too_deep_is_not_keepable() -> None:
    deep: object = 1
    for _ in range(100_000):
        deep = [deep]
    assert not keepable({"key": deep})
