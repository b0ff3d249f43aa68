"""A limiter survives a restart."""

import json
import math

import pytest

from jackstay_agent.core.rate_limit import Admit, Ask, BudgetRule, GateScope, Limiter, Wait
from jackstay_protocols.errors import Lane, Reason, ValidationError

RULES = [BudgetRule("weight", 3, 60, reserved=0.0), BudgetRule("calls", 9, 60, "bucket")]
ASK = Ask(Lane.QUERY, (("weight", "ip", 1), ("calls", "k", 1)), ((GateScope.IP, "ip"),))


def reborn(limiter, now, later, **more):
    new = Limiter(more.pop("rules", RULES))
    new.restore(json.loads(json.dumps(limiter.snapshot(now))), later, **more)
    return new


def test_budgets_and_gates_go_on():
    """What was spent stays spent, a ban stays a ban, under a clock that starts elsewhere."""
    limiter = Limiter(RULES)
    for _ in range(2):
        limiter.admit(0.0, ASK)
    new = reborn(limiter, 1.0, 9000.0)
    assert isinstance(new.admit(9000.0, ASK), Admit)
    assert isinstance(new.admit(9000.0, ASK, deadline_at=9100.0), Wait)
    limiter.gate(1.0, GateScope.IP, "ip", retry_after_s=100.0, why="418", ban=True)
    answer = reborn(limiter, 11.0, 0.0, elapsed_s=30.0).admit(0.0, ASK, deadline_at=1e3)
    assert (answer.reason, answer.until) == (Reason.GATED, 60.0)
    assert reborn(limiter, 11.0, 0.0, elapsed_s=90.0).status(0.0)["gates"] == []


def test_a_slow_return_goes_on():
    """Under way when the agent ended, or begun while none ran: the next one does not stampede."""
    limiter = Limiter(RULES)
    limiter.gate(0.0, GateScope.IP, "ip", retry_after_s=30.0, why="429")
    limiter.gate(0.0, GateScope.ENDPOINT, "e", retry_after_s=30.0, why="429")
    assert reborn(limiter, 10.0, 500.0, elapsed_s=25.0).status(500.0)["ramps"][0]["left_s"] == 25.0
    assert reborn(limiter, 10.0, 500.0, elapsed_s=60.0).status(500.0)["ramps"] == []
    limiter.advance(40.0)
    new = reborn(limiter, 40.0, 500.0, elapsed_s=5.0)
    (ramp,) = new.status(500.0)["ramps"]
    assert (ramp["scope"], ramp["left_s"]) == ("ip", 15.0)
    assert isinstance(new.admit(500.0, ASK), Admit)
    assert isinstance(new.admit(500.0, ASK), Wait)
    assert reborn(limiter, 40.0, 500.0, elapsed_s=20.0).status(500.0)["ramps"] == []


def test_rules_that_are_gone_are_left_out():
    """A changed profile does not refuse its old snapshot."""
    limiter = Limiter(RULES)
    limiter.admit(0.0, ASK)
    assert [b["budget"] for b in reborn(limiter, 0.0, 0.0, rules=RULES[:1]).status(0.0)["budgets"]] == ["weight"]


@pytest.mark.parametrize(
    "data",
    [
        None,
        {"version": 9},
        {"version": 1},
        {"version": 1, "budgets": [["weight"]], "gates": []},
        {"version": 1, "budgets": [["weight", "ip", [[0, -5]]]], "gates": []},
        {"version": 1, "budgets": [], "gates": [["moon", "ip", 5.0, "", False]]},
        {"version": 1, "budgets": [], "gates": [["ip", "ip", math.nan, "", False]]},
        {"version": 1, "budgets": [], "gates": 5},
        {"version": 1, "budgets": [], "gates": [], "ramps": [["ip", "ip", math.inf]]},
    ],
    ids=str,
)
def test_damage_is_refused(data):
    """A file's content is doubted."""
    with pytest.raises(ValidationError):
        Limiter(RULES).restore(data, 0.0)
