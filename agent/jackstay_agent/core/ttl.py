"""How old is it, and may it still be sent? (DESIGN §3 rule 3: nothing stale is sent)

Age is the larger of what the boot-time clock and the wall clock say. Where the two disagree by more than a step a
clock service makes, or the machine was booted in between, nobody can say: the age is *in doubt*, and what is in doubt
and has a time to live is expired. Boot-time clocks count a suspend on Linux; where the platform's does not, the two
clocks disagree after one and the same rule catches it.

Refuses to know which clock it is given: instants are arguments. ``boot_s`` seconds of a boot-time clock, ``wall_s`` of
the wall clock, ``boot_id`` any word that changes with a reboot.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

import msgspec

from jackstay_protocols.errors import Reason


class Stamp(msgspec.Struct, frozen=True, gc=False):
    """One instant on both clocks. One stands with every order, so the collector does not see it."""

    boot_id: str
    boot_s: float
    wall_s: float


@dataclass(frozen=True, slots=True)
class Age:
    seconds: float
    in_doubt: bool


#: Larger than any slew or leap second a time service makes in one go, smaller than any time to live worth having.
CLOCK_JUMP_MAX_S = 2.0


def age(then: Stamp, now: Stamp, clock_jump_max_s: float = CLOCK_JUMP_MAX_S) -> Age:
    """Seconds since ``then`` (never negative) and whether that can be trusted."""
    wall_s = now.wall_s - then.wall_s
    if now.boot_id != then.boot_id:
        return Age(max(wall_s, 0.0), in_doubt=True)
    boot_s = now.boot_s - then.boot_s
    return Age(max(wall_s, boot_s, 0.0), in_doubt=boot_s < 0 or abs(wall_s - boot_s) > clock_jump_max_s)


def age_at_least_s(then: Stamp, now: Stamp) -> float:
    """Seconds since ``then`` that certainly passed, for what is kept in doubt: one boot's own clock does not step."""
    if now.boot_id == then.boot_id:
        return max(now.boot_s - then.boot_s, 0.0)
    return max(now.wall_s - then.wall_s, 0.0)


def ttl_refusal(ttl_s: float | None, ttl_max_s: float) -> tuple[Reason, str] | None:
    """Why a message with this time to live cannot be queued; None if it can. None as TTL means: has none of its own."""
    if ttl_s is None:
        return None
    if not isfinite(ttl_s) or ttl_s < 0:
        return Reason.BAD_REQUEST, f"ttl_s is {ttl_s}; seconds from 0 to {ttl_max_s:g} are expected"
    if ttl_s == 0:
        return Reason.EXPIRED, "ttl_s is 0: it may not wait at all, so it cannot be queued; send it directly"
    if ttl_s > ttl_max_s:
        return Reason.BAD_REQUEST, f"ttl_s is {ttl_s:g}; at most {ttl_max_s:g} is expected: shorten it"
    return None


def sendable_s(ttl_s: float | None, recv_window_s: float | None, signed_by_bot: bool) -> float | None:
    """How long after its recording a message may still leave; None: for ever.

    A signature made by the bot is good for its recvWindow only (Binance 10 s with ccxt, Bybit 5 s); a signature the
    agent makes is made at sending, so the window does not count.
    """
    limits = [s for s in (ttl_s, recv_window_s if signed_by_bot else None) if s is not None]
    return min(limits) if limits else None


def is_stale(
    recorded: Stamp,
    now: Stamp,
    sendable_for_s: float | None,
    deadline_s: float | None = None,
    clock_jump_max_s: float = CLOCK_JUMP_MAX_S,
) -> bool:
    """Whether it must not leave any more: past its time, past its deadline, or nobody can say.

    ``deadline_s`` is the caller's absolute deadline as seconds after the recording. Something without any limit
    (a cancel by id that the agent signs) is never stale.
    """
    limits = [s for s in (sendable_for_s, deadline_s) if s is not None]
    if not limits:
        return False
    old = age(recorded, now, clock_jump_max_s)
    return old.in_doubt or old.seconds >= min(limits)


def late_until_at(unknown_at: float, signed_at: float, recv_window_s: float | None) -> float:
    """The last instant at which a request of unknown fate may still be taken by the venue (boot-time seconds).

    Without a recvWindow nothing bounds a packet in flight but the visibility delay that is added later.
    """
    return unknown_at if recv_window_s is None else max(unknown_at, signed_at + recv_window_s)
