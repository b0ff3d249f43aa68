"""The words of rate limiting."""

import math

import pytest

from jackstay_agent.core.rate_ask import RANKS, Admit, Ask, LimitSettings
from jackstay_protocols.errors import Lane, ValidationError


@pytest.mark.parametrize(
    "fields",
    [
        {"gate_default_s": -1},
        {"ban_default_s": math.nan},
        {"wait_max_s": 1e12},
        {"waiting_max": -1},
        {"budgets_max": 0},
    ],
    ids=str,
)
def test_bad_settings_are_refused(fields):
    """Every time and every count has its bounds."""
    with pytest.raises(ValidationError, match="LimitSettings"):
        LimitSettings(**fields)


def test_every_lane_has_a_rank_and_derisking_the_first():
    """The order is the one of the lanes themselves."""
    assert sorted(RANKS, key=RANKS.__getitem__) == list(Lane)


def test_an_admission_remembers_what_it_was_for():
    """So that it can be given back."""
    ask = Ask(Lane.QUERY)
    admit = Admit(ask, 5.0, False)
    assert (admit.ask, admit.at, admit.over, ask.charges, ask.gates) == (ask, 5.0, False, (), ())
