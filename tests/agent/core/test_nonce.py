"""Nonces rise through restarts and clock steps, and are never used before their mark is stored."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackstay_agent.core.nonce import KEYS_MAX, NONCE_MAX, LeftNonces, Nonces, nonce_of
from jackstay_protocols.errors import ValidationError

CLOCKS = st.lists(st.one_of(st.integers(-(10**6), 10**6).map(lambda step: 10**12 + step), st.none()), max_size=200)


@given(CLOCKS, st.integers(1, 500))
def test_they_rise_whatever_the_clock_does_and_through_restarts(clocks: list[int | None], ahead: int) -> None:
    """None is a crash: the next source knows the stored mark only."""
    stored = [0]
    nonces = Nonces(0, stored.append, ahead=ahead)
    last = 0
    for now_ms in clocks:
        if now_ms is None:
            nonces = Nonces(stored[-1], stored.append, ahead=ahead)
            continue
        value = nonces.take(now_ms)
        assert last < value <= stored[-1]
        last = value


def test_the_mark_is_stored_seldom() -> None:
    """Once for as many values as it reaches ahead."""
    stored: list[int] = []
    nonces = Nonces(0, stored.append, ahead=1000)
    values = [nonces.take(5_000) for _ in range(1001)]
    assert values == list(range(5_000, 6_001))
    assert stored == [6_000]


def test_what_cannot_be_stored_is_not_used() -> None:
    """A full disk gives no nonce, and the next try gives one."""

    def full(mark: int) -> None:
        raise OSError("disk full")

    nonces = Nonces(7, full)
    with pytest.raises(OSError, match="disk full"):
        nonces.take(100)
    assert Nonces(7, lambda mark: None).take(5) == 8


def test_the_end_of_64_bits_is_said() -> None:
    """Rather than a nonce the venue would refuse for ever."""
    nonces = Nonces(NONCE_MAX - 2, lambda mark: None)
    assert nonces.take(0) == NONCE_MAX - 1
    with pytest.raises(ValidationError, match="new key"):
        nonces.take(0)


@pytest.mark.parametrize(("mark", "ahead"), [(-1, 1), (NONCE_MAX, 1), (0, 0)])
def test_a_wrong_mark_is_refused(mark: int, ahead: int) -> None:
    """Before anything is signed with it."""
    with pytest.raises(ValidationError):
        Nonces(mark, lambda stored: None, ahead=ahead)


@pytest.mark.parametrize(
    ("body", "nonce"),
    [
        (b"nonce=17&pair=XBTUSD", 17),
        (b"pair=XBTUSD&nonce=18", 18),
        (b'{"nonce": "19", "pair": "x"}', 19),
        (b'{"nonce": 20}', 20),
        (b"pair=XBTUSD", None),
        (b"nonce=&a=1", None),
        (b"nonce=-1", None),
        (b'{"nonce"', None),
        (b"nonce=" + b"9" * 30, None),
        (b"", None),
    ],
)
def test_the_number_of_a_signed_body(body: bytes, nonce: int | None) -> None:
    """In a form wherever it stands, and in JSON; what cannot be read is none."""
    assert nonce_of(body) == nonce


def test_a_lower_number_is_overtaken_by_one_of_its_key_alone() -> None:
    """The highest that left counts; one that provably did not leave overtook nothing, unless a later one did."""
    left = LeftNonces()
    left.leaves("a", 10)
    assert [left.overtaken("a", nonce) for nonce in (9, 10, 11)] == [True, False, False]
    assert not left.overtaken("b", 1)
    before = left.leaves("a", 20)
    left.returned("a", 20, before)
    assert not left.overtaken("a", 15)
    before = left.leaves("a", 20)
    left.leaves("a", 30)
    left.returned("a", 20, before)
    assert left.overtaken("a", 25)
    left.leaves("a", 5)
    assert left.overtaken("a", 25)


def test_keys_are_bounded() -> None:
    """The one that was quiet longest is forgotten."""
    left = LeftNonces()
    for number in range(KEYS_MAX + 1):
        left.leaves(str(number), 10)
    assert not left.overtaken("0", 5)
    assert left.overtaken("1", 5)
