"""What a venue allows, as a value."""

import math

import pytest

from jackstay_agent.core.rate_rule import BudgetRule, row_of
from jackstay_protocols.errors import ValidationError


@pytest.mark.parametrize(
    "fields",
    [
        {"limit": 0},
        {"limit": math.nan},
        {"limit": 1e12},
        {"per_s": 0},
        {"per_s": math.inf},
        {"kind": "leaky"},
        {"reserved": -0.1},
        {"reserved": 1.0},
    ],
    ids=str,
)
def test_bad_rules_are_refused(fields):
    """Each number has its bounds, and all of a budget cannot be reserved."""
    with pytest.raises(ValidationError, match="BudgetRule weight"):
        BudgetRule(**{"name": "weight", "limit": 10, "per_s": 1, **fields})


def test_the_reserved_share_is_not_for_everybody():
    """A tenth is kept back by default."""
    assert BudgetRule("w", 1000, 60).usable == 900.0


@pytest.mark.parametrize("row", [5, [1], [1, 2, 3], ["1", 2], [1, -2], [1, math.nan], [math.inf, 1], [1, 1e13]])
def test_damaged_rows_are_refused(row):
    """Two finite numbers from zero, or nothing."""
    assert row_of((1, 2.5)) == (1, 2.5)
    with pytest.raises(ValidationError, match="budget row"):
        row_of(row)
