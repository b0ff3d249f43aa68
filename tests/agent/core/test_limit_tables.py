"""What venues allow, as data the limiter takes: each budget holds what its venue documents and no request more."""

import math

import pytest

from jackstay_agent.core.limit_tables import AT_ONCE, KRAKEN_AGE_COSTS, LIMITS, WHOSE, Allowance, age_cost
from jackstay_agent.core.rate_headers import HeaderReader
from jackstay_agent.core.rate_limit import Admit, Ask, Limiter
from jackstay_agent.core.rate_rule import BudgetRule
from jackstay_agent.venues.profile import shipped_profiles
from jackstay_protocols.errors import Lane, ValidationError

EACH = [(venue, allowance) for venue, allowances in LIMITS.items() for allowance in allowances]


def test_every_documented_venue_is_there():
    """The venues of the table of signals; what is counted at the same time has no time in it."""
    assert set(LIMITS) == {
        "binance", "binance-usdm", "bybit", "okx", "kraken", "deribit", "bitmex", "hyperliquid", "coinbase-exchange",
    }  # fmt: skip
    assert set(AT_ONCE) < set(LIMITS)
    assert all(count > 0 for counts in AT_ONCE.values() for count in counts.values())


@pytest.mark.parametrize(("venue", "allowance"), EACH, ids=lambda v: v if isinstance(v, str) else v.rule.name)
def test_a_budget_holds_to_the_last_request(venue, allowance):
    """At once as many requests as the venue allows less the de-risking share; then a wait, not a refusal."""
    limiter = Limiter([allowance.rule])
    charges = ((allowance.rule.name, "x", allowance.cost),)
    ordinary = Ask(Lane.QUERY, charges)
    admitted = 0
    while isinstance(answer := limiter.admit(1000.0, ordinary, deadline_at=5000.0), Admit):
        admitted += 1
    assert admitted == math.floor(allowance.rule.usable / allowance.cost + 1e-9)
    latest = 1000.0 + allowance.rule.per_s * 61 / 60 + 1e-3  # windows move in sixtieths
    assert 1000.0 < answer.until <= latest
    limiter.leave(answer)
    assert isinstance(limiter.admit(1000.0, Ask(Lane.DERISK, charges), deadline_at=1000.0), Admit)
    assert isinstance(limiter.admit(latest, ordinary, deadline_at=5000.0), Admit)


@pytest.mark.parametrize("venue", sorted(shipped_profiles()))
def test_profiles_and_tables_agree(venue):
    """A profile allows itself no more than the table says, under the same name; the sandbox is Binance-shaped."""
    documented = LIMITS["binance" if venue == "sandbox" else venue.removesuffix("-testnet")]
    table = {allowance.rule.name: allowance.rule for allowance in documented}
    for rule in shipped_profiles()[venue].budgets:
        allowed = table[rule.name]
        assert rule.limit <= allowed.limit
        assert rule.limit / rule.per_s <= allowed.limit / allowed.per_s


@pytest.mark.parametrize(
    ("venue", "header", "value", "expected"),
    [
        ("binance", b"X-MBX-USED-WEIGHT-1M", b"5990", ("weight_1m", 5990.0)),
        ("binance-usdm", b"X-MBX-ORDER-COUNT-10S", b"7", ("orders_10s", 7.0)),
        ("bybit", b"X-Bapi-Limit-Status", b"3", ("orders_1s", 7.0)),
        ("bitmex", b"X-RateLimit-Remaining", b"0", ("requests_1m", 60.0)),
        ("bitmex", b"X-RateLimit-Remaining", b"many", None),
    ],
)
def test_a_venues_header_corrects_its_budget(venue, header, value, expected):
    """Used so far, or what remains of the limit; garbage says nothing."""
    rules = [allowance.header for allowance in LIMITS[venue] if allowance.header]
    limits = {allowance.rule.name: allowance.rule.limit for allowance in LIMITS[venue]}
    assert HeaderReader(rules).read([(header, value)], limits) == ([expected] if expected else [])


@pytest.mark.parametrize(
    ("action", "ages", "costs"),
    [
        ("add", (0, 1e9), (1, 1)),
        ("amend", (0, 5, 10, 15), (4, 3, 2, 1)),
        ("edit", (0, 5, 10, 15, 45, 90), (7, 6, 5, 3, 2, 1)),
        ("cancel", (0, 4.99, 5, 10, 15, 45, 90, 300), (8, 8, 6, 5, 4, 2, 1, 0)),
    ],
)
def test_young_orders_are_dear_at_kraken(action, ages, costs):
    """The documented steps; an age that makes no sense is a young one."""
    assert tuple(age_cost(action, age) for age in ages) == costs
    assert age_cost(action, math.nan) == age_cost(action, -5.0) == costs[0]
    assert age_cost(action, math.inf) == costs[-1]
    assert set(KRAKEN_AGE_COSTS) == {"add", "amend", "edit", "cancel"}


def test_nonsense_is_refused():
    """An unknown action, a budget nobody shares, a request dearer than its budget."""
    with pytest.raises(ValidationError, match="action 'think' has no cost; one of add"):
        age_cost("think", 1.0)
    rule = BudgetRule("b", 10, 1)
    with pytest.raises(ValidationError, match="is 'everybody''s"):
        Allowance(rule, "everybody")
    with pytest.raises(ValidationError, match="costs 10 a request"):
        Allowance(rule, WHOSE[0], cost=10)
