"""The three kinds of budgets behind one face."""

import pytest

from jackstay_agent.core.rate_budget import Bucket, BudgetRule, Leased, Window, make_budget


@pytest.mark.parametrize(("kind", "made"), [("window", Window), ("bucket", Bucket), ("leased", Leased)])
def test_each_kind_is_made_by_its_word(kind, made):
    """The rule's word decides."""
    assert isinstance(make_budget(BudgetRule("w", 10, 1, kind)), made)
