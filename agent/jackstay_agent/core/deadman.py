"""The venue's own dead-man switch: when to renew it, when not to, and what to say in time (DESIGN §5 Protection).

A switch cancels at the venue when nobody renews it, so it protects where the agent cannot: when the agent or its
network is gone. It is off until a person arms it, because it kills what it finds, stops included where the venue does
so. It is renewed at a third of its window (two more tries fit in), only while the bot is well and the agent is; what
stops renewing is told with the instant at which it fires.

Refuses to know requests and venues. Times are instants of one clock; the caller keeps the wall clock for the journal.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from jackstay_protocols.errors import ValidationError

from .bounds import LONGEST_S, check_number

RENEWALS_PER_WINDOW: Final = 3
BUDGET_SHARE_MAX: Final = 0.10  # of a rate budget; above it arming is refused
RETRY_PER_WINDOW: Final = 12  # a renewal that failed is tried again so often in a window


class SwitchState(StrEnum):
    OFF = "off"
    ARMED = "armed"
    LAPSED = "lapsed"  # its window went by unrenewed: the venue has fired, or will at any moment


class Step(StrEnum):
    """What is to be done now."""

    NOTHING = "nothing"
    RENEW = "renew"
    TELL_WILL_FIRE = "tell_will_fire"
    TELL_LAPSED = "tell_lapsed"


@dataclass(frozen=True, slots=True)
class Advice:
    """``at``: for TELL_WILL_FIRE the instant it fires. ``why``: for an event."""

    step: Step
    at: float | None = None
    why: str = ""


def cost_share(weight: float, window_s: float, limit: float, per_s: float, switches: int = 1) -> float:
    """The share of a rate budget that renewing takes: ``switches`` of them (one per symbol where the venue wants that).

    Raises ValidationError for numbers that mean nothing.
    """
    check_number("dead-man switch", "window_s", window_s, 0.0, LONGEST_S, above_low=True)
    check_number("dead-man switch", "limit", limit, 0.0, 1e12, above_low=True)
    check_number("dead-man switch", "per_s", per_s, 0.0, LONGEST_S, above_low=True)
    return switches * weight * (RENEWALS_PER_WINDOW / window_s) / (limit / per_s)


def refuse_arming(
    *,
    kills_conditional: str,
    protective: int,
    accept_losing_stops: bool,
    account_wide: bool,
    exclusive: bool,
    share: float,
) -> str | None:
    """Why the switch may not be armed, or None. ``protective``: open protective orders that it would kill."""
    if account_wide and not exclusive:
        return (
            "the venue's switch cancels every order of the account, and [account] exclusive is not true: orders of"
            " others would die with this bot's"
        )
    if kills_conditional != "no" and protective and not accept_losing_stops:
        word = "cancels" if kills_conditional == "yes" else "may cancel (unverified)"
        return (
            f"the switch {word} conditional orders, and {protective} protective order(s) are open: pass"
            " --accept-losing-stops if losing them is better than leaving the rest"
        )
    if share > BUDGET_SHARE_MAX:
        return (
            f"renewing it would take {share:.0%} of the venue's rate budget; at most {BUDGET_SHARE_MAX:.0%} is wise:"
            " use a longer window or fewer symbols"
        )
    return None


class Switch:
    """One switch: of an account, or of one symbol where the venue arms per symbol."""

    def __init__(self) -> None:
        self.window_s = 0.0
        self.armed = False
        self.renewed_at = 0.0
        self._tried_at: float | None = None
        self._told: Step | None = None

    def arm(self, window_s: float, now: float) -> None:
        """Arm or re-arm with the venue's acknowledgement given at ``now``."""
        check_number("dead-man switch", "window_s", window_s, 0.0, LONGEST_S, above_low=True)
        self.window_s, self.armed = window_s, True
        self.renewed(now)

    def disarm(self) -> None:
        """The venue acknowledged that it is off."""
        self.armed, self._tried_at, self._told = False, None, None

    def tried(self, now: float) -> None:
        """A renewal left; whether it arrived is not known yet."""
        self._tried_at = now

    def renewed(self, sent_at: float) -> None:
        """The venue acknowledged a renewal that was sent then: its window cannot have begun earlier."""
        self.renewed_at, self._tried_at, self._told = sent_at, None, None

    @property
    def fires_at(self) -> float:
        return self.renewed_at + self.window_s

    def state(self, now: float) -> SwitchState:
        if not self.armed:
            return SwitchState.OFF
        return SwitchState.LAPSED if now >= self.fires_at else SwitchState.ARMED

    def advise(self, now: float, *, fresh: bool, why_not_fresh: str = "", gate_until: float | None = None) -> Advice:
        """What to do now. ``fresh``: lease, configured progress and agent are well. ``gate_until``: the venue's word
        that nothing may be sent before. A thing is told once until it changes. After firing, only a person re-arms.
        """
        if not self.armed:
            return Advice(Step.NOTHING)
        if now >= self.fires_at:
            return self._once(Step.TELL_LAPSED, self.fires_at, "its window went by without a renewal")
        if gate_until is not None and gate_until >= self.fires_at:
            return self._once(Step.TELL_WILL_FIRE, self.fires_at, "a gate of the venue outlasts its window")
        due_at = self.renewed_at + self.window_s / RENEWALS_PER_WINDOW
        if self._tried_at is not None:
            due_at = max(due_at, self._tried_at + self.window_s / RETRY_PER_WINDOW)
        if now < due_at or (gate_until is not None and gate_until > now):
            return Advice(Step.NOTHING)
        if not fresh:
            return self._once(Step.TELL_WILL_FIRE, self.fires_at, why_not_fresh or "the bot is not well")
        return Advice(Step.RENEW)

    def next_at(self) -> float | None:
        """When `advise` may next say RENEW or LAPSED; None: never."""
        return self.renewed_at + self.window_s / RENEWALS_PER_WINDOW if self.armed else None

    def _once(self, step: Step, at: float, why: str) -> Advice:
        if self._told is step:
            return Advice(Step.NOTHING)
        self._told = step
        return Advice(step, at, why)

    def snapshot(self, now: float) -> dict[str, Any]:
        """Plain values for the journal; ``left_s`` until it fires."""
        return {"armed": self.armed, "window_s": self.window_s, "left_s": self.fires_at - now}

    def restore(self, kept: dict[str, Any], now: float, *, elapsed_s: float) -> None:
        """Adopt a journaled switch ``elapsed_s`` after it was written. Raises ValidationError if it cannot be read."""
        try:
            armed, window_s, left_s = bool(kept["armed"]), float(kept["window_s"]), float(kept["left_s"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValidationError(f"the journaled dead-man switch cannot be read ({type(error).__name__})") from error
        self.disarm()
        if armed:
            self.arm(window_s, now)
            self.renewed_at = now - elapsed_s + left_s - window_s
