"""The pulse: quick while something is open, slow at rest, brought forward by news."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from e2e_bot import RESOLVING, client_for, place, routed
from harness import AgentProcess
from jackstay_agent.pulse import QUICK_S, SLOW_S, Pulse
from jackstay_agent.sandbox import SandboxProcess

LOOK_S = 2.0
WAKES_PER_S_MAX = 40


class Timers:
    """A loop's `call_later`, by hand."""

    def __init__(self) -> None:
        self.planned: list[tuple[float, Callable[[], None]]] = []

    def later(self, delay_s: float, call: Callable[[], None]) -> Any:
        entry = (delay_s, call)
        self.planned.append(entry)
        timers = self

        class Handle:
            def cancel(self) -> None:
                if entry in timers.planned:
                    timers.planned.remove(entry)

        return Handle()

    def fire(self) -> None:
        _delay_s, call = self.planned.pop()
        call()

    @property
    def next_s(self) -> float:
        assert len(self.planned) == 1, "one timer at a time"
        return self.planned[0][0]


@pytest.fixture
def timers() -> Timers:
    return Timers()


def test_it_is_quick_while_something_is_open_and_slow_at_rest(timers: Timers) -> None:
    """The next look is planned by what the looks have left."""
    rest = [False, True, False]
    pulse = Pulse(timers.later, (), at_rest=lambda: rest.pop(0))
    pulse.beat()
    assert timers.next_s == QUICK_S
    timers.fire()
    assert timers.next_s == SLOW_S
    timers.fire()
    assert timers.next_s == QUICK_S


def test_looks_are_called_in_their_order_before_the_next_is_planned(timers: Timers) -> None:
    """What the looks settle counts for the pace."""
    seen: list[str] = []
    pulse = Pulse(
        timers.later, (lambda: seen.append("outbox"), lambda: seen.append("queue")), at_rest=lambda: len(seen) == 2
    )
    pulse.beat()
    assert (seen, timers.next_s, pulse.beats) == (["outbox", "queue"], SLOW_S, 1)


def test_what_is_written_down_brings_the_next_look_forward_once(timers: Timers) -> None:
    """After a rest the first record does not wait for the slow beat; more of them plan nothing anew."""
    pulse = Pulse(timers.later, (), at_rest=lambda: True)
    pulse.beat()
    pulse.stir()
    first = timers.planned[0]
    pulse.stir()
    assert timers.next_s == QUICK_S
    assert timers.planned[0] is first


def test_stopped_it_plans_nothing(timers: Timers) -> None:
    """A stopping agent's outbox is closed: nobody looks at it any more."""
    pulse = Pulse(timers.later, (), at_rest=lambda: True)
    pulse.beat()
    pulse.stop()
    assert not timers.planned


def _wakes(pid: int) -> int:
    """How often the agent's loop was woken so far."""
    status = Path(f"/proc/{pid}/task/{pid}/status").read_text(encoding="ascii")
    return int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])


@pytest.mark.serial
def test_an_agent_that_has_settled_its_orders_comes_to_rest() -> None:
    """Woken a few times a second, before its first order and after its last one was answered and written."""
    with SandboxProcess(seed=3, quiet=True) as venue, AgentProcess(routed(venue.url, RESOLVING)) as agent:
        with client_for(agent, bot_id="resting") as client:
            for number in range(5):
                assert place(client, venue, f"rest-{number}").ok
            client.status()
        until = time.monotonic() + 20
        while True:
            before = _wakes(agent.pid)
            time.sleep(LOOK_S)  # the measurement is a stretch of rest
            per_s = (_wakes(agent.pid) - before) / LOOK_S
            if per_s <= WAKES_PER_S_MAX:
                break
            assert time.monotonic() < until, f"woken {per_s:.0f} times a second with nothing to do"
