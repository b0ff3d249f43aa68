"""The breaker: the contract's rule, the traps found in its peers (each a named test), and a model it must equal."""

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from jackstay_agent.core.breaker import Breaker, BreakerSettings, BreakerState, Permit, Refusal
from jackstay_agent.core.classify import classify_answer
from jackstay_agent.core.verdict import BreakerMark
from jackstay_protocols.errors import Reason

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN


def make(**fields):
    fields.setdefault("failure_threshold", 2)
    fields.setdefault("open_s", 30.0)
    return Breaker(BreakerSettings(**fields), name="orders")


def trip(breaker, now=0.0):
    while breaker.state is not OPEN:
        breaker.failure(breaker.acquire(now), now)
    return breaker


# -- the contract ---------------------------------------------------------------------------------------------------


def test_consecutive_failures_open_it_and_a_success_between_them_does_not():
    """Five in a row; four, one success and four are not."""
    b = Breaker()
    for ok in [False] * 4 + [True] + [False] * 4:
        (b.success if ok else b.failure)(b.acquire(0.0), 0.0)
    assert b.state is CLOSED
    b.failure(b.acquire(0.0), 0.0)
    assert (b.state, b.why) == (OPEN, "5 consecutive failures")


def test_open_refuses_and_says_until_when():
    """The refusal is a value with reason, state, name and the seconds left."""
    b = trip(make())
    no = b.acquire(10.0)
    assert isinstance(no, Refusal)
    assert (no.reason, no.state, no.breaker, no.retry_after_s) == (Reason.BREAKER_OPEN, OPEN, "orders", 20.0)


def test_it_is_half_open_at_its_instant_and_not_before():
    """At 30 s, not at 29.999."""
    b = trip(make())
    assert isinstance(b.acquire(29.999), Refusal)
    assert isinstance(b.acquire(30.0), Permit)
    assert b.state is HALF_OPEN


def test_a_good_probe_closes_and_a_bad_one_reopens():
    """One probe decides by default."""
    b = trip(make())
    b.success(b.acquire(30.0), 30.0)
    assert b.state is CLOSED
    trip(b, 31.0)
    b.failure(b.acquire(61.0), 62.0)
    assert (b.state, b.until, b.opens_in_a_row) == (OPEN, 92.0, 2)


def test_all_probes_must_succeed():
    """With three permits two successes are not enough, and the first failure reopens."""
    b = trip(make(half_open_permits=3))
    probes = [b.acquire(30.0) for _ in range(3)]
    b.success(probes[0], 31.0)
    b.success(probes[1], 31.0)
    assert b.state is HALF_OPEN
    b.success(probes[2], 31.0)
    assert b.state is CLOSED
    trip(b, 40.0)
    probes = [b.acquire(70.0) for _ in range(3)]
    b.failure(probes[0], 71.0)
    assert b.state is OPEN


def test_rates_may_decide_after_all_probes():
    """One failure of three closes at a threshold of 50 %, two reopen."""
    for failures, expected in ((1, CLOSED), (2, OPEN)):
        b = trip(make(half_open_permits=3, half_open_rule="rates", failure_rate=0.5))
        probes = [b.acquire(30.0) for _ in range(3)]
        for n, probe in enumerate(probes):
            (b.failure if n < failures else b.success)(probe, 31.0)
        assert b.state is expected


def test_the_failure_rate_opens_it():
    """Half of ten calls failing, never two in a row."""
    b = make(failure_threshold=None, failure_rate=0.5, min_calls=10, window_size=10)
    for n in range(10):
        assert b.state is CLOSED
        (b.failure if n % 2 else b.success)(b.acquire(0.0), 0.0)
    assert (b.state, b.why) == (OPEN, "5 of 10 calls failed")


def test_rules_are_judged_on_a_success_too():
    """F F F S S with 50 % and a minimum of five opens on the second success."""
    b = make(failure_threshold=None, failure_rate=0.5, min_calls=5, window_size=10)
    for ok in (False, False, False, True):
        (b.success if ok else b.failure)(b.acquire(0.0), 0.0)
    assert b.state is CLOSED
    b.success(b.acquire(0.0), 0.0)
    assert b.state is OPEN


def test_slow_successes_open_it_and_slow_means_longer():
    """A call of exactly the limit is not slow; slow successes count in the slow rate only."""
    for took_s, expected in ((1.0, CLOSED), (1.001, OPEN)):
        b = make(slow_rate=1.0, slow_call_s=1.0, min_calls=4, window_size=4)
        for _ in range(4):
            b.success(b.acquire(0.0), 0.0, took_s)
        assert b.state is expected


def test_a_time_window_forgets():
    """Failures of a minute ago do not add to those of now."""
    b = make(failure_threshold=None, failure_rate=0.5, min_calls=4, window="time", window_size=10)
    for now in (0.0, 0.1, 0.2, 60.0):
        b.failure(b.acquire(now), now)
    assert b.state is CLOSED
    for now in (60.1, 60.2, 60.3):
        b.failure(b.acquire(now), now)
    assert b.state is OPEN


# -- traps found in the field (each one failed in at least one published breaker) --------------------------------------


def test_late_success_never_closes():
    """A success that started before the trip and returns while open, or during a probe, changes nothing."""
    b = make()
    early = [b.acquire(0.0), b.acquire(0.0)]
    trip(b)
    b.success(early[0], 5.0)
    assert b.state is OPEN
    b.acquire(30.0)
    b.success(early[1], 31.0)
    assert b.state is HALF_OPEN
    assert b.counts["late"] == 2


def test_late_failure_never_reopens():
    """A failure from before the trip, returning during a half-open probe, does not reopen; the probe decides."""
    b = make()
    early = b.acquire(0.0)
    trip(b)
    probe = b.acquire(30.0)
    b.failure(early, 31.0)
    assert b.state is HALF_OPEN
    b.success(probe, 32.0)
    assert b.state is CLOSED
    b.failure(early, 33.0)
    assert b.counts["late"] == 2


@pytest.mark.parametrize("permits", [1, 3])
def test_exactly_n_of_ten_probes_admitted(permits):
    """Ten calls at the half-open instant: as many pass as there are permits; the others hear a distinct refusal."""
    b = trip(make(half_open_permits=permits))
    answers = [b.acquire(30.0) for _ in range(10)]
    refusals = [a for a in answers if isinstance(a, Refusal)]
    assert len(refusals) == 10 - permits
    assert {r.reason for r in refusals} == {Reason.HALF_OPEN_FULL}
    assert refusals[0].retry_after_s == 60.0


def test_full_half_open_with_all_probes_done_does_not_name_a_time():
    """With rates deciding and one probe still out of three done twice, the lease end is told; it is bounded."""
    b = trip(make(half_open_permits=2, half_open_rule="rates", failure_rate=1.0))
    first, second = b.acquire(30.0), b.acquire(40.0)
    b.success(first, 41.0)
    assert b.acquire(41.0).retry_after_s == 59.0
    b.ignore(second, 42.0)
    assert isinstance(b.acquire(42.0), Permit)


def test_cancelled_probe_returns_its_permit():
    """An ignored probe neither closes nor reopens, and the next call may probe."""
    b = trip(make())
    b.ignore(b.acquire(30.0), 31.0)
    assert b.state is HALF_OPEN
    assert isinstance(b.acquire(31.0), Permit)
    assert isinstance(b.acquire(31.0), Refusal)


def test_an_unused_permit_goes_back_uncounted():
    """What found no room elsewhere was no call: a probe's place is free, and no counter moved."""
    b = trip(make())
    before = dict(b.counts)
    b.unused(b.acquire(30.0))
    assert b.counts == before
    assert isinstance(b.acquire(30.0), Permit)


def test_cancellations_never_trip():
    """A thousand cancellations are neither failures nor successes."""
    b = make()
    b.failure(b.acquire(0.0), 0.0)
    for _ in range(1000):
        b.ignore(b.acquire(0.0), 0.0)
    assert b.state is CLOSED
    b.failure(b.acquire(0.0), 0.0)
    assert b.state is OPEN
    assert b.counts["ignored"] == 1000


def test_a_probe_that_never_returns_is_reclaimed():
    """After its lease the place is free, an event says so, and its late result changes nothing."""
    b = trip(make(probe_lease_s=10.0))
    lost = b.acquire(30.0)
    assert isinstance(b.acquire(39.9), Refusal)
    b.drain_events()
    assert isinstance(b.acquire(40.0), Permit)
    assert [e.kind for e in b.drain_events()] == ["probe_lost"]
    b.failure(lost, 41.0)
    assert b.state is HALF_OPEN


def test_a_probe_settled_twice_counts_once():
    """The second word of a probe is late."""
    b = trip(make(half_open_permits=2))
    probe = b.acquire(30.0)
    b.success(probe, 31.0)
    b.success(probe, 31.0)
    assert b.state is HALF_OPEN


# -- the de-risking lane --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["open", "forced", "half_open"])
def test_derisking_passes_a_shut_breaker_and_its_result_changes_nothing(how):
    """No state refuses a cancel; it takes no probe's place and decides nothing."""
    b = trip(make())
    now = 1.0
    if how == "forced":
        b.force(BreakerState.FORCED_OPEN, 0.0, why="test")
    elif how == "half_open":
        now = 31.0
        b.acquire(now)
    state = b.state
    for settle in (b.success, b.failure):
        permit = b.acquire(now, derisk=True)
        assert isinstance(permit, Permit)
        settle(permit, now)
        assert b.state is state
    assert (b.counts["bypassed"], b.counts["late"]) == (2, 0)


def test_derisking_counts_like_any_call_while_closed():
    """Failing cancels are evidence too."""
    b = make()
    for _ in range(2):
        b.failure(b.acquire(0.0, derisk=True), 0.0)
    assert b.state is OPEN


# -- what the lanes meet


def test_503s_open_it_business_rejects_do_not_and_cancels_pass_while_it_is_open():
    """The classifier's mark is what the breaker hears; the de-risking lane goes on."""
    b = make(failure_threshold=5)
    for _ in range(1000):
        v = classify_answer(400, [], b'{"code":-2010,"msg":"insufficient balance"}', table="binance", is_order=True)
        assert v.breaker is BreakerMark.SUCCESS
        b.success(b.acquire(0.0), 0.0)
    for _ in range(5):
        assert classify_answer(503, [], b"", table="binance", is_order=True).breaker is BreakerMark.FAILURE
        b.failure(b.acquire(0.0), 0.0)
    assert b.state is OPEN
    assert isinstance(b.acquire(1.0), Refusal)
    assert isinstance(b.acquire(1.0, derisk=True), Permit)


def test_modes_that_admit_everything_still_hear_results():
    """Disabled records nothing, metrics-only records and stays; both end by their time."""
    b = make()
    for mode in (BreakerState.DISABLED, BreakerState.METRICS_ONLY):
        b.force(mode, 0.0, why="test", until=50.0)
        for _ in range(3):
            b.failure(b.acquire(1.0), 1.0)
        assert b.state is mode
    assert b.counts["failed"] == 3
    assert isinstance(b.acquire(50.0), Permit)
    assert b.state is CLOSED


def test_one_failure_may_open_it_until_an_instant():
    """Told by the answer: open at once, until then."""
    b = make(failure_threshold=5)
    b.failure(b.acquire(0.0), 0.0, open_until=9.0)
    assert (b.state, b.until) == (OPEN, 9.0)


# -- the model ------------------------------------------------------------------------------------------------------


class Naive:
    """The same breaker, written as slowly and plainly as possible: the whole history, and a look at it each time."""

    def __init__(self, threshold, rate, min_calls, size, permits, lease_s, open_s):
        self.__dict__.update(locals())
        self.state, self.until, self.epoch = CLOSED, None, 0
        self.history, self.out, self.done = [], {}, []

    def move(self, state, until=None):
        self.state, self.until = state, until
        self.epoch += 1
        self.history, self.out, self.done = [], {}, []

    def acquire(self, now, derisk):
        if self.state is OPEN and now >= self.until:
            self.move(HALF_OPEN)
        if self.state is CLOSED:
            return ("free", self.epoch)
        if derisk:
            return ("bypass", self.epoch)
        if self.state is OPEN:
            return None
        self.out = {k: end for k, end in self.out.items() if now < end}
        if len(self.out) + len(self.done) >= self.permits:
            return None
        token = ("probe", self.epoch, object())
        self.out[token] = now + self.lease_s
        return token

    def settle(self, token, now, ok):
        if token[0] == "bypass" or token[1] != self.epoch:
            return
        if self.state is HALF_OPEN:
            if now >= self.out.pop(token, now):
                return
            self.done.append(ok)
            if not ok:
                self.move(OPEN, now + self.open_s)
            elif len(self.done) == self.permits:
                self.move(CLOSED)
            return
        self.history.append(ok)
        last = self.history[-self.size :]
        run = 0
        for each in reversed(self.history):
            if each:
                break
            run += 1
        bad = len(last) >= self.min_calls and last.count(False) / len(last) >= self.rate
        if run >= self.threshold or bad:
            self.move(OPEN, now + self.open_s)

    def ignore(self, token):
        self.out.pop(token, None)


class BreakerModel(RuleBasedStateMachine):
    """Random traffic, late results, lost probes and pauses: breaker and naive reference never differ."""

    def __init__(self):
        super().__init__()
        rules = BreakerSettings(
            failure_threshold=4,
            failure_rate=0.6,
            min_calls=5,
            window_size=8,
            half_open_permits=2,
            probe_lease_s=7.0,
            open_s=10.0,
        )
        self.real = Breaker(rules)
        self.naive = Naive(4, 0.6, 5, 8, 2, 7.0, 10.0)
        self.now, self.calls = 0.0, []

    @rule(seconds=st.sampled_from([0.0, 0.5, 3.0, 7.0, 10.0]))
    def pass_time(self, seconds):
        self.now += seconds

    @rule(derisk=st.booleans())
    def begin(self, derisk):
        real, naive = self.real.acquire(self.now, derisk=derisk), self.naive.acquire(self.now, derisk)
        assert isinstance(real, Refusal) == (naive is None)
        if naive is not None:
            self.calls.append((real, naive))

    @precondition(lambda self: self.calls)
    @rule(which=st.integers(0, 10**6), ok=st.booleans())
    def finish(self, which, ok):
        real, naive = self.calls.pop(which % len(self.calls))
        (self.real.success if ok else self.real.failure)(real, self.now)
        self.naive.settle(naive, self.now, ok)

    @rule(ok=st.booleans(), times=st.integers(1, 6))
    def run_of(self, ok, times):
        for _ in range(times):
            self.begin(False)
            if self.calls:
                real, naive = self.calls.pop()
                (self.real.success if ok else self.real.failure)(real, self.now)
                self.naive.settle(naive, self.now, ok)

    @precondition(lambda self: self.calls)
    @rule(which=st.integers(0, 10**6))
    def cancel(self, which):
        real, naive = self.calls.pop(which % len(self.calls))
        self.real.ignore(real, self.now)
        self.naive.ignore(naive)

    @invariant()
    def same_state(self):
        assert (self.real.state, self.real.until) == (self.naive.state, self.naive.until)


BreakerModel.TestCase.settings = hypothesis_settings(max_examples=250, stateful_step_count=50, deadline=None)
TestBreakerModel = BreakerModel.TestCase
