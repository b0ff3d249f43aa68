"""What an operator asks about and does to decisions: `breakers`, `limits` and `mode` on control.sock.

Whoever acts says why, and the word is an event with uid, reason and duration. Nothing here decides; it finds what is
meant and tells the parts. A name that fits nothing is refused with the names there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from jackstay_protocols.errors import ValidationError

from .core.bounds import LONGEST_S
from .core.breaker import Breaker, BreakerState
from .core.event_sink import EventSink
from .core.modes import Mode
from .core.rate_limit import GateScope
from .gateway.door import PeerCredentials
from .judgement import Judgement
from .order_desk import Verb, name_of, reason
from .venue_modes import EVERYWHERE, VenueModes

#: What an operator says -> the state it means.
WORDS = {"trip": BreakerState.FORCED_OPEN, "reset": BreakerState.CLOSED, "disable": BreakerState.DISABLED}
OPERATOR = "operator"


class BreakerPlace(NamedTuple):
    """A breaker and what it is called: upstream host, venue (its profile), class of endpoints."""

    upstream: str
    venue: str
    name: str
    breaker: Breaker


class DecisionDesk:
    """Verbs by name for the control door."""

    def __init__(
        self,
        *,
        breakers: Callable[[], Iterable[BreakerPlace]],
        judgements: Callable[[], Iterable[Judgement]],
        modes: VenueModes,
        venues: Callable[[], Iterable[str]],
        clock: Callable[[], float],
        on_event: EventSink,
        on_change: Callable[[], None],
        book: Callable[[], dict[str, Any] | None],
    ) -> None:
        """``venues``: names a mode may be held over. ``on_change``: it did. ``book``: the host's budgets."""
        self._breakers = breakers
        self._judgements = judgements
        self._modes = modes
        self._venues = venues
        self._clock = clock
        self._on_event = on_event
        self._on_change = on_change
        self._book = book

    def verbs(self) -> dict[str, Verb]:
        return {
            "breakers.list": self._list_breakers,
            "breakers.force": self._force,
            "limits.list": self._limits,
            "limits.release": self._open_gates,
            "limits.unstop": self._lift_stops,
            "mode.list": self._list_modes,
            "mode.hold": self._hold,
            "mode.release": self._release,
        }

    # ---- breakers

    def _list_breakers(self, _args: dict[str, Any], _who: PeerCredentials | None) -> dict[str, Any]:
        return {"breakers": [self._line(each) for each in self._breakers()]}

    def _line(self, place: BreakerPlace) -> dict[str, Any]:
        now, breaker = self._clock(), place.breaker
        breaker.advance(now)
        return {
            "upstream": place.upstream,
            "venue": place.venue,
            "class": place.name,
            "state": str(breaker.state),
            "left_s": None if breaker.until is None else round(breaker.until - now, 3),
            "why": breaker.why,
            "opens_in_a_row": breaker.opens_in_a_row,
            **breaker.counts,
        }

    def _force(self, args: dict[str, Any], who: PeerCredentials | None) -> dict[str, Any]:
        state = WORDS.get(str(args.get("word", "")))
        if state is None:
            raise ValidationError(f"word = {args.get('word')!r}; one of {', '.join(WORDS)} is expected")
        why, for_s = reason(args), duration(args)
        if state is BreakerState.CLOSED and for_s is not None:
            raise ValidationError("a reset has no duration: the breaker is closed, and opens by its own rules")
        now, by = self._clock(), name_of(who)
        until = None if for_s is None else now + for_s
        chosen = self._chosen(args)
        for place in chosen:
            place.breaker.force(state, now, why=f"{why} (by {by})", until=until)
        done = [{"upstream": each.upstream, "class": each.name} for each in chosen]
        self._on_event(
            "operator.breakers", {"word": args["word"], "breakers": done, "for_s": for_s, "why": why, "by": by}
        )
        self._on_change()
        return {"breakers": [self._line(each) for each in chosen]}

    def _chosen(self, args: dict[str, Any]) -> list[BreakerPlace]:
        wanted, of = str(args.get("upstream") or ""), str(args.get("class") or "")
        places = list(self._breakers())
        if not wanted and not args.get("all"):
            raise ValidationError("an upstream's host, a venue's name or all is expected: which breakers are meant?")
        chosen = [
            each for each in places if (not wanted or wanted in (each.upstream, each.venue)) and of in ("", each.name)
        ]
        if not chosen:
            known = (
                ", ".join(sorted({f"{each.upstream} {each.name}" for each in places})) or "none yet: nothing was asked"
            )
            raise ValidationError(f"no breaker fits {' '.join(filter(None, (wanted, of)))!r}; there are: {known}")
        return chosen

    # ---- limits

    def _limits(self, _args: dict[str, Any], _who: PeerCredentials | None) -> dict[str, Any]:
        now = self._clock()
        return {
            "book": self._book(),
            "upstreams": [
                {
                    "upstream": each.name,
                    "venue": each.venue,
                    **each.limiter.status(now),
                    "loops_stopped": [
                        {
                            "account": account,
                            "count": stop.count,
                            "reason": stop.reason,
                            "left_s": round(stop.retry_after_s, 3),
                        }
                        for account, _key, stop in each.loop_stop.stopped(now)
                    ],
                }
                for each in self._judgements()
            ],
        }

    def _named(self, args: dict[str, Any]) -> list[Judgement]:
        wanted, every = str(args.get("upstream") or ""), list(self._judgements())
        if not wanted and not args.get("all"):
            raise ValidationError("an upstream's host, a venue's name or all is expected")
        found = [each for each in every if not wanted or wanted in (each.name, each.venue)]
        if not found:
            known = ", ".join(sorted({each.name for each in every})) or "none yet: nothing was asked"
            raise ValidationError(f"no upstream is {wanted!r}; there are: {known}")
        return found

    def _open_gates(self, args: dict[str, Any], who: PeerCredentials | None) -> dict[str, Any]:
        why, now, opened = reason(args), self._clock(), []
        for judgement in self._named(args):
            for gate in judgement.limiter.status(now)["gates"]:
                if gate["ban"] and not args.get("bans"):
                    continue  # going on under a ban makes it longer
                if judgement.limiter.release(now, GateScope(gate["scope"]), gate["whose"]):
                    opened.append({"upstream": judgement.name, "scope": gate["scope"], "whose": gate["whose"]})
        self._on_event("operator.gates_opened", {"gates": opened, "why": why, "by": name_of(who)})
        self._on_change()
        return {"opened": opened}

    def _lift_stops(self, args: dict[str, Any], who: PeerCredentials | None) -> dict[str, Any]:
        why = reason(args)
        lifted = sum(each.release_loops() for each in self._named(args))
        self._on_event("operator.loops_released", {"lifted": lifted, "why": why, "by": name_of(who)})
        return {"lifted": lifted}

    # ---- modes

    def _list_modes(self, _args: dict[str, Any], _who: PeerCredentials | None) -> dict[str, Any]:
        return {
            "holds": self._modes.status(),
            "venues": [{"venue": each, "mode": str(self._modes.mode(each))} for each in self._venues()],
        }

    def _hold(self, args: dict[str, Any], who: PeerCredentials | None) -> dict[str, Any]:
        word = str(args.get("mode", "")).replace("-", "_").lower()
        if word not in {each.value for each in Mode}:
            raise ValidationError(f"mode {args.get('mode')!r}; one of {', '.join(Mode)} is expected")
        venue, why, for_s = self._venue(args), reason(args), duration(args)
        holder = f"{OPERATOR} {name_of(who)}"
        self._drop_operators(venue)
        self._modes.hold(venue, Mode(word), holder=holder, why=why, for_s=for_s)
        self._on_event(
            "operator.mode_held", {"venue": venue, "mode": word, "for_s": for_s, "why": why, "by": name_of(who)}
        )
        self._on_change()
        return {"holds": self._modes.status()}

    def _release(self, args: dict[str, Any], who: PeerCredentials | None) -> dict[str, Any]:
        venue, why = self._venue(args), reason(args)
        holder = args.get("by")
        if holder:  # a person may overrule any part of the agent, by name: it is told and audited
            released = [str(holder)] if self._modes.release(venue, str(holder)) else []
        else:
            released = self._drop_operators(venue)
        if not released:
            what = f"{holder} holds no mode over {venue}" if holder else f"no operator holds a mode over {venue}"
            raise ValidationError(f"{what}; `jackstay mode` shows who does, --by HOLDER takes back theirs")
        self._on_event("operator.mode_released", {"venue": venue, "why": why, "by": name_of(who)})
        self._on_change()
        return {"released": released, "holds": self._modes.status()}

    def _drop_operators(self, venue: str) -> list[str]:
        """One operator may take back another's word: they are the same party to the agent."""
        mine = [
            each["by"] for each in self._modes.status() if each["venue"] == venue and each["by"].startswith(OPERATOR)
        ]
        return [holder for holder in mine if self._modes.release(venue, holder)]

    def _venue(self, args: dict[str, Any]) -> str:
        venue = str(args.get("venue") or "")
        if args.get("all"):
            return EVERYWHERE
        known = sorted(self._venues())
        if venue not in known:
            raise ValidationError(f"venue {venue!r} is not known; all, or one of {', '.join(known)} is expected")
        return venue


def duration(args: dict[str, Any]) -> float | None:
    """``for_s``, or None where none is given."""
    given = args.get("for_s")
    if given is None:
        return None
    if not isinstance(given, int | float) or isinstance(given, bool) or not 0 < given <= LONGEST_S:
        raise ValidationError(f"for_s = {given!r}; seconds above 0 up to {LONGEST_S:g} (30 days) are expected")
    return float(given)
