"""What an operator asks about and does to requests in the outbox: `queue`, `orders` and `why` on control.sock.

Reading changes nothing. What settles an order by a person's word is recorded as that person's word, with uid and reason
(DESIGN §3 rule 8), and is an event. Refuses to know how the outbox keeps it, and how a terminal shows it.
"""

from __future__ import annotations

import pwd
from collections.abc import Callable
from typing import Any

from jackstay_protocols.errors import ValidationError

from .core.evidence import Evidence, Finding, Source
from .core.intent import State
from .gateway.door import PeerCredentials
from .outbox import OpenIntent, Outbox, Settled

Verb = Callable[[dict[str, Any], PeerCredentials | None], dict[str, Any]]
ROWS_MAX = 1_000
WHY_MAX = 500
FINDINGS = {"absent": Finding.NOT_FOUND, "done": Finding.EXISTS}


class OrderDesk:
    """Verbs by name for the control door."""

    def __init__(
        self,
        outbox: Callable[[], Outbox],
        *,
        clock: Callable[[], float],
        on_event: Callable[[str, dict[str, Any]], None],
        on_release: Callable[[], None],
    ) -> None:
        self._outbox = outbox
        self._clock = clock
        self._on_event = on_event
        self._on_release = on_release

    def verbs(self) -> dict[str, Verb]:
        return {
            "queue.list": self._list,
            "queue.show": self._show,
            "queue.hold": self._hold,
            "queue.release": self._release,
            "queue.drop": self._drop,
            "queue.export": self._export,
            "orders.unknown": self._unknown,
            "orders.resolve": self._resolve,
            "why": self._why,
        }

    # ---- looking

    def _list(self, args: dict[str, Any], _who: PeerCredentials | None) -> dict[str, Any]:
        found = [line(each) for each in self._outbox().open_intents() if each.state is State.RECORDED]
        return {"queued": found[:ROWS_MAX], "total": len(found)}

    def _show(self, args: dict[str, Any], _who: PeerCredentials | None) -> dict[str, Any]:
        seq = number(args)
        story = self._outbox().story(seq)
        if story is None:
            raise ValidationError(
                f"no intent {seq} is kept; `queue list` and `orders unknown` show those that are open"
            )
        return shown(story)

    def _export(self, args: dict[str, Any], _who: PeerCredentials | None) -> dict[str, Any]:
        after = args.get("after", 0)
        if not isinstance(after, int) or after < 0:
            raise ValidationError(f"after = {after!r}; the number of an intent is expected")
        return {"intents": [shown(each) for each in self._outbox().export(after, 100)]}

    def _unknown(self, _args: dict[str, Any], _who: PeerCredentials | None) -> dict[str, Any]:
        ages = {each.seq: each for each in self._outbox().unknowns()}
        found = []
        for each in self._outbox().open_intents():
            unknown = ages.get(each.seq)
            if unknown is not None:
                found.append(
                    {
                        **line(each),
                        "unknown_s": round(unknown.since_s, 3),
                        "not_found": unknown.search.not_found,
                        "seen": unknown.search.seen,
                    }
                )
        return {"unknown": found[:ROWS_MAX], "total": len(found)}

    def _why(self, args: dict[str, Any], _who: PeerCredentials | None) -> dict[str, Any]:
        word = args.get("id")
        if not isinstance(word, str) or not word:
            raise ValidationError("an intent's number, a client order id or an idempotency key is expected")
        found = [story for seq in self._outbox().search(word) if (story := self._outbox().story(seq)) is not None]
        if not found:
            raise ValidationError(
                f"nothing kept has the number, client order id or key {word[:80]!r}; what the bot has acknowledged is"
                " forgotten after the idempotency window"
            )
        return {"intents": [shown(each) for each in found]}

    # ---- doing

    def _hold(self, args: dict[str, Any], who: PeerCredentials | None) -> dict[str, Any]:
        return self._held(args, who, held=True)

    def _release(self, args: dict[str, Any], who: PeerCredentials | None) -> dict[str, Any]:
        done = self._held(args, who, held=False)
        self._on_release()
        return done

    def _held(self, args: dict[str, Any], who: PeerCredentials | None, *, held: bool) -> dict[str, Any]:
        outbox = self._outbox()
        if args.get("all"):
            seqs = [each.seq for each in outbox.open_intents() if each.state is State.RECORDED]
        else:
            seqs = [number(args)]
        done = [str(seq) for seq in seqs if outbox.hold(seq, held)]
        if not done and not args.get("all"):
            raise ValidationError(f"intent {seqs[0]} is not queued; `queue list` shows what is")
        self._on_event("operator.queue_held" if held else "operator.queue_released", {"ids": done, "by": name_of(who)})
        return {"ids": done}

    def _drop(self, args: dict[str, Any], who: PeerCredentials | None) -> dict[str, Any]:
        seq, why = number(args), reason(args)
        settled = self._outbox().drop(seq, who=name_of(who), why=why)
        if settled is None:
            raise ValidationError(f"intent {seq} is not queued; only what has not left can be dropped")
        self._on_event("operator.queue_dropped", {"id": str(seq), "by": name_of(who), "why": why})
        return told(settled)

    def _resolve(self, args: dict[str, Any], who: PeerCredentials | None) -> dict[str, Any]:
        seq, why = number(args), reason(args)
        finding = FINDINGS.get(str(args.get("finding", "")))
        if finding is None:
            raise ValidationError(f"finding = {args.get('finding')!r}; absent or done is expected")
        evidence = Evidence(Source.OPERATOR, finding, self._clock(), who=name_of(who), why=why)
        settled = self._outbox().resolve(seq, evidence)
        if settled is None or not settled.final or settled.ending is None or not settled.ending.said_by:
            state = "not kept" if settled is None else settled.state.value
            raise ValidationError(f"intent {seq} is {state}; only an unknown one can be resolved by a person's word")
        self._outbox().flush()  # a person's word is in the file before it is acknowledged
        self._on_event(
            "operator.order_resolved",
            {"id": str(seq), "finding": args["finding"], "by": name_of(who), "why": why},
        )
        return told(settled)


def line(each: OpenIntent) -> dict[str, Any]:
    """One row of a listing."""
    intent = each.intent
    return {
        "id": str(each.seq),
        "state": each.state.value,
        "bot": intent.bot_id,
        "venue": intent.venue,
        "operation": intent.operation,
        "lane": intent.lane,
        "symbol": intent.symbol,
        "side": intent.side,
        "client_order_id": intent.client_order_id,
        "key": intent.key,
        "age_s": round(each.age_s, 3),
        "ttl_s": intent.ttl_s,
        "held": each.held,
        "attempts": each.attempts,
    }


def shown(story: dict[str, Any]) -> dict[str, Any]:
    """A story as plain values: no bodies (they carry signatures), numbers as they were written."""
    intent = {name: value for name, value in story["intent"].items() if name not in ("body", "target")}
    intent["path"] = story["intent"]["target"].partition("?")[0]
    intent["fields"] = {name: str(value) for name, value in intent["fields"].items()}
    ending = story["ending"]
    if ending is not None:
        ending = {**ending, "reply": ending["reply"][:2000].decode("utf-8", "replace")}
    return {**story, "seq": str(story["seq"]), "intent": intent, "ending": ending}


def told(settled: Settled) -> dict[str, Any]:
    return {"id": str(settled.seq), "state": settled.state.value, "why": settled.why}


def number(args: dict[str, Any]) -> int:
    found = str(args.get("id", ""))
    if not (found.isascii() and found.isdecimal() and len(found) < 20):
        raise ValidationError(f"id = {found[:80]!r}; the number of an intent is expected, as the listings show it")
    return int(found)


def reason(args: dict[str, Any]) -> str:
    why = args.get("why")
    if not isinstance(why, str) or not why.strip():
        raise ValidationError("why is missing; a person's word is recorded with its reason")
    return why.strip()[:WHY_MAX]


def name_of(who: PeerCredentials | None) -> str:
    """``uid 1000 (anna)``."""
    if who is None:
        return "unknown"
    try:
        return f"uid {who.uid} ({pwd.getpwuid(who.uid).pw_name})"
    except KeyError:
        return f"uid {who.uid}"
