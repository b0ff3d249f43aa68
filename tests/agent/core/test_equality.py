"""The same order again, whatever its id, clock and signature say."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackstay_agent.core.equality import Pending, check_fields, fingerprint, fold_name, stand
from jackstay_protocols.errors import ValidationError

ORDER: dict[str, Any] = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "quantity": "0.010", "price": "50000.0"}


@pytest.mark.parametrize(
    "other",
    [
        {"newClientOrderId": "x-1", "timestamp": "1700000000000", "signature": "ff", "recvWindow": "10000"},
        {"clOrdId": "a"},
        {"orderLinkId": "b"},
        {"cl_ord_id": "c", "nonce": 5},
        {"quantity": "0.01", "price": "50000"},
        {"quantity": Decimal("0.01"), "price": 50000},
        {"side": "buy", "type": "limit", "symbol": "btcusdt"},
        {"stopPrice": None, "icebergQty": ""},
    ],
)
def test_what_a_retrying_bot_changes_does_not_make_another_order(other: dict[str, Any]) -> None:
    """New id, timestamp, nonce, signature, or another spelling of the numbers: equal."""
    assert fingerprint(ORDER) == fingerprint({**ORDER, **other})


def test_the_order_of_the_fields_does_not_matter() -> None:
    """A reversed mapping is the same order."""
    assert fingerprint(ORDER) == fingerprint(dict(reversed(ORDER.items())))


@pytest.mark.parametrize(
    "other",
    [
        {"quantity": "0.011"},
        {"price": "50000.1"},
        {"side": "SELL"},
        {"type": "MARKET"},
        {"timeInForce": "IOC"},
        {"reduceOnly": True},
        {"symbol": "ETHUSDT"},
    ],
)
def test_any_field_of_the_order_makes_another_order(other: dict[str, Any]) -> None:
    """One field differs: not equal."""
    assert fingerprint(ORDER) != fingerprint({**ORDER, **other})


@pytest.mark.parametrize(
    ("left", "right", "equal"),
    [
        ("1.0", "1.00", True),
        ("0", "-0.0", True),
        ("0", "0.000", True),
        ("10", "1E1", False),  # exponents are words: "1e5" may be an id
        ("+-1", "+-1", True),
        ("1.2.3", "1.2.3", True),
        ("NaN", "nan", True),
        (Decimal("NaN"), "nan", True),
        (True, "TRUE", True),
        (False, 0, False),
        (100, Decimal("1E+2"), True),
        ("²", "2", False),
        ([{"qty": "1.0", "clOrdId": "a"}], [{"qty": "1", "clOrdId": "b"}], True),
        ([{"qty": "1"}, {"qty": "2"}], [{"qty": "2"}, {"qty": "1"}], False),
        (("1",), ["1.0"], True),
    ],
)
def test_values_are_compared_as_what_they_are(left: Any, right: Any, equal: bool) -> None:
    """Plain numbers as decimals, words without case, lists in order, nested orders by their own fields."""
    assert (fingerprint({"v": left}) == fingerprint({"v": right})) is equal


@pytest.mark.parametrize("value", [1.5, [1.5], {"deep": 1.5}, object()])
def test_a_float_is_refused_naming_its_field(value: Any) -> None:
    """Money is decimal: a float in an order is the caller's mistake."""
    with pytest.raises(ValidationError, match="order field"):
        fingerprint({"v": value})
    with pytest.raises(ValidationError, match="order field"):
        check_fields({"symbol": "X", "v": value})


def test_plain_fields_pass_the_early_check() -> None:
    """Text, int, Decimal, None need no closer look."""
    check_fields({**ORDER, "a": 1, "b": Decimal(1), "c": None, "d": True})
    check_fields({"orders": [{"qty": "1"}]})


def test_a_bomb_is_refused() -> None:
    """Nesting deeper than any order is not followed."""
    bomb: Any = "1"
    for _ in range(20):
        bomb = {"x": bomb}
    with pytest.raises(ValidationError, match="nested deeper"):
        fingerprint(bomb)


def test_a_profile_may_ignore_more_names() -> None:
    """Names are folded before they are compared."""
    ignored = frozenset({fold_name("Sub-Account_Tag")})
    assert fingerprint({**ORDER, "subAccountTag": "a"}, ignored) == fingerprint(
        {**ORDER, "sub_account_tag": "b"}, ignored
    )


def test_an_equal_order_is_refused_naming_the_pending_one() -> None:
    """Equal to any of the unknown ones: its name is in the verdict, whether entry or not."""
    other = Pending(1, "id-1", fingerprint({**ORDER, "price": "1"}))
    pending = Pending(2, "id-2", fingerprint(ORDER))
    for is_entry in (True, False):
        assert stand(fingerprint(ORDER), [other, pending], is_entry=is_entry).equal_to is pending


def test_another_entry_waits_behind_all_unknown_ones_and_an_exit_does_not() -> None:
    """Entries wait, what reduces has a way out, and with nothing unknown everybody is free."""
    pending = [Pending(n, "", fingerprint({**ORDER, "price": str(n)})) for n in (1, 2)]
    entry = stand(fingerprint(ORDER), pending, is_entry=True)
    assert (entry.equal_to, entry.behind) == (None, (1, 2))
    assert stand(fingerprint(ORDER), pending, is_entry=False).behind == ()
    assert stand(fingerprint(ORDER), [], is_entry=True).behind == ()


@given(
    st.dictionaries(
        st.sampled_from(["symbol", "side", "qty", "price", "tif"]),
        st.one_of(
            st.text("abZ.-+0 1²", max_size=6),
            st.integers(),
            st.decimals(allow_nan=False, allow_infinity=False, places=4),
        ),
    ),
    st.randoms(use_true_random=False),
)
def test_a_fingerprint_is_hashable_and_independent_of_order(fields: dict[str, Any], chance: Any) -> None:
    """Any shuffle of any flat order has the same fingerprint."""
    names = list(fields)
    chance.shuffle(names)
    assert hash(fingerprint({n: fields[n] for n in names})) == hash(fingerprint(fields))
    assert fingerprint({n: fields[n] for n in names}) == fingerprint(fields)
