"""Kinds, severities and policies of discrepancies."""

from __future__ import annotations

import pytest

from jackstay_agent.core.discrepancy import (
    ADOPTABLE,
    SEVERITY,
    Discrepancy,
    Kind,
    Policy,
    check_policies,
    loudest,
    policy_for,
    read_discrepancy,
)
from jackstay_protocols.errors import ErrorSeverity, ValidationError

ONE = Discrepancy(Kind.STATUS, "orders", "v", "o-1", "why", "bot", "BTC", "b", 0.0, {"bot": {"status": "open"}})


def test_every_kind_has_a_severity() -> None:
    """A forgotten kind would be silent."""
    assert set(SEVERITY) == set(Kind)


def test_a_large_difference_is_one_step_louder() -> None:
    """A tenth of the whole; the loudest stays."""
    assert ONE.severity is ErrorSeverity.MEDIUM
    large = Discrepancy(Kind.STATUS, "orders", "v", "o-1", "why", share=0.1)
    assert large.severity is ErrorSeverity.HIGH
    assert Discrepancy(Kind.ORPHAN, "orders", "v", "o", "", share=1.0).severity is ErrorSeverity.CRITICAL
    assert loudest([ONE, large]) is ErrorSeverity.HIGH
    assert loudest([]) is ErrorSeverity.LOW


def test_plain_values_and_back() -> None:
    """What a validation gives can be handed to a reconciliation."""
    assert read_discrepancy(ONE.to_dict()) == ONE
    assert ONE.key == ("status", "v", "BTC", "o-1", "bot")


@pytest.mark.parametrize(
    ("value", "word"),
    [({}, "kind"), ({"kind": "nonsense", "component": "", "venue": "", "subject": ""}, "nonsense")],
)
def test_what_is_no_discrepancy_is_refused(value: dict[str, str], word: str) -> None:
    """Naming what is missing or wrong."""
    with pytest.raises(ValidationError, match=word):
        read_discrepancy(value)


def test_policies_act_only_where_they_may() -> None:
    """Alert is the default; an orphan is cancelled on an exclusive account only; adopting needs a word to adopt."""
    assert policy_for(Kind.STATUS, {}, exclusive=True) is Policy.ALERT
    assert policy_for(Kind.STATUS, {"status": "adopt"}, exclusive=False) is Policy.ADOPT
    assert policy_for(Kind.ORPHAN, {"orphan": "cancel_orphan"}, exclusive=True) is Policy.CANCEL_ORPHAN
    assert policy_for(Kind.ORPHAN, {"orphan": "cancel_orphan"}, exclusive=False) is Policy.ALERT
    assert policy_for(Kind.STATUS, {"status": "cancel_orphan"}, exclusive=True) is Policy.ALERT
    assert policy_for(Kind.ORPHAN, {"orphan": "adopt"}, exclusive=True) is Policy.ALERT
    assert Kind.ORPHAN not in ADOPTABLE


@pytest.mark.parametrize(
    ("policies", "exclusive", "word"),
    [
        ({"nonsense": "alert"}, True, "no such kind"),
        ({"status": "explode"}, True, "explode"),
        ({"status": "cancel_orphan"}, True, "only orphan"),
        ({"orphan": "cancel_orphan"}, False, "exclusive"),
        ({"unverifiable": "adopt"}, True, "no word"),
    ],
)
def test_bad_policies_are_named(policies: dict[str, str], exclusive: bool, word: str) -> None:
    """With what is known or needed."""
    (problem,) = check_policies(policies, exclusive=exclusive)
    assert word in problem


def test_good_policies_have_no_problem() -> None:
    """Halt for anything, cancel for orphans where the account is exclusive."""
    assert check_policies({"orphan": "cancel_orphan", "balance": "halt"}, exclusive=True) == []
