"""Serving one Binance request, whichever market: weight, key and signature, handler, refusal, headers."""

from __future__ import annotations

from collections.abc import Callable

from ..answers import Answer, Call, json_answer
from ..engine.model import Reject
from ..venue import Venue
from ..weights import Verdict
from .binance_auth import keyed, signed
from .binance_errors import MAINTENANCE, Refusal
from .binance_route import Route
from .binance_trade import CancelReplaceFailed

Routes = dict[tuple[str, str], Route]
# what answers while everything else is under maintenance
STAYS_UP = frozenset({"/api/v3/ping", "/api/v3/time", "/fapi/v1/ping", "/fapi/v1/time", "/sapi/v1/system/status"})
_ADVICE = "Please use WebSocket Streams for live updates"


def serve(venue: Venue, call: Call, routes: Routes, refusal_of: Callable[[Reject], Refusal]) -> Answer:
    """Never raises. Headers carry the weights as Binance sends them."""
    route = routes.get((call.method, call.path))
    verdict = venue.limits.spend(call.now, route.weigh(call) if route else 1)
    if verdict is not None:
        reply = _limited(venue, verdict)
    elif venue.exchange.trading.in_maintenance and call.path not in STAYS_UP:
        reply = MAINTENANCE.answer()
    elif route is None:
        reply = _unknown_path(call, routes)
    else:
        reply = _handle(venue, call, route, refusal_of)
    reply.headers.extend(venue.limits.headers(call.account))
    reply.executed, reply.order_id = call.executed, call.order_id
    return reply


def _handle(venue: Venue, call: Call, route: Route, refusal_of: Callable[[Reject], Refusal]) -> Answer:
    try:
        if route.permission == "key":
            keyed(call, venue.keys)
        elif route.permission:
            signed(call, venue.keys, route.permission)
        return json_answer(route.handler(venue, call))
    except CancelReplaceFailed as failed:
        return json_answer({"code": failed.code, "msg": failed.message, "data": failed.data}, failed.status)
    except Refusal as refusal:
        return refusal.answer()
    except Reject as reject:
        return refusal_of(reject).answer()


def _limited(venue: Venue, verdict: Verdict) -> Answer:
    if verdict.status == 418:
        text = f"Way too much request weight used; IP banned until {verdict.banned_until}. {_ADVICE} to avoid bans."
    else:
        text = f"Too much request weight used; current limit is {venue.limits.weight_max} request weight per 1 MINUTE. "
        text += f"{_ADVICE} to avoid polling the API."
    reply = json_answer({"code": -1003, "msg": text}, verdict.status)
    reply.headers.append(("Retry-After", str(verdict.retry_after_s)))
    return reply


def _unknown_path(call: Call, routes: Routes) -> Answer:
    """A path nobody serves is a 404; a known path with another method a 405, as Binance's front answers."""
    html = [("Content-Type", "text/html")]
    if any(path == call.path for _, path in routes):
        return Answer(405, b"<html><body><h2>405 Method Not Allowed</h2></body></html>", html)
    return Answer(404, b"<html><body><h2>404 Not found</h2></body></html>", html)
