"""Decorators for bot code: time_execution, retry, circuit_breaker."""

import asyncio
import inspect

import pytest

from jackstay_agent.breaker import CircuitBreaker, CircuitOpenError
from jackstay_agent.core.backoff import Backoff
from jackstay_agent.core.breaker import BreakerState
from jackstay_agent.core.retry import RetryBudget, RetryPolicy
from jackstay_agent.decorators import circuit_breaker, retry, time_execution
from jackstay_protocols.errors import ExchangeError, Outcome, OutcomeUnknown, ValidationError


class World:
    """A clock that moves by sleeping, and a function that fails as often as told."""

    def __init__(self, failures=0, error=None):
        self.now, self.slept = 100.0, []
        self.failures, self.calls, self.error = failures, 0, error or ConnectionError("lost")

    def clock(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds

    async def sleep_later(self, seconds):
        self.sleep(seconds)

    def work(self, value="done"):
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error
        return value

    def ports(self, **more):
        return {"clock": self.clock, "chance": lambda: 0.5, "sleep": self.sleep, "budget": RetryBudget(), **more}


# -- retry ----------------------------------------------------------------------------------------------------------


def test_it_calls_again_with_growing_waits():
    """Half a second, one, two at the same chance, then it works."""
    w = World(3)
    assert retry(w.work, attempts_max=5, base_s=1.0, **w.ports())("x") == "x"
    assert (w.calls, w.slept) == (4, [0.5, 1.0, 2.0])


def test_the_last_error_is_raised_as_it_is():
    """Attempts are bounded."""
    w = World(99)
    with pytest.raises(ConnectionError) as caught:
        retry(w.work, **w.ports())()
    assert caught.value is w.error
    assert w.calls == 3


@pytest.mark.asyncio
async def test_coroutines_are_retried_and_stay_coroutines():
    """With and without brackets, with an own policy."""
    w = World(1)

    @retry(policy=RetryPolicy(Backoff("constant", base_s=1.0)), **w.ports(sleep=w.sleep_later))
    async def work():
        """Works."""
        return w.work()

    assert inspect.iscoroutinefunction(work)
    assert (work.__name__, work.__doc__) == ("work", "Works.")
    assert await work() == "done"
    assert w.slept == [0.5]

    @retry
    async def plain():
        return 7

    assert await plain() == 7


def test_the_deadline_contains_everything():
    """Nobody sleeps past total_s; the time of the attempts counts."""
    w = World(99)

    def slow():
        w.now += 3.0
        return w.work()

    with pytest.raises(ConnectionError):
        retry(slow, attempts_max=99, total_s=10.0, base_s=1.0, **w.ports())()
    assert w.now <= 113.0
    assert w.calls <= 4


def test_a_servers_word_is_obeyed():
    """retry_after_s of the error: never earlier; past the total: not at all; nonsense is no word."""
    w = World(1, ExchangeError("busy", retry_after_s=4.0))
    retry(w.work, on=(ExchangeError,), **w.ports())()
    assert w.slept[0] > 4.0
    w = World(1, ExchangeError("busy", retry_after_s=40.0))
    with pytest.raises(ExchangeError):
        retry(w.work, on=(ExchangeError,), **w.ports())()
    w = World(1)
    w.error.retry_after_s = "soon"
    retry(w.work, **w.ports())()
    assert w.slept == [0.25]


@pytest.mark.parametrize(
    "error",
    [
        OutcomeUnknown("?", outcome=Outcome.UNKNOWN),
        ExchangeError("no", outcome=Outcome.REJECTED),
        CircuitOpenError("open"),
    ],
    ids=lambda e: type(e).__name__,
)
def test_what_may_not_be_repeated_is_not(error):
    """Unknown outcome, rejection, an open breaker: final for the loop."""
    w = World(9, error)
    with pytest.raises(type(error)):
        retry(w.work, on=(Exception,), **w.ports())()
    assert w.calls == 1


def test_other_errors_pass_at_once():
    """Only what `on` names is retried."""
    w = World(9, ValueError("bad"))
    with pytest.raises(ValueError):
        retry(w.work, **w.ports())()
    assert w.calls == 1


def test_the_budget_is_shared_by_the_calls():
    """Three retries for a quiet bot, then the outage is no storm."""
    budget, calls = RetryBudget(), 0
    for _ in range(5):
        w = World(9)
        with pytest.raises(ConnectionError):
            retry(w.work, **w.ports(budget=budget, sleep=lambda s: None))()
        calls += w.calls
    assert calls == 5 + 3


@pytest.mark.asyncio
async def test_cancellation_ends_the_loop():
    """A wait that is cancelled raises and calls no more."""
    w = World(99)

    @retry(**w.ports(sleep=lambda s: asyncio.Event().wait()))
    async def work():
        return w.work()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert w.calls == 1


def test_concurrent_calls_share_no_backoff():
    """A second call that begins later has its own first wait, and does not shorten the other's."""
    w = World(99)
    budget = RetryBudget()
    for _ in range(100):
        budget.called(w.now)
    f = retry(w.work, base_s=1.0, **w.ports(budget=budget))
    for _ in range(2):
        with pytest.raises(ConnectionError):
            f()
    assert w.slept == [0.5, 1.0, 0.5, 1.0]


def test_bad_settings_and_generators_are_refused():
    """At decoration, not at three in the morning."""
    with pytest.raises(ValidationError):
        retry(attempts_max=0)
    with pytest.raises(ValidationError):
        retry(base_s=float("nan"))

    def numbers():
        yield 1

    with pytest.raises(ValidationError, match="generator"):
        retry(numbers)


# -- circuit_breaker ------------------------------------------------------------------------------------------------


def test_an_own_breaker_named_after_the_function():
    """Five failures, then it refuses without calling; the breaker is at hand."""
    w = World(99)

    @circuit_breaker(failure_threshold=2)
    def work():
        return w.work()

    for _ in range(2):
        with pytest.raises(ConnectionError):
            work()
    with pytest.raises(CircuitOpenError):
        work()
    assert w.calls == 2
    assert work.breaker.name.endswith("work")
    assert work.breaker.state is BreakerState.OPEN


@pytest.mark.asyncio
async def test_a_shared_breaker_and_coroutines():
    """Two functions of one database share what they learned."""
    shared = CircuitBreaker(1)

    @circuit_breaker(breaker=shared)
    async def read():
        raise ConnectionError

    @circuit_breaker(breaker=shared)
    async def write():
        return "written"

    assert inspect.iscoroutinefunction(read)
    assert await write() == "written"
    with pytest.raises(ConnectionError):
        await read()
    with pytest.raises(CircuitOpenError):
        await write()
    with pytest.raises(ValidationError, match="give one of them"):
        circuit_breaker(read, breaker=shared, failure_threshold=3)


def test_without_brackets():
    """A bare @circuit_breaker is enough."""
    assert circuit_breaker(lambda: 5)() == 5


# -- time_execution -------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_each_call_is_measured_and_reported():
    """Name, seconds, and whether it worked; cancellation and errors included."""
    told = []

    @time_execution(name="work", report=lambda *facts: told.append(facts))
    def work(fails):
        if fails:
            raise ValueError
        return 1

    @time_execution(report=lambda *facts: told.append(facts))
    async def later(fails):
        await asyncio.sleep(0)
        return work(fails)

    assert inspect.iscoroutinefunction(later)
    assert work(False) == 1
    assert await later(False) == 1
    with pytest.raises(ValueError):
        await later(True)
    assert [(name.rpartition(".")[2], ok) for name, _, ok in told] == [
        ("work", True),
        ("work", True),
        ("later", True),
        ("work", False),
        ("later", False),
    ]
    assert all(0.0 <= seconds < 5.0 for _, seconds, _ in told)


def test_slow_calls_are_warned_about(capsys):
    """Above the limit a warning with figures, below it nothing on the screen."""

    @time_execution(warn_over_s=-1.0)
    def slow():
        return 1

    @time_execution
    def quick():
        return 1

    slow()
    quick()
    err = capsys.readouterr().err
    assert "call.timed" in err
    assert "slow" in err
    assert "quick" not in err
