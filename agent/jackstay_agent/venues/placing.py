"""A bot's own placing request, read and completed: which orders does it hold, and where does a client id go?

The resolver asks the venue for what was sent, so it must know symbol, side, type, quantity, price and id of it; the
outbox keeps one intent per order of a batch. A client id the agent mints goes in before anything is signed. Where the
values stand is the profile's word (`[families.NAME]`): dotted paths, no code knows a venue.

An order that cannot be read completely is `Unreadable`: it can still be sent, but nobody may claim to recognise it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from jackstay_protocols.errors import Reason, ValidationError

from .answers import Broken, Unreadable, as_money, as_text, decode
from .operation_data import FamilyData
from .outgoing import OutgoingRequest, Pairs, encoded, json_bytes, pairs_of

ORDERS_MAX = 200  # no venue takes more in one batch
SAYS_NOTHING = frozenset({"", "0", "none", "null", "false"})  # a parameter that is there and asks for nothing


@dataclass(frozen=True, slots=True)
class PlacedOrder:
    """One order of a placing request. ``quantity`` None: the bot gave its value in quote units, or all of a position.

    ``late_s``: how long after its signing the venue may still take it, by its own word or the profile's.
    ``context`` are the request's own values that questions about this order need (a category, an instrument type).
    ``marks``: what else it shows of its purpose (core/order_class.MARKS). ``time_in_force``: the venue's word, "" where
    the request has none; a record of what was asked, and no part of what makes two orders equal.
    """

    family: str
    symbol: str
    side: str
    type: str
    quantity: Decimal | None = None
    quote_quantity: Decimal | None = None
    price: Decimal | None = None
    stop_price: Decimal | None = None
    client_id: str = ""
    reduce_only: bool | None = None
    late_s: float | None = None
    context: Mapping[str, str] = field(default_factory=dict)
    marks: frozenset[str] = frozenset()
    time_in_force: str = ""


class PlacingRoute:
    """How one route's requests hold their orders. ``path``: the keys that lead to them; empty: the request itself."""

    def __init__(self, family: str, data: FamilyData, path: str, symbol: Callable[[str], str] = str) -> None:
        self.family = family
        self._symbol = symbol
        self._data = data
        self._keys = path.split(".") if path else []
        self._always = frozenset(mark for mark, shown in data.marks.items() if not shown)
        self._marks = [
            (mark, [(name, frozenset(each.lower() for each in values)) for name, values in shown.items()])
            for mark, shown in data.marks.items()
            if shown
        ]

    def read(self, request: OutgoingRequest) -> list[PlacedOrder] | Unreadable:
        """The orders in it, in their order; one for a single request."""
        try:
            document = _document(request)
            late_s = self._late_s(request, document)
            return [self._order(each, document, late_s) for each in self._items(document)]
        except (Broken, ValidationError) as error:
            return Unreadable(str(error))

    def with_client_ids(self, request: OutgoingRequest, ids: Sequence[str]) -> OutgoingRequest:
        """The request with these ids, in order; "" leaves an order as it is. An order's own id is never replaced, and
        one that takes no id beside what it has keeps none: read it again to see.

        Raises ValidationError: an id the venue would not take, another number of ids than orders, or a request that
        is already signed or cannot be read.
        """
        rule, name = self._data.client_id, self._data.fields.get("client_id")
        if rule is None or name is None:
            raise ValidationError(f"orders of family {self.family!r} take no client id at this venue")
        for each in ids:
            if each and (len(each) > rule.max or not re.fullmatch(rule.pattern, each)):
                raise ValidationError(
                    f"client id {each[:64]!r} does not fit the venue: at most {rule.max} characters of {rule.pattern}"
                )
        try:
            document = _document(request)
            items = self._items(document)
        except Broken as error:
            raise ValidationError(f"no client id can be put into this request: {error}") from None
        if len(items) != len(ids):
            raise ValidationError(f"{len(ids)} client ids for {len(items)} orders; one each is expected")
        taken = (name, *rule.unless)
        free = [(each, item) for each, item in zip(ids, items, strict=True) if each and not any(map(item.get, taken))]
        for each, item in free:
            item[name] = each
        return _written(request, document, self._keys, items) if free else request

    def _late_s(self, request: OutgoingRequest, document: Any) -> float | None:
        """A window of its own, where it says one that can be read; the profile's otherwise."""
        at, data = self._data.ttl_ms_at, self._data
        if not at:
            return data.ttl_s
        if at.startswith("header:"):
            given = request.header(at.removeprefix("header:").strip().encode()).decode("latin-1")
        else:
            given = str(document.get(at, "")) if isinstance(document, dict) else ""
        return int(given) / 1000 if given.isascii() and given.isdecimal() and len(given) < 9 else data.ttl_s

    def _items(self, document: Any) -> list[dict[str, Any]]:
        found = document
        for key in self._keys:
            found = found.get(key) if isinstance(found, dict) else None
        if isinstance(found, str):  # a list as JSON text inside a form (Binance batchOrders)
            found = decode(found.encode())
        items = found if isinstance(found, list) else [found]
        if not items or len(items) > ORDERS_MAX or not all(isinstance(each, dict) for each in items):
            where = ".".join(self._keys) or "the request"
            raise Broken(f"{where} holds no order, or not 1 to {ORDERS_MAX} of them")
        return items

    def _order(self, item: dict[str, Any], document: Any, late_s: float | None) -> PlacedOrder:
        names = self._data.fields

        def text(name: str) -> str:
            return as_text(name, item.get(names[name])) if name in names else ""

        def money(name: str) -> Decimal | None:
            return as_money(name, item.get(names[name])) if name in names else None

        shared = document if isinstance(document, dict) else {}
        side, kind = text("side").lower(), text("type").lower()
        # a batch names its market once, beside its orders (Kraken)
        symbol = self._symbol(text("symbol") or as_text("symbol", shared.get(names.get("symbol", ""))))
        if side not in ("buy", "sell") or not symbol or not (kind or "type" not in names):
            raise Broken("an order without symbol, side or type")
        reduce_only = text("reduce_only").lower()
        context = {
            name: as_text(name, item.get(theirs, shared.get(theirs))) for name, theirs in self._data.context.items()
        }
        return PlacedOrder(
            family=self.family,
            symbol=symbol,
            side=side,
            type=kind,
            quantity=money("quantity"),
            quote_quantity=money("quote_quantity"),
            price=money("price") or None,
            stop_price=money("stop_price") or None,
            client_id=text("client_id"),
            reduce_only={"true": True, "false": False}.get(reduce_only),
            late_s=late_s,
            context={name: value for name, value in context.items() if value},
            time_in_force=str(item.get(names.get("time_in_force", ""), "")),
            marks=self._always | {mark for mark, shown in self._marks if _shows(shown, item, shared)},
        )


def _shows(shown: list[tuple[str, frozenset[str]]], item: dict[str, Any], shared: dict[str, Any]) -> bool:
    """One of these parameters has one of its values; several in one text are divided by commas (Kraken's oflags)."""
    for name, values in shown:
        given = item.get(name, shared.get(name))
        if given is None:
            continue
        pieces = {piece.strip() for piece in str(given).lower().split(",")}
        if pieces & values or ("*" in values and not pieces <= SAYS_NOTHING):
            return True
    return False


def _document(request: OutgoingRequest) -> Any:
    """The request's parameters: query and form together, or the JSON body. Raises Broken, ValidationError."""
    if request.body and not request.is_form:
        return decode(request.body)
    pairs = pairs_of(request.query) + pairs_of(request.body)
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise Broken(f"{name[:32]!r} stands in the request twice")
        found[name] = value
    return found


def given_by(request: OutgoingRequest) -> dict[str, str] | None:
    """A request's parameters by name, as texts; None where they cannot be read."""
    try:
        document = _document(request)
    except (Broken, ValidationError):
        return None
    if isinstance(document, list) and len(document) == 1:
        document = document[0]
    if not isinstance(document, dict):
        return None
    return {name: str(value) for name, value in document.items() if isinstance(value, (str, int))}


def _written(
    request: OutgoingRequest, document: Any, keys: Sequence[str], items: list[dict[str, Any]]
) -> OutgoingRequest:
    """The request with its orders changed: only what has to be written anew is."""
    if request.body and not request.is_form:
        return replace(request, body=json_bytes(document))
    if keys:  # the list inside the form
        document[keys[0]] = json_bytes(items).decode()
    query, body = pairs_of(request.query), pairs_of(request.body)
    if body or (request.method in ("POST", "PUT") and not query):
        return replace(request, body=encoded(_merged(body, document, skip=dict(query))).encode())
    bare = request.target.partition("?")[0]
    return replace(request, target=f"{bare}?{encoded(_merged(query, document, skip={}))}")


def _merged(pairs: Pairs, document: Mapping[str, str], skip: Mapping[str, str]) -> Pairs:
    """``pairs`` with the document's values, and what the document has besides, at the end."""
    kept = [(name, document[name]) for name, _value in pairs]
    return kept + [(name, value) for name, value in document.items() if name not in dict(pairs) and name not in skip]


SIGNED_MARKS = frozenset({"signature", "sign", "x-bapi-sign", "ok-access-sign", "api-sign"})


def refuse_signed(request: OutgoingRequest) -> None:
    """Raise ValidationError if the bot signed this request: an id put in now would make the signature wrong."""
    names = {name.decode("latin-1").lower() for name, _value in request.headers}
    names |= {name.lower() for name, _value in pairs_of(request.query)}
    if request.is_form:
        names |= {name.lower() for name, _value in pairs_of(request.body)}
    if names & SIGNED_MARKS:
        raise ValidationError(
            "this request is signed by the bot; a client id has to go in before signing", reason=Reason.BAD_REQUEST
        )
