"""What was told, as the values of an audit line: who, which order, what was decided, what came of it.

Values stay as the venue writes them: money is a decimal text. Which parameters are ids, and where an answer holds the
venue's id, is read off the venue's profile. Nothing here is a header, a signature or a key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from jackstay_protocols.messages import Refusal

from ..outbox import Intent, Settled
from ..redact import redact, redact_text
from ..telling import Answered, Asked, Attempt
from ..venues.operation_data import PLACEHOLDER
from ..venues.profile import Profile

Record = dict[str, Any]
CHANGES_NOTHING = frozenset({"query", "order_query"})
NAMED = ("client_id", "venue_id", "symbol")
DEPTH_MAX = 4
IDS_MAX = 50
TEXT_MAX = 300
_UID = re.compile(r"\buid (\d{1,10})\b")


def decision(asked: Asked, refusal: Refusal | None) -> Record:
    """One line of a request's fate before its first byte: admitted, or refused and why."""
    record = {"kind": "decision", **_who(asked), **_order_facts(asked)}
    if refusal is None:
        record["decision"] = "admitted"
        if asked.seqs:
            record["intent"] = list(asked.seqs)
    else:
        record |= {"decision": "refused", "reason": str(refusal.reason), "why": redact_text(refusal.message, TEXT_MAX)}
    return record


def outcome(asked: Asked, answer: Answered) -> Record:
    """What the bot was told. A question's one line: its decision is in it."""
    record = {
        "kind": "outcome",
        **_who(asked),
        "outcome": answer.outcome,
        "cause": answer.cause,
        "status": answer.status,
        "sent": answer.sent,
        "attempts": answer.attempts,
        "elapsed_us": int(answer.elapsed_s * 1e6),
    }
    if asked.kind in CHANGES_NOTHING:
        record["decision"] = "admitted"
    else:
        record |= _ids_of(asked) | _placed_as(asked)
        if asked.seqs or answer.intent:
            record["intent"] = list(asked.seqs) or [int(answer.intent)]
    return record | _venue_words(asked.attempt)


def own_question(asked: Asked, attempt: Attempt) -> Record:
    """A question or a cancel of the agent's own."""
    verdict = attempt.verdict
    return {
        "kind": "own",
        **_who(asked),
        **_ids_of(asked),
        "outcome": str(verdict.outcome),
        "cause": str(verdict.cause),
        "status": attempt.status,
        "elapsed_us": int((attempt.ended_at - attempt.started_at) * 1e6),
    } | _venue_words(attempt)


def settled_late(intent: Intent | None, settled: Settled) -> Record:
    """An order the bot had no last word about has one."""
    record: Record = {"kind": "settled", "bot": settled.bot_id, "intent": settled.seq, "state": str(settled.state)}
    if intent is not None:
        record |= {
            "venue": intent.venue,
            "client_id": intent.client_order_id,
            "symbol": intent.symbol,
            "side": intent.side,
            **_of_fields(intent.fields),
        }
    return _without_empty(record | {"why": redact_text(settled.why, TEXT_MAX)})


def event(name: str, fields: Mapping[str, Any]) -> Record:
    """A state, a mode, a finding, a recovery step, an operator's action (its ``uid`` stands at the line's top)."""
    record: Record = {"kind": "event", "event": name}
    uid = fields.get("uid")
    if uid is None and (named := _UID.search(str(fields.get("by", "")))) is not None:
        uid = int(named.group(1))  # "uid 1000 (anna)"
    if uid is not None:
        record["uid"] = uid
    shown = {key: value for key, value in fields.items() if key != "uid"}
    return record | {"fields": _plain(redact(shown))}


# ---- parts


def _who(asked: Asked) -> Record:
    return _without_empty(
        {
            "request": asked.request_id,
            "bot": asked.bot,
            "venue": asked.venue,
            "host": asked.host,
            "account": asked.account,
            "method": asked.method,
            "path": asked.path,
            "route": asked.kind,
            "lane": asked.lane,
        }
    )


def _order_facts(asked: Asked) -> Record:
    """The order's fields; of a batch a list of them."""
    if asked.kind in CHANGES_NOTHING:
        return {}
    orders = [
        _without_empty(
            {
                "client_id": each.client_id,
                "symbol": each.symbol,
                "side": each.side,
                "type": each.type,
                "price": each.price,
                "quantity": each.quantity,
                "quote_quantity": each.quote_quantity,
                "stop_price": each.stop_price,
                "reduce_only": each.reduce_only,
                "time_in_force": each.time_in_force,
            }
        )
        for each in asked.orders
    ]
    if not orders:
        return _ids_of(asked)
    return {"orders": orders} if len(orders) > 1 else orders[0]


def _ids_of(asked: Asked) -> Record:
    """Which order it is about, by whichever ids the request names."""
    if asked.orders:
        ids = [each.client_id for each in asked.orders if each.client_id]
        return {"client_id": ids[0] if len(ids) == 1 else ids} if ids else {}
    if asked.profile is None:
        return {}
    found: Record = {}
    for name, meaning in _names_of(asked.profile).parameters.items():
        if name in asked.given:
            found.setdefault(meaning, asked.given[name])
    return _without_empty(found)


def _venue_words(attempt: Attempt | None) -> Record:
    """Of the last exchange: the venue's code and words, and its ids for what was placed."""
    if attempt is None:
        return {}
    verdict = attempt.verdict
    return _without_empty(
        {"code": verdict.code, "why": redact_text(verdict.detail, TEXT_MAX) if verdict.detail else ""}
    )


def _placed_as(asked: Asked) -> Record:
    """The venue's ids, from the answer; a cancel's request named them already."""
    attempt = asked.attempt
    if attempt is None or asked.profile is None or not attempt.body or not asked.orders:
        return {}
    ids = venue_ids(asked.profile, attempt.body)
    return {"venue_id": ids[0] if len(ids) == 1 else ids} if ids else {}


def venue_ids(profile: Profile, body: bytes) -> list[str]:
    """The venue's order ids in an answer, by the names under which the profile's readers find them."""
    try:
        document = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return []
    found: list[str] = []
    _collect(document, _names_of(profile).venue_ids, found, DEPTH_MAX)
    return [each for each in dict.fromkeys(found) if each not in ("", "-1")][:IDS_MAX]  # -1: of no list (Binance)


def _collect(value: Any, names: frozenset[str], found: list[str], depth: int) -> None:
    if depth == 0 or len(found) >= IDS_MAX:
        return
    if isinstance(value, dict):
        for key, each in value.items():
            if key in names:
                found.extend(
                    str(one) for one in (each if isinstance(each, list) else [each]) if isinstance(one, (str, int))
                )
            elif isinstance(each, (dict, list)):
                _collect(each, names, found, depth - 1)
    elif isinstance(value, list):
        for each in value[:IDS_MAX]:
            _collect(each, names, found, depth - 1)


class _Names(NamedTuple):
    """What one profile calls ids. ``parameters``: name -> client_id, venue_id or symbol; ``venue_ids``: in answers."""

    profile: Profile
    parameters: dict[str, str]
    venue_ids: frozenset[str]


_names: dict[int, _Names] = {}


def _names_of(profile: Profile) -> _Names:
    """As the profile's templates use them and its readers find them. Read once per profile."""
    known = _names.get(id(profile))
    if known is not None and known.profile is profile:
        return known
    parameters: dict[str, str] = {}
    tables = [profile.data.operations, *(family.operations for family in profile.data.families.values())]
    for operations in tables:
        for operation in operations.values():
            for name, value in operation.params.items():
                at = PLACEHOLDER.fullmatch(str(value))
                if at is not None and at.group(1) in NAMED:
                    parameters.setdefault(name, at.group(1))
    paths = [each.fields.get("venue_id", "") for each in profile.data.readers.values() if "status" in each.fields]
    found = _names[id(profile)] = _Names(profile, parameters, frozenset(each for each in paths if each.isidentifier()))
    return found


def _of_fields(fields: Mapping[str, Any]) -> Record:
    names = ("type", "price", "quantity", "quote_quantity", "stop_price", "reduce_only")
    return {name: fields[name] for name in names if name in fields}


def _without_empty(record: Record) -> Record:
    return {name: value for name, value in record.items() if value not in (None, "")}


def _plain(value: Any) -> Any:
    """What JSON can hold; anything else as its text."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(each) for each in value]
    return redact_text(str(value), TEXT_MAX)
