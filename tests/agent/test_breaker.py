"""The public breaker: the contract, the traps of calls and coroutines, threads."""

import asyncio
import math
import threading
import time

import pytest

from jackstay_agent.breaker import CircuitBreaker, CircuitOpenError, CircuitPermit, HalfOpenFullError
from jackstay_agent.core.breaker import BreakerSettings, BreakerState
from jackstay_protocols.errors import Reason, Refused, ValidationError


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class Boom(Exception):
    pass


def fail(*args):
    raise Boom(*args)


async def fail_later():
    raise Boom


@pytest.fixture
def clock():
    return Clock()


def trip(breaker):
    while breaker.state is not BreakerState.OPEN:
        with pytest.raises(Boom):
            breaker.call(fail)
    return breaker


def test_the_contract(clock):
    """Five failures open it, thirty seconds later it is half-open, a success closes it."""
    b = CircuitBreaker(clock=clock)
    for _ in range(4):
        with pytest.raises(Boom):
            b.call(fail)
    assert b.state is BreakerState.CLOSED
    assert not b.should_transition_to_half_open()
    trip(b)
    clock.now += 29.9
    assert not b.should_transition_to_half_open()
    with pytest.raises(CircuitOpenError, match="breaker breaker is open; ask again in 0.100 s") as caught:
        b.call(fail)
    assert (caught.value.reason, round(caught.value.retry_after_s, 3)) == (Reason.BREAKER_OPEN, 0.1)
    clock.now += 0.1
    assert b.should_transition_to_half_open()
    assert b.call(lambda a, *, k: (a, k), 1, k=2) == (1, 2)
    assert b.state is BreakerState.CLOSED


def test_the_two_refusals_are_two_exceptions(clock):
    """Both are refusals; a full half-open one is not an open one."""
    b = trip(CircuitBreaker(2, 10, clock=clock))
    clock.now += 10.0
    b.acquire()
    with pytest.raises(HalfOpenFullError) as caught:
        b.acquire()
    assert isinstance(caught.value, Refused)
    assert not isinstance(caught.value, CircuitOpenError)
    assert caught.value.retry_after_s == 60.0


def test_a_permit_is_settled_once(clock):
    """A second word is an error of the caller and counts nothing."""
    b = CircuitBreaker(2, clock=clock)
    permit = b.acquire()
    assert isinstance(permit, CircuitPermit)
    permit.failure(duration_s=1.0)
    for word in (permit.failure, permit.success, permit.ignore):
        with pytest.raises(ValidationError, match="settled twice"):
            word()
    assert b.counts["failed"] == 1


def test_a_failure_may_say_until_when(clock):
    """A Retry-After opens at once and for that long."""
    b = CircuitBreaker(clock=clock)
    b.acquire().failure(retry_after_s=120.0)
    assert b.state is BreakerState.OPEN
    clock.now += 119.0
    with pytest.raises(CircuitOpenError):
        b.acquire()


@pytest.mark.asyncio
async def test_coroutines_are_judged_by_their_end(clock):
    """Coroutine functions, lambdas around them and futures: a failure counts when it happens."""
    b = CircuitBreaker(2, clock=clock)
    with pytest.raises(Boom):
        await b.call(fail_later)
    assert b.counts["failed"] == 1
    with pytest.raises(Boom):
        await b.call(lambda: fail_later())
    assert b.state is BreakerState.OPEN
    with pytest.raises(CircuitOpenError):
        await b.call(fail_later)
    clock.now += 30.0
    assert await b.call(asyncio.sleep, 0, "done") == "done"
    assert b.state is BreakerState.CLOSED


@pytest.mark.asyncio
async def test_cancelled_probe_returns_its_permit(clock):
    """A cancelled call is neither success nor failure; the next may probe."""
    b = trip(CircuitBreaker(1, 10, clock=clock))
    clock.now += 10.0
    task = asyncio.create_task(b.call(asyncio.Event().wait))
    await asyncio.sleep(0)
    assert b.state is BreakerState.HALF_OPEN
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert b.state is BreakerState.HALF_OPEN
    assert await b.call(asyncio.sleep, 0, 7) == 7
    assert b.state is BreakerState.CLOSED


@pytest.mark.asyncio
async def test_cancellations_never_trip(clock):
    """Ten cancelled calls with a threshold of two leave it closed."""
    b = CircuitBreaker(2, clock=clock)
    for _ in range(10):
        task = asyncio.create_task(b.call(asyncio.Event().wait))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert (b.state, b.counts["ignored"]) == (BreakerState.CLOSED, 10)


@pytest.mark.asyncio
async def test_exactly_n_of_ten_probes_admitted(clock):
    """Ten concurrent coroutines at the half-open instant: three get through."""
    b = trip(CircuitBreaker(1, 10, clock=clock, half_open_permits=3))
    clock.now += 10.0
    gate = asyncio.Event()
    calls = [asyncio.create_task(b.call(gate.wait)) for _ in range(10)]
    await asyncio.sleep(0)
    gate.set()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert results.count(True) == 3
    assert sum(isinstance(r, HalfOpenFullError) for r in results) == 7


def test_calls_run_in_parallel(clock):
    """Five threads are inside the protected function at the same time; no lock is held across it."""
    b = CircuitBreaker(clock=clock)
    meet = threading.Barrier(5)
    threads = [threading.Thread(target=b.call, args=(meet.wait, 10.0)) for _ in range(5)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(10.0)
    assert not meet.broken
    assert b.counts["ok"] == 5


def test_wall_clock_steps_change_nothing(clock, monkeypatch):
    """A wall clock that jumps a day forward and back opens nothing and closes nothing."""
    b = trip(CircuitBreaker(1, 30))
    for wall in (time.time() + 86_400, 0.0):
        monkeypatch.setattr(time, "time", lambda wall=wall: wall)
        with pytest.raises(CircuitOpenError):
            b.acquire()


def test_what_counts_as_failure_is_the_callers_choice(clock):
    """Ignored exceptions count neither way, exceptions that are no failures prove that the other side works."""
    b = CircuitBreaker(1, clock=clock, ignore=(KeyError,), failures=(OSError,))
    with pytest.raises(KeyError):
        b.call({}.__getitem__, 1)
    with pytest.raises(Boom):
        b.call(fail)
    assert (b.counts["ignored"], b.counts["ok"], b.state) == (1, 1, BreakerState.CLOSED)
    with pytest.raises(SystemExit):
        b.call(exit_now)
    with pytest.raises(OSError):
        b.call(open, "/nonexistent/file")
    assert b.state is BreakerState.OPEN


def exit_now():
    raise SystemExit(3)


def test_operators_and_restarts(clock):
    """Trip for a time, reset, open for a while, remember across a restart."""
    b = CircuitBreaker(clock=clock, name="orders")
    b.force(BreakerState.OPEN, why="release", for_s=50.0)
    data = b.snapshot()
    b.force(BreakerState.CLOSED, why="done")
    b.open_for(5.0)
    assert b.state is BreakerState.OPEN
    new = CircuitBreaker(clock=clock, name="orders")
    new.restore(data, elapsed_s=20.0)
    with pytest.raises(CircuitOpenError) as caught:
        new.acquire()
    assert caught.value.retry_after_s == 30.0
    b.force(BreakerState.FORCED_OPEN, why="no end")
    with pytest.raises(CircuitOpenError, match="forced_open$") as caught:
        b.acquire()
    assert caught.value.retry_after_s is None


def test_events_are_told_outside_the_lock_and_a_listeners_fault_is_not_the_callers(clock, capsys):
    """A listener may use the breaker; one that raises is logged and forgotten."""
    told = []

    def listen(event):
        told.append((event.kind, b.state, b.should_transition_to_half_open()))
        raise RuntimeError("listener")

    b = CircuitBreaker(1, clock=clock, on_event=listen)
    trip(b)
    assert told == [("moved", BreakerState.OPEN, False)]
    assert "breaker.listener_failed" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        {"failure_threshold": 0},
        {"failure_threshold": -1},
        {"failure_threshold": math.nan},
        {"recovery_timeout": -1},
        {"recovery_timeout": math.inf},
        {"recovery_timeout": math.nan},
        {"recovery_timeout": 1e12},
        {"recovery_timeout": "30"},
        {"half_open_permits": 0},
        {"permits": 3},
        {"settings": BreakerSettings(), "open_growth": 2.0},
    ],
    ids=str,
)
def test_bad_arguments_are_refused(arguments):
    """Negative, NaN, infinite, huge, misspelt or doubled settings never become a breaker."""
    with pytest.raises(ValidationError):
        CircuitBreaker(**arguments)


def test_a_long_flat_timeout_is_meant():
    """Two hours are not cut by the cap, which is there for growth; settings may come whole."""
    assert CircuitBreaker(5, 7200).settings.open_cap_s == 7200
    assert CircuitBreaker(settings=BreakerSettings(failure_threshold=9)).settings.failure_threshold == 9
