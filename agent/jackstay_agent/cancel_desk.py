"""An operator's cancel: a bot's own open orders, by class and symbol, on control.sock.

The same hands as the watchdog's: only what is proved to be this agent's bots' own, nearest the market first, until the
venue shows none of it any more. Shown first (`dry_run`), and done only for the number of orders that was shown.
Protective orders go only when they are named: a person may, the agent on its own may not (DESIGN §3 rule 7).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jackstay_protocols.errors import ValidationError
from jackstay_protocols.session import BotSession
from jackstay_protocols.types import OrderClass

from .core.protection import OpenOrder, nearest_first
from .gateway.control_door import Verb
from .gateway.door import PeerCredentials
from .guardian import OwnOrders
from .order_desk import name_of, reason

ROUNDS_MAX = 5
SHOWN_MAX = 500
DEFAULT_CLASSES = frozenset({OrderClass.ENTRY})


class CancelDesk:
    """``own``: whose orders are whose (own_orders.py). ``bots()``: the bots that are known here."""

    def __init__(
        self,
        own: OwnOrders,
        *,
        bots: Callable[[], list[BotSession]],
        on_event: Callable[[str, dict[str, Any]], None],
    ) -> None:
        self._own = own
        self._bots = bots
        self._on_event = on_event

    def verbs(self) -> dict[str, Verb]:
        return {"cancel": self._cancel}

    async def _cancel(self, args: dict[str, Any], who: PeerCredentials | None) -> dict[str, Any]:
        classes, symbols, bot = _classes(args), _symbols(args), str(args.get("bot") or "")
        known = [session.bot_id for session in self._bots()]
        if bot and bot not in known:
            raise ValidationError(f"no bot {bot!r} is known here; `jackstay bot list` shows them")
        wanted = [bot] if bot else known
        orders, kept, silent = await self._look(wanted, classes, symbols)
        told: dict[str, Any] = {
            "orders": [_shown(each) for each in orders[:SHOWN_MAX]],
            "count": len(orders),
            "kept": [_shown(each) for each in kept[:SHOWN_MAX]],
            "silent": silent,
            "cancelled": 0,
            "failed": {},
        }
        if args.get("dry_run"):
            return told
        why, expect = reason(args), args.get("expect")
        if expect != len(orders):
            raise ValidationError(
                f"{len(orders)} orders would be cancelled, expect = {expect!r}; look again", details=told
            )
        gone: set[tuple[str, str, str, str]] = set()
        for _ in range(ROUNDS_MAX):
            failed = {}
            for each in orders:
                no = await self._own.cancel(each)
                if no:
                    failed[each.name] = no
                gone.add(each.key)
            asked = {each.key for each in orders}
            left, _kept, silent = await self._look(wanted, classes, symbols)
            orders = [each for each in left if each.key in asked]  # what was shown, nothing that came meanwhile
            gone -= {each.key for each in orders}
            if not orders and not silent:
                break
        told |= {"cancelled": len(gone), "failed": failed if orders else {}, "silent": silent, "left": len(orders)}
        self._on_event(
            "operator.cancelled",
            {
                "classes": sorted(map(str, classes)),
                "symbols": sorted(symbols),
                "bots": wanted,
                "cancelled": len(gone),
                "left": len(orders),
                "by": name_of(who),
                "why": why,
            },
        )
        return told

    async def _look(
        self, bots: list[str], classes: frozenset[OrderClass], symbols: frozenset[str]
    ) -> tuple[list[OpenOrder], list[OpenOrder], dict[str, str]]:
        going: list[OpenOrder] = []
        kept: list[OpenOrder] = []
        silent: dict[str, str] = {}
        for bot in bots:
            found = await self._own.find(bot)
            silent |= found.silent
            for each in found.orders:
                chosen = each.order_class in classes and (not symbols or each.symbol in symbols)
                (going if chosen else kept).append(each)
        return nearest_first(going), kept, silent


def _shown(order: OpenOrder) -> dict[str, Any]:
    return {
        "id": order.name,
        "venue": order.venue,
        "symbol": order.symbol,
        "side": order.side,
        "class": str(order.order_class),
        "price": None if order.price is None else str(order.price),
    }


def _classes(args: dict[str, Any]) -> frozenset[OrderClass]:
    given = args.get("classes") or []
    if not isinstance(given, list):
        raise ValidationError(f"classes = {given!r}; a list of {', '.join(OrderClass)} is expected")
    try:
        return frozenset(OrderClass(each) for each in given) or DEFAULT_CLASSES
    except ValueError as error:
        raise ValidationError(f"{error}; {', '.join(OrderClass)} are known") from None


def _symbols(args: dict[str, Any]) -> frozenset[str]:
    given = args.get("symbols") or []
    if not isinstance(given, list) or not all(isinstance(each, str) for each in given):
        raise ValidationError(f"symbols = {given!r}; a list of the venue's symbols is expected")
    return frozenset(given)
