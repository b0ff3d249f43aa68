"""A breaker's memory as plain values, so that an agent's restart forgets nothing (DESIGN §5 Breaker).

Time is written as seconds left and ages, never as instants: the clock of the next process may start elsewhere. What was
in flight is not written; those calls died with the process. Everything read back is doubted: a snapshot is a file's
content by the time it returns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jackstay_protocols.errors import ValidationError

from .bounds import LONGEST_S, check_number, check_whole
from .breaker_state import CLOSED, HALF_OPEN, OPEN, BreakerState

if TYPE_CHECKING:
    from .breaker_machine import BreakerMachine

VERSION = 1


def snapshot(breaker: BreakerMachine, now: float) -> dict[str, Any]:
    breaker.advance(now)
    return {
        "version": VERSION,
        "name": breaker.name,
        "state": breaker.state.value,
        "left_s": None if breaker.until is None else breaker.until - now,
        "why": breaker.why,
        "opens_in_a_row": breaker.opens_in_a_row,
        "consecutive": breaker._consecutive,
        "probed": [breaker._probes.done, breaker._probes.failed, breaker._probes.slow],
        "window": None if breaker._window is None else [breaker.settings.window, *breaker._window.dump(now)],
    }


def restore(breaker: BreakerMachine, data: dict[str, Any], now: float, elapsed_s: float) -> None:
    own = f"snapshot of breaker {breaker.name}"
    if not isinstance(data, dict) or data.get("version") != VERSION:
        raise ValidationError(f"{own} is no table of version {VERSION}: start without it")
    try:
        state, left_s, why = BreakerState(data["state"]), data["left_s"], str(data["why"])[:200]
        opens, consecutive, probed, window = (data[k] for k in ("opens_in_a_row", "consecutive", "probed", "window"))
        probed, probes_failed, probes_slow = probed
    except (KeyError, ValueError, TypeError) as error:
        raise ValidationError(f"{own} is damaged ({type(error).__name__}): start without it") from error
    for name, value in (("opens_in_a_row", opens), ("consecutive", consecutive)):
        check_whole(own, name, value, 0, 1_000_000_000)
    check_number(own, "elapsed_s", elapsed_s, 0.0, 10 * 365 * 86_400)
    check_whole(own, "probed", probed, 0, 1000)
    check_whole(own, "probes_failed", probes_failed, 0, probed)
    check_whole(own, "probes_slow", probes_slow, 0, probed)
    if left_s is not None:
        check_number(own, "left_s", left_s, -LONGEST_S, LONGEST_S)
    elif state is OPEN:
        raise ValidationError(f"{own} is open without an end: start without it")

    breaker._enter(state, None if left_s is None else now + max(0.0, left_s - elapsed_s), why)
    breaker.opens_in_a_row = 0 if state is CLOSED else opens
    breaker._consecutive = consecutive
    if state is HALF_OPEN and probed < breaker.settings.half_open_permits:
        breaker._probes.done, breaker._probes.failed, breaker._probes.slow = probed, probes_failed, probes_slow
    if breaker._window is not None and isinstance(window, list) and window[:1] == [breaker.settings.window]:
        breaker._window.load(window[1:], now)  # of the same kind; a changed setting starts with an empty window
