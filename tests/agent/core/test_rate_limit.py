"""Admission: budgets, gates, ramps, tickets, and a model they must equal."""

import math

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from jackstay_agent.core.rate_gate import RampSettings
from jackstay_agent.core.rate_limit import Admit, Ask, BudgetRule, GateScope, Limiter, LimitSettings, Refuse, Wait
from jackstay_protocols.errors import Lane, Reason, ValidationError

IP, KEY = (GateScope.IP, "ip"), (GateScope.KEY, "k")
PLACE, CANCEL, COUNT = (GateScope.ENDPOINT, "place"), (GateScope.ENDPOINT, "cancel"), (GateScope.ORDER_COUNT, "k")
ORDER = Ask(Lane.ORDER, (("weight", "ip", 1), ("orders", "k", 1)), (IP, KEY, PLACE, COUNT))
QUERY = Ask(Lane.QUERY, (("weight", "ip", 1),), (IP, KEY))
DERISK = Ask(Lane.DERISK, (("weight", "ip", 1),), (IP, KEY, CANCEL))


def make(weight=10, orders=5, reserved=0.0, **settings):
    rules = [BudgetRule("weight", weight, 60, reserved=reserved), BudgetRule("orders", orders, 10, reserved=0.0)]
    return Limiter(rules, LimitSettings(**settings))


def spend(limiter, now, ask, times):
    for _ in range(times):
        assert isinstance(limiter.admit(now, ask), Admit)


# -- budgets --------------------------------------------------------------------------------------------------------


def test_all_budgets_are_spent_or_none():
    """The order count is full: the weight is not touched."""
    limiter = make()
    spend(limiter, 0.0, ORDER, 5)
    wait = limiter.admit(0.0, ORDER)
    assert isinstance(wait, Wait)
    assert (wait.reason, wait.why) == (Reason.RATE_LIMITED, "budget orders is spent")
    assert {b["budget"]: b["used"] for b in limiter.status(0.0)["budgets"]} == {"weight": 5.0, "orders": 5.0}


def test_the_longest_wait_counts():
    """Orders are free in ten seconds, weight in sixty."""
    limiter = make(weight=5)
    spend(limiter, 0.0, ORDER, 5)
    assert limiter.admit(0.0, ORDER, deadline_at=100.0).until > 60.0


def test_within_the_deadline_it_waits_past_it_it_is_refused():
    """The refusal says when to come back; without a deadline the bound is the setting's."""
    limiter = make(weight=1)
    spend(limiter, 0.0, QUERY, 1)
    assert isinstance(limiter.admit(0.0, QUERY, deadline_at=100.0), Wait)
    no = limiter.admit(0.0, QUERY, deadline_at=10.0)
    assert isinstance(no, Refuse)
    assert no.reason is Reason.RATE_LIMITED
    assert no.retry_after_s == pytest.approx(61.0)
    assert isinstance(limiter.admit(0.0, QUERY), Refuse)


def test_what_never_fits_has_no_retry_after():
    """Eleven of ten is not a matter of time."""
    no = make().admit(0.0, Ask(Lane.QUERY, (("weight", "ip", 11),)), deadline_at=1e9)
    assert (no.reason, no.retry_after_s) == (Reason.RATE_LIMITED, None)


def test_budgets_are_per_whose():
    """Another key has its own order count."""
    limiter = make()
    spend(limiter, 0.0, ORDER, 5)
    spend(limiter, 0.0, Ask(Lane.ORDER, (("orders", "other", 1),)), 5)


def test_an_unknown_budget_is_an_error_of_ours():
    """It names the known ones."""
    with pytest.raises(ValidationError, match="budget 'x' is not known; one of orders, weight"):
        make().admit(0.0, Ask(Lane.ORDER, (("x", "", 1),)))
    with pytest.raises(ValidationError, match="one of none"):
        Limiter().admit(0.0, Ask(Lane.ORDER, (("x", "", 1),)))


def test_budgets_are_bounded_and_the_oldest_goes():
    """A thousand symbols do not become a thousand budgets."""
    limiter = make(budgets_max=2)
    for n in range(5):
        limiter.admit(0.0, Ask(Lane.ORDER, (("orders", str(n), 1),)))
    assert [b["whose"] for b in limiter.status(0.0)["budgets"]] == ["3", "4"]


def test_what_was_not_sent_is_given_back():
    """Cancelled before the first byte: the room is free again."""
    limiter = make(weight=1)
    admit = limiter.admit(0.0, QUERY)
    limiter.give_back(0.0, admit)
    spend(limiter, 0.0, QUERY, 1)


def test_headers_correct_the_local_count():
    """The venue counts 9 of 10 although we sent one: one more fits. Nonsense is passed over."""
    limiter = make()
    spend(limiter, 0.0, QUERY, 1)
    limiter.correct(0.0, "weight", "ip", 9)
    for nonsense in (math.nan, -1.0, 1e12):
        limiter.correct(0.0, "weight", "ip", nonsense)
    spend(limiter, 0.0, QUERY, 1)
    limiter.leave(limiter.admit(0.0, QUERY, deadline_at=100.0))
    limiter.correct(0.0, "weight", "ip", 2, in_flight=0.0)
    spend(limiter, 0.0, QUERY, 8)


# -- the de-risking lane ----------------------------------------------------------------------------------------------


def test_derisking_has_a_reserved_share_and_passes_even_an_empty_budget():
    """Orders leave a tenth; cancels take it, then go over and it is said."""
    limiter = make(weight=10, orders=100, reserved=0.1)
    spend(limiter, 0.0, ORDER, 9)
    assert isinstance(limiter.admit(0.0, ORDER, deadline_at=100.0), Wait)
    assert limiter.admit(0.0, DERISK).over is False
    assert limiter.admit(0.0, DERISK).over is True


@pytest.mark.parametrize(
    ("scope", "whose", "order", "cancel"),
    [
        (GateScope.IP, "ip", False, False),
        (GateScope.KEY, "k", False, False),
        (GateScope.ENDPOINT, "place", False, True),
        (GateScope.ORDER_COUNT, "k", False, True),
        (GateScope.ENDPOINT, "cancel", True, False),
        (GateScope.IP, "another", True, True),
    ],
)
def test_a_gate_has_the_scope_the_venue_gave_it(scope, whose, order, cancel):
    """A 429 of the place endpoint or the order count gates no cancel; one of the whole ip gates every lane."""
    limiter = make()
    limiter.gate(0.0, scope, whose, retry_after_s=20.0, why="429")
    for ask, passes in ((ORDER, order), (DERISK, cancel)):
        answer = limiter.admit(1.0, ask, deadline_at=100.0)
        assert isinstance(answer, Admit) is passes
        if not passes:
            assert (answer.reason, answer.until) == (Reason.GATED, 20.0)


# -- gates and ramps --------------------------------------------------------------------------------------------------


def test_not_one_request_before_the_instant_then_a_ramp():
    """An ip-wide 429 with Retry-After 20: nothing of any lane before, then one, then a rising few."""
    limiter = make(weight=100_000, ramp=RampSettings(ramp_s=10.0, start_per_s=1.0, end_per_s=9.0))
    limiter.gate(0.0, GateScope.IP, "ip", retry_after_s=20.0, why="429")
    sent, now = [], 0.0
    while now < 40.0:
        for _ in range(2):
            answer = limiter.admit(now, QUERY)
            if isinstance(answer, Admit):
                sent.append(now)
            else:
                limiter.leave(answer)
        now += 0.05
    assert min(sent) >= 20.0
    assert len([at for at in sent if at < 21.0]) == 2
    assert 40 < len([at for at in sent if at < 30.0]) <= 51
    assert len([at for at in sent if at >= 30.5]) > 300


def test_derisking_passes_the_ramp_and_counts_on_it():
    """A way out needs no ramp, but it is traffic."""
    limiter = make(weight=1000, ramp=RampSettings(ramp_s=100.0, start_per_s=1.0, end_per_s=1.0))
    limiter.gate(0.0, GateScope.IP, "ip", retry_after_s=100.0, why="429")
    spend(limiter, 100.0, DERISK, 5)
    wait = limiter.admit(100.0, QUERY)
    assert (wait.until, wait.why) == (105.0, "slow return after a gate")
    admit = limiter.admit(105.0, QUERY, ticket=wait)
    limiter.give_back(105.0, admit)
    spend(limiter, 105.0, QUERY, 1)


def test_a_gate_without_an_instant_gets_the_default_and_a_ban_a_longer_one():
    """Ten seconds and two minutes; a negative word is now; NaN is no word."""
    limiter = make()
    assert limiter.gate(0.0, GateScope.IP, "a", retry_after_s=None, why="429") == 10.0
    assert limiter.gate(0.0, GateScope.IP, "b", retry_after_s=None, why="418", ban=True) == 120.0
    assert limiter.gate(0.0, GateScope.IP, "c", retry_after_s=-5.0, why="429") == 0.0
    assert limiter.gate(0.0, GateScope.IP, "d", retry_after_s=math.nan, why="429") == 10.0


def test_gates_are_told_and_shown():
    """Closed, released, opened: events; status names gates, ramps and waiting."""
    limiter = make()
    limiter.gate(0.0, GateScope.IP, "ip", retry_after_s=20.0, why="429")
    limiter.gate(0.0, GateScope.KEY, "k", retry_after_s=5.0, why="429")
    limiter.admit(0.0, QUERY, deadline_at=100.0)
    shown = limiter.status(6.0)
    assert shown["gates"] == [{"scope": "ip", "whose": "ip", "left_s": 14.0, "why": "429", "ban": False}]
    assert shown["ramps"] == [{"scope": "key", "whose": "k", "left_s": 4.0}]
    assert shown["waiting"] == 1
    assert limiter.release(7.0, GateScope.IP, "ip")
    assert not limiter.release(7.0, GateScope.IP, "ip")
    assert [(e.kind, e.scope) for e in limiter.drain_events()] == [
        ("gate_closed", "ip"),
        ("gate_closed", "key"),
        ("gate_opened", "key"),
        ("gate_opened", "ip"),
    ]


# -- tickets ----------------------------------------------------------------------------------------------------------


def test_who_waits_longer_goes_first():
    """A later request does not take the room an earlier one waits for."""
    limiter = make(weight=2)
    spend(limiter, 0.0, QUERY, 1)
    spend(limiter, 30.0, QUERY, 1)
    first = limiter.admit(31.0, QUERY, deadline_at=200.0)
    second = limiter.admit(31.0, QUERY, deadline_at=200.0)
    assert first.until < second.until
    late = limiter.admit(first.until, QUERY, deadline_at=200.0)
    assert isinstance(late, Wait), "the newcomer must not overtake"
    assert isinstance(limiter.admit(first.until, QUERY, ticket=first, deadline_at=200.0), Admit)
    assert isinstance(limiter.admit(second.until, QUERY, ticket=second, deadline_at=200.0), Admit)


def test_a_more_urgent_lane_does_not_wait_behind_a_less_urgent_one():
    """An order ignores waiting questions; a question does not ignore a waiting order."""
    limiter = make(weight=2, orders=100)
    spend(limiter, 0.0, QUERY, 2)
    question = limiter.admit(1.0, QUERY, deadline_at=200.0)
    order = limiter.admit(1.0, ORDER, deadline_at=200.0)
    assert order.until == question.until
    spend_at = order.until
    assert isinstance(limiter.admit(spend_at, ORDER, ticket=order, deadline_at=200.0), Admit)
    assert isinstance(limiter.admit(spend_at, QUERY, ticket=question, deadline_at=200.0), Admit)
    other = make(weight=1, orders=100)
    spend(other, 0.0, QUERY, 1)
    other.admit(1.0, ORDER, deadline_at=200.0)
    assert isinstance(other.admit(61.5, QUERY, deadline_at=200.0), Wait)


def test_who_leaves_or_forgets_loses_the_place():
    """A cancelled waiter lets others up at once, a silent one a second after its instant."""
    limiter = make(weight=1)
    spend(limiter, 0.0, QUERY, 1)
    gone = limiter.admit(1.0, QUERY, deadline_at=200.0)
    limiter.leave(gone)
    limiter.leave(gone)
    silent = limiter.admit(1.0, QUERY, deadline_at=200.0)
    assert silent.until == gone.until
    assert isinstance(limiter.admit(silent.until, QUERY, deadline_at=500.0), Wait)
    assert isinstance(limiter.admit(silent.until + 130.0, QUERY, deadline_at=500.0), Admit)


def test_waiting_is_bounded():
    """One more than may wait is refused at once."""
    limiter = make(weight=1, waiting_max=2)
    spend(limiter, 0.0, QUERY, 1)
    for _ in range(2):
        assert isinstance(limiter.admit(1.0, QUERY, deadline_at=900.0), Wait)
    no = limiter.admit(1.0, QUERY, deadline_at=900.0)
    assert (no.reason, isinstance(no, Refuse)) == (Reason.QUEUE_FULL, True)


def test_no_queue_is_too_full_for_derisking():
    """Behind a gate a cancel waits even where no more may wait."""
    limiter = make(waiting_max=0)
    limiter.gate(0.0, GateScope.IP, "ip", retry_after_s=5.0, why="429")
    assert isinstance(limiter.admit(0.0, QUERY), Refuse)
    wait = limiter.admit(0.0, DERISK)
    assert isinstance(wait, Wait)
    assert isinstance(limiter.admit(5.0, DERISK, ticket=wait), Admit)


def test_asking_too_early_keeps_the_place():
    """A timer that fires early is told the same instant again and loses nothing."""
    limiter = make(weight=1)
    spend(limiter, 0.0, QUERY, 1)
    first = limiter.admit(1.0, QUERY, deadline_at=300.0)
    second = limiter.admit(1.0, QUERY, deadline_at=300.0)
    again = limiter.admit(first.until - 0.001, QUERY, deadline_at=300.0, ticket=first)
    assert (again.until, again.number) == (first.until, first.number)
    assert isinstance(limiter.admit(second.until, QUERY, deadline_at=300.0, ticket=again), Admit)


def test_a_ticket_is_refused_when_the_deadline_no_longer_fits():
    """A gate closed meanwhile: the waiter hears it at its next question and leaves the queue."""
    limiter = make(weight=1)
    spend(limiter, 0.0, QUERY, 1)
    wait = limiter.admit(1.0, QUERY, deadline_at=100.0)
    limiter.gate(2.0, GateScope.IP, "ip", retry_after_s=500.0, why="429")
    no = limiter.admit(wait.until, QUERY, deadline_at=100.0, ticket=wait)
    assert (no.reason, limiter.status(wait.until)["waiting"]) == (Reason.GATED, 0)


def test_a_restart_forgets_nothing():
    """Budgets and gates go on in a new limiter."""
    limiter = make(weight=1)
    spend(limiter, 0.0, QUERY, 1)
    new = make(weight=1)
    new.restore(limiter.snapshot(0.0), 50.0)
    assert isinstance(new.admit(50.0, QUERY, deadline_at=900.0), Wait)


def test_a_second_budget_that_is_full_too_spends_nothing_either():
    """The first says when, the second perhaps later; neither is touched."""
    limiter = make(weight=2, orders=2)
    spend(limiter, 0.0, ORDER, 2)
    for _ in range(3):
        limiter.leave(limiter.admit(0.0, ORDER, deadline_at=900.0))
    assert [b["used"] for b in limiter.status(0.0)["budgets"]] == [2.0, 2.0]


def test_the_venues_own_instant_can_be_asked_for():
    """A gate that covers the request; one that does not, or none, stands in no way."""
    limiter = make()
    assert limiter.gated_until(0.0, QUERY) is None
    limiter.gate(0.0, *IP, retry_after_s=30.0, why="429")
    assert limiter.gated_until(1.0, QUERY) == 30.0
    assert limiter.gated_until(30.0, QUERY) is None


# -- leases ---------------------------------------------------------------------------------------------------------


def test_a_shared_budget_is_refilled_from_outside():
    """Without a grant it waits for one; another kind has no leases."""
    limiter = Limiter([BudgetRule("shared", 100, 60, "leased"), BudgetRule("own", 5, 1)])
    ask = Ask(Lane.QUERY, (("shared", "ip", 3),))
    wait = limiter.admit(0.0, ask)
    limiter.leased("shared", "ip").grant(3, 10.0)
    assert isinstance(limiter.admit(wait.until, ask, ticket=wait), Admit)
    with pytest.raises(ValidationError, match="kind 'leased' is expected"):
        limiter.leased("own", "ip")


def test_a_shared_budget_is_never_the_one_to_be_forgotten():
    """What the host has granted would be lost; own budgets go, or nothing does."""
    rules = [BudgetRule("shared", 100, 60, "leased"), BudgetRule("own", 5, 1)]
    limiter = Limiter(rules, LimitSettings(budgets_max=2))
    limiter.leased("shared", "ip").grant(3, 10.0)
    for n in range(5):
        limiter.admit(0.0, Ask(Lane.ORDER, (("own", str(n), 1),)))
    shown = [(b["whose"], b["shared"]) for b in limiter.status(0.0)["budgets"]]
    assert shown == [("ip", True), ("4", False)]
    alone = Limiter(rules, LimitSettings(budgets_max=1))
    alone.leased("shared", "ip").grant(3, 10.0)
    alone.admit(0.0, Ask(Lane.ORDER, (("own", "x", 1),)))
    assert alone.leased("shared", "ip").left(0.0) == 3


# -- the model ------------------------------------------------------------------------------------------------------


class LimiterModel(RuleBasedStateMachine):
    """Random traffic of three lanes with gates and pauses, against the plain list of everything that left."""

    def __init__(self):
        super().__init__()
        ramp = RampSettings(ramp_s=0.0)
        self.real = Limiter(
            [BudgetRule("a", 12, 60, reserved=0.25), BudgetRule("b", 4, 6, reserved=0.0)],
            LimitSettings(ramp=ramp, waiting_max=0),  # no queue: every answer is yes or no, as in the naive one
        )
        self.now, self.sent, self.gates = 1000.0, [], {}

    def counted(self, budget, limit_s):
        step = limit_s / 60
        newest = int(self.now // step)
        return sum(w for at, charges in self.sent for b, w in charges if b == budget and newest - int(at // step) <= 60)

    @rule(seconds=st.sampled_from([0.0, 0.05, 0.3, 1.0, 6.2, 61.5]))
    def pass_time(self, seconds):
        self.now += seconds

    @rule(
        lane=st.sampled_from([Lane.DERISK, Lane.ORDER, Lane.QUERY]),
        a=st.integers(1, 4),
        b=st.integers(0, 2),
        scopes=st.sets(st.sampled_from([IP, PLACE, COUNT])),
    )
    def ask(self, lane, a, b, scopes):
        charges = (("a", "", a),) + ((("b", "", b),) if b else ())
        answer = self.real.admit(self.now, Ask(lane, charges, tuple(scopes)))
        derisk = lane is Lane.DERISK
        gated = any(self.gates.get(s, 0.0) > self.now and not (derisk and s == COUNT) for s in scopes)
        room = self.counted("a", 60) + a <= 9 and (not b or self.counted("b", 6) + b <= 4)
        assert isinstance(answer, Admit) == (not gated and (derisk or room))
        if isinstance(answer, Admit):
            self.sent.append((self.now, [("a", a), ("b", b)]))
        else:
            assert answer.reason in (Reason.GATED, Reason.RATE_LIMITED, Reason.QUEUE_FULL)

    @rule(scope=st.sampled_from([IP, PLACE, COUNT]), seconds=st.sampled_from([0.5, 5.0, 70.0]))
    def close(self, scope, seconds):
        self.real.gate(self.now, *scope, retry_after_s=seconds, why="429")
        self.gates[scope] = max(self.gates.get(scope, 0.0), self.now + seconds)

    @precondition(lambda self: self.gates)
    @rule(scope=st.sampled_from([IP, PLACE, COUNT]))
    def release(self, scope):
        assert self.real.release(self.now, *scope) == (self.gates.pop(scope, 0.0) > self.now)

    @invariant()
    def same_use(self):
        used = {b["budget"]: b["used"] for b in self.real.status(self.now)["budgets"]}
        for name, per_s in (("a", 60), ("b", 6)):
            assert used.get(name, 0.0) == pytest.approx(self.counted(name, per_s))


LimiterModel.TestCase.settings = hypothesis_settings(max_examples=250, stateful_step_count=50, deadline=None)
TestLimiterModel = LimiterModel.TestCase
