"""A Kraken order request, checked field by field into the engine's `OrderRequest`, with what Kraken remembers of it.

Source: docs.kraken.com, "Add Order". What this venue has no use for is refused by name, never ignored: trailing stops,
icebergs, leverage, a close order, scheduled starts, relative prices.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

import orjson

from ..answers import Call
from ..engine.model import ZERO, Order, OrderRequest
from .kraken_errors import Refusal, invalid
from .kraken_names import Pair, pair_of

# "Add Order", `deadline`: offsets up to 60 seconds, "default is 5 seconds"
DEADLINE_MAX_MS = 60_000
DEADLINE_DEFAULT_MS = 5_000
MOMENT_MAX_MS = 4_102_444_800_000  # the year 2100: dates beyond it are mistakes
TYPES = {
    "market": "MARKET",
    "limit": "LIMIT",
    "stop-loss": "STOP_LOSS",
    "stop-loss-limit": "STOP_LOSS_LIMIT",
    "take-profit": "TAKE_PROFIT",
    "take-profit-limit": "TAKE_PROFIT_LIMIT",
}
_STP = {"cancel-newest": "EXPIRE_TAKER", "cancel-oldest": "EXPIRE_MAKER", "cancel-both": "EXPIRE_BOTH"}
_FLAGS = frozenset({"post", "fciq", "fcib", "nompp", "viqc"})
_NUMBER = re.compile(r"^[0-9]{1,12}(\.[0-9]{1,12})?$")
# guides, "Spot Client Order Identifiers": a UUID, 32 hex digits, or free text of up to 18 characters
_CLIENT_ID = re.compile(r"^([\x21-\x7e]{1,18}|[0-9a-fA-F]{32}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})$")


@dataclass(slots=True, frozen=True)
class Tag:
    """What Kraken remembers of an order beyond the engine; kept in the order, in JSON. `expires_at` in ms, 0 never."""

    userref: int | None = None
    flags: str = "fciq"
    expires_at: int = 0
    reason: str = ""

    def text(self) -> str:
        return orjson.dumps([self.userref, self.flags, self.expires_at, self.reason]).decode()


def tag_of(order: Order) -> Tag:
    return Tag(*orjson.loads(order.tag)) if order.tag else Tag()


def note_reason(order: Order, reason: str) -> None:
    """Why the order ended, for whoever asks later."""
    order.tag = replace(tag_of(order), reason=reason).text()


def has_client_id(order: Order) -> bool:
    """The engine names every order; Kraken names none that came without a name."""
    return order.client_id != f"auto{order.id:018d}"


def params_of(call: Call) -> dict[str, Any]:
    """The parameters of a form or of a JSON body, which some endpoints want."""
    if call.body.startswith(b"{"):
        try:
            told = orjson.loads(call.body)
        except ValueError:
            return {}
        return {name: value if isinstance(value, list | dict) else _plain(value) for name, value in told.items()}
    return dict(call.params)


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def number(params: dict[str, Any], name: str) -> Decimal:
    """A decimal above zero, zero when absent."""
    text = params.get(name)
    if not text:
        return ZERO
    if not isinstance(text, str) or not _NUMBER.match(text):
        raise invalid(name)
    value = Decimal(text)
    if value <= 0:
        raise invalid(name)
    return value


def is_true(params: dict[str, Any], name: str) -> bool:
    return str(params.get(name, "")).lower() in ("true", "1")


def client_id_of(params: dict[str, Any]) -> str:
    text = str(params.get("cl_ord_id") or "")
    if text and not _CLIENT_ID.match(text):
        raise invalid("cl_ord_id")
    return text


def userref_of(params: dict[str, Any]) -> int | None:
    text = str(params.get("userref") or "")
    if not text:
        return None
    if not re.match(r"^[+-]?[0-9]{1,10}$", text) or abs(int(text)) > 2**31 - 1:
        raise invalid("userref")
    return int(text)


def order_request(params: dict[str, Any], account: str, owner: str, now: int) -> tuple[Pair, OrderRequest]:
    """The order to place. Refusal in Kraken's words for the first thing that is wrong."""
    kind, side = str(params.get("ordertype", "")), str(params.get("type", ""))
    if kind not in TYPES:
        raise invalid("ordertype")
    if side not in ("buy", "sell"):
        raise invalid("type")
    pair = pair_of(str(params.get("pair", "")))
    _refuse_unserved(params)
    client_id, userref = client_id_of(params), userref_of(params)
    if client_id and userref is not None:
        raise invalid("cl_ord_id and userref are exclusive")
    flags = [flag for flag in str(params.get("oflags", "")).split(",") if flag]
    if not set(flags) <= _FLAGS:
        raise invalid("oflags")
    if "fcib" in flags:
        raise invalid("oflags:fcib")
    price, stop_price = _prices(params, kind, pair)
    volume = number(params, "volume")
    if not volume:
        raise invalid("volume")
    in_quote = "viqc" in flags
    if in_quote and (kind, side) != ("market", "buy"):
        raise invalid("oflags:viqc")
    tif, expires_at = _time_in_force(params, kind, now)
    engine_type = TYPES[kind]
    if "post" in flags:
        if kind != "limit":
            raise invalid("oflags:post")
        engine_type = "LIMIT_MAKER"
    shown = ",".join(["fciq", *(flag for flag in ("post", "nompp", "viqc") if flag in flags)])
    return pair, OrderRequest(
        account=account,
        symbol=pair.symbol.name,
        side=side.upper(),
        type=engine_type,
        quantity=ZERO if in_quote else volume,
        quote_quantity=volume if in_quote else ZERO,
        price=price,
        stop_price=stop_price,
        tif=tif,
        client_id=client_id,
        stp=_stp(params),
        owner=owner,
        tag=Tag(userref, shown, expires_at).text(),
    )


def _refuse_unserved(params: dict[str, Any]) -> None:
    if is_true(params, "reduce_only"):
        raise Refusal("EOrder:Reduce only:No position exists")
    if params.get("leverage") not in (None, "", "none"):
        raise invalid("leverage")
    if str(params.get("starttm", "0") or "0") != "0":
        raise invalid("starttm")
    for name in ("close", "close[ordertype]", "displayvol"):
        if params.get(name):
            raise invalid(name.partition("[")[0])


def _prices(params: dict[str, Any], kind: str, pair: Pair) -> tuple[Decimal, Decimal]:
    """(limit price, trigger price): `price` is the trigger of a stop and the limit of a limit order."""
    first, second = number(params, "price"), number(params, "price2")
    if kind == "market":
        return ZERO, ZERO
    if not first:
        raise invalid("price")
    if kind.endswith("-limit") and not second:
        raise invalid("price2")
    for value in (first, second):
        check_decimals(pair, value)
    if kind == "limit":
        return first, ZERO
    return (second if kind.endswith("-limit") else ZERO), first


def check_decimals(pair: Pair, price: Decimal) -> None:
    if price % pair.symbol.tick:
        raise Refusal(
            f"EOrder:Invalid price:{pair.altname} price can only be specified up to {pair.price_decimals} decimals."
        )


def _time_in_force(params: dict[str, Any], kind: str, now: int) -> tuple[str, int]:
    """(time in force as the engine knows it, when the order expires in ms)."""
    word = str(params.get("timeinforce") or "GTC").upper()
    if word not in ("GTC", "IOC", "FOK", "GTD"):
        raise invalid("timeinforce")
    text = str(params.get("expiretm") or "0")
    if word != "GTD":
        return ("GTC" if kind == "market" else word), 0
    expires_at = moment(text, now)
    if expires_at is None or expires_at <= now:
        raise invalid("expiretm")
    return "GTC", expires_at


def moment(text: str, now: int) -> int | None:
    """A time in ms: `+5` seconds from now, Unix seconds, or RFC 3339. None for anything else."""
    try:
        if text.startswith("+"):
            at = now + int(Decimal(text[1:]) * 1000)
        elif re.match(r"^[0-9]+(\.[0-9]+)?$", text):
            at = int(Decimal(text) * 1000)
        else:
            at = int(datetime.fromisoformat(text.replace(" ", "+")).timestamp() * 1000)
    except (ValueError, ArithmeticError):
        return None
    return at if 0 <= at <= MOMENT_MAX_MS else None


def check_deadline(params: dict[str, Any], now: int, received_at: int) -> None:
    """`deadline`: after it the engine refuses the request; 5 s after its receipt where none is given, 60 s at most."""
    text = str(params.get("deadline") or "")
    at = moment(text, received_at) if text else received_at + DEADLINE_DEFAULT_MS
    if at is None or at > received_at + DEADLINE_MAX_MS:
        raise invalid("deadline")
    if at < now:
        raise Refusal("EService:Deadline elapsed")


def _stp(params: dict[str, Any]) -> str:
    word = str(params.get("stptype") or "cancel-newest")
    if word not in _STP:
        raise invalid("stptype")
    return _STP[word]
