"""What does this answer mean? (journey step 9)

Facts in (a status with headers and body, or how the way to the venue failed), a `Verdict` out. The venue's table is
read over a generic base; what neither knows is doubted to the careful side. For what may have changed something at the
venue, "the careful side" is *unknown*: a 2xx that is not the JSON the venue promised (HTML, empty, cut off, compressed)
says nothing about the order, although a bot's library would make an order without an id of it.

Refuses to know what will be done about it. Parses a body only when the decision needs it: an error, a venue that puts
errors into 2xx, or an order, whose answer must be whole. ``loads`` is the JSON reader: the standard library's by
default, a faster one if the caller has it (any that raises ValueError on what is no JSON).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from jackstay_protocols.errors import Outcome, Reason, ValidationError

from .answer_body import (
    NOTHING,
    Answer,
    Headers,
    Told,
    cut,
    is_closed,
    is_json_type,
    is_markup,
    parse,
    plain_text,
    shape,
    shows_no_code,
    told_by,
    told_by_items,
)
from .outcome_table import OutcomeTable, Rule
from .outcome_tables import TABLES
from .retry_after import read_instant
from .verdict import BreakerMark, Cause, GateScope, Verdict, of_a_read, verdict

__all__ = ["TABLES", "Cause", "GateScope", "OutcomeTable", "Verdict", "classify_answer", "classify_failure"]
__all__ += ["classify_items"]

#: Failures before the first byte that are our own doing: no failure of the venue, and not better next time.
_LOCAL: Final = frozenset(
    {
        Reason.BAD_REQUEST,
        Reason.TOO_LARGE,
        Reason.UPSTREAM_NOT_ALLOWED,
        Reason.NO_SIGNER,
        Reason.EXPIRED,
        Reason.QUEUE_FULL,
        Reason.DRAINING,
        Reason.INTERNAL,
    }
)

_STATUSES: Final[dict[int, Cause]] = {
    401: Cause.AUTH,
    403: Cause.PERMISSION,
    408: Cause.VENUE_TIMEOUT,
    418: Cause.BANNED,
    425: Cause.OVERLOAD,
    429: Cause.RATE_LIMITED,
    451: Cause.GEO_BLOCKED,
    499: Cause.VENUE_TIMEOUT,
    504: Cause.VENUE_TIMEOUT,
    524: Cause.VENUE_TIMEOUT,
}
_CLASSES: Final = {3: Cause.REDIRECT, 4: Cause.BAD_REQUEST, 5: Cause.SERVER_ERROR}

_OK: Final = verdict(Cause.OK)


def classify_failure(
    cause: Reason | str, *, sent: bool, is_order: bool, detail: str = "", retry_after_s: float | None = None
) -> Verdict:
    """No answer came. ``cause``: what broke (Reason.DNS, RESET, TIMEOUT ..., or "cancelled"); ``sent``: any byte of the
    request may have left; ``is_order``: it may have changed something at the venue.
    """
    detail = cut(detail)
    if cause == Cause.CANCELLED:
        v = verdict(Cause.CANCELLED, detail=detail)
        return v if is_order and sent else replace(v, outcome=Outcome.FAILED)
    if not sent:
        v = verdict(Cause.NOT_SENT, detail=detail, named=str(cause), retry_after_s=retry_after_s)
        if cause in _LOCAL:
            return replace(v, retryable=False, scenario=None, breaker=BreakerMark.IGNORE)
        return v
    v = verdict(Cause.NO_ANSWER, detail=detail, named=str(cause), retry_after_s=retry_after_s)
    return v if is_order else of_a_read(v)


def classify_answer(
    status: int,
    headers: Headers,
    body: bytes,
    *,
    table: OutcomeTable | str = "generic",
    expects_json: bool = True,
    is_order: bool = False,
    wall_now_s: float | None = None,
    loads: Callable[[bytes], Any] = json.loads,
) -> Verdict:
    """The venue answered. ``is_order``: the request may have changed something there (place, amend, cancel, replace).

    ``expects_json``: a 2xx promises a JSON object or array. ``wall_now_s``: Unix seconds, for headers and texts that
    name an absolute instant.
    """
    if isinstance(table, str):
        table = _table(table)
    if 200 <= status < 300:
        if not expects_json or (not is_order and is_closed(body) and shows_no_code(body, table)):
            return _OK
        v = _judge_2xx(Answer(status, headers, body, loads, wall_now_s), table, is_order)
    else:
        v = _judge_error(Answer(status, headers, body, loads, wall_now_s), table)
    return v if is_order else of_a_read(v)


def classify_items(
    status: int,
    headers: Headers,
    body: bytes,
    *,
    table: OutcomeTable | str,
    loads: Callable[[bytes], Any] = json.loads,
) -> list[Verdict]:
    """A batch's answer, one verdict for each order that it speaks of, in its order; empty if it speaks of none."""
    if isinstance(table, str):
        table = _table(table)
    answer = Answer(status, headers, body, loads, None)
    doc = parse(answer) if 200 <= status < 300 else None
    found = []
    for told in told_by_items(doc, table) if doc is not None and table.items_code else []:
        fine = not told.code or told.code == "0" or told.code in table.ok_codes
        found.append(_OK if fine else _of_code(told, answer, table) or _unlisted(told))
    return found


def _table(name: str) -> OutcomeTable:
    try:
        return TABLES[name]
    except KeyError:
        raise ValidationError(
            f"outcome table {name!r} is not known; one of {', '.join(sorted(TABLES))} is expected"
        ) from None


def _judge_2xx(answer: Answer, table: OutcomeTable, is_order: bool) -> Verdict:
    doc = parse(answer)
    if doc is None or (is_order and not is_json_type(answer.headers)):
        return verdict(Cause.NOT_JSON, detail=shape(answer.body))
    if not table.code_key:
        return _OK
    told = told_by(doc, table)
    if table.code_required and not told.code and (not isinstance(doc, dict) or table.code_key not in doc):
        return verdict(Cause.NOT_JSON, detail=f"no {table.code_key} in the answer")
    fine = not told.code or told.code in table.ok_codes
    if told.code in table.batch_codes or (is_order and table.items_code and fine):
        return _judge_items(doc, told, answer, table)
    if fine:
        return _OK
    return _of_code(told, answer, table) or _unlisted(told)


def _judge_items(doc: Any, told: Told, answer: Answer, table: OutcomeTable) -> Verdict:
    """A batch: all items fine is fine, all refused is the first one's reason, a mixture is looked at one by one."""
    items = told_by_items(doc, table)
    bad = [item for item in items if item.code and item.code not in table.ok_codes]
    if bad and len(bad) < len(items):
        return verdict(Cause.PARTIAL_BATCH, code=bad[0].code, detail=f"{len(bad)} of {len(items)} items refused")
    if not bad and told.code not in table.batch_codes:
        return _OK
    first = bad[0] if bad else told
    return _of_code(first, answer, table) or _unlisted(first)


def _judge_error(answer: Answer, table: OutcomeTable) -> Verdict:
    status, body = answer.status, answer.body
    doc = parse(answer) if table.code_key and body[:1] in (b"{", b"[") else None
    told = told_by(doc, table)
    if told.code in table.batch_codes and (items := told_by_items(doc, table)):
        told = items[0]
    if told.code and told.code not in table.ok_codes and status not in table.status_first:
        found = _of_code(told, answer, table)
        if found is not None:
            return found
    # A venue's documented words are not looked for in a page: that is some machine before it speaking.
    said = f"{told.code} {told.message}" if told is not NOTHING else "" if is_markup(body) else plain_text(body)
    rule = _fitting(table.statuses.get(status, ()), said)
    if rule is None:
        page = status == 403 and is_markup(body)  # never reached the venue's logic
        rule = Rule(Cause.WAF if page else _STATUSES.get(status) or _CLASSES.get(status // 100, Cause.SERVER_ERROR))
    v = _of_rule(rule, Told(told.code, told.message or f"HTTP {status}"), answer, table)
    if v.cause == Cause.SERVER_ERROR and "maintenance" in plain_text(body).lower():
        # Why it broke is known now; what became of the request is not.
        v = replace(v, cause=Cause.MAINTENANCE.value, scenario="exchange_maintenance")
    return v


def _unlisted(told: Told) -> Verdict:
    return verdict(Cause.UNLISTED, code=told.code, detail=cut(told.message))


def _of_code(told: Told, answer: Answer, table: OutcomeTable) -> Verdict | None:
    rule = _fitting(table.codes.get(told.code, ()), told.message)
    if rule is None:
        rule = next((rule for start, rule in table.families if told.code.startswith(start)), None)
    return None if rule is None else _of_rule(rule, told, answer, table)


def _fitting(rules: tuple[Rule, ...], said: str) -> Rule | None:
    low = said.lower()
    return next((rule for rule in rules if rule.text in low), None)


def _of_rule(rule: Rule, told: Told, answer: Answer, table: OutcomeTable) -> Verdict:
    told_s = _told_s(told, answer, table)
    return verdict(
        rule.cause,
        code=told.code,
        detail=cut(told.message),
        retry_after_s=rule.retry_after_s if told_s is None else told_s,
        gate=rule.gate,
    )


def _told_s(told: Told, answer: Answer, table: OutcomeTable) -> float | None:
    """When the venue wants us back: the latest instant that its headers and its text name."""
    delays: list[float | None] = []
    for wanted, unit in table.retry_headers:
        delays.extend(
            read_instant(value, unit, answer.wall_now_s)
            for name, value in answer.headers
            if len(name) == len(wanted) and name.lower() == wanted
        )
    if table.retry_text and (found := re.search(table.retry_text, told.message.lower())):
        delays.append(read_instant(found[1], table.retry_text_unit, answer.wall_now_s))
    return max((delay_s for delay_s in delays if delay_s is not None), default=None)
