"""What a recovery scenario may ask of the world: coroutines of the object that binds it, any of these.

    query(symbol, order_id)          the order as the venue shows it, a mapping with ``status`` (open, filled,
                                     cancelled, rejected, expired), ``quantity`` and ``filled`` (Decimal);
                                     None: the venue says there is no such order. Raises when there was no answer.
    cancel(symbol, order_id)         True: the venue took the request, which proves nothing about the order.
    open_orders(symbol)              a list of such mappings; ``symbol`` None: all.
    fills(symbol, order_id)          a list of mappings with ``quantity`` and ``price`` (Decimal).
    balances(), positions()          mappings: asset or symbol -> Decimal.
    hold(what, why), release(what)   no new entries; entries again. ``what``: a venue, a feed, a resource.
    reconnect(what)                  True: it answered over the new connection.
    resubscribe(what)                True: its first message arrived.
    switch_feed(feed, source)        True: data of this source arrived.
    venue_status(what)               online, maintenance, cancel_only, post_only, limit_only. Raises without an answer.
    probe(what)                      True: the venue answered a harmless question, and not with "too many".
    resubmit(symbol, params)         the venue's word on an order placed anew: a mapping as of `query`.
    filters(symbol, market)          a symbol's tick_size, step_size, quantity_min, quantity_max, notional_min (Decimal)
                                     as the venue has them now; None: it does not say.
    resync_clock(what)               True: the venue's clock was measured again.
    disarm_switch(what)              True: the venue says that its dead-man switch is off.
    directive(name, fields)          what is left to the bot's judgement; True: on its way to a bot that is here. It is
                                     told again until the bot acknowledges it.
    last_known(name)                 of positions or balances: the mapping that the venue showed last, and how many
                                     seconds ago; None: it never did.
    cancel_for_stalled(what)         what the armed preset wants cancelled of stalled bots is; how many orders are left.
    barrier(what)                    no entries of bots with unknown orders there until these are known; True: it is up.
    ramp(what)                       new requests begin slowly.
    notify(name, fields)             a fact for people and logs.

None of them is compulsory: a bot's database module gives `reconnect` alone. A scenario whose proof needs one that is
missing does what it can and returns False. Money is Decimal; a float is refused where it would touch a price.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

from jackstay_protocols.errors import ValidationError

ACTIONS = frozenset(
    {
        *("query", "cancel", "open_orders", "fills", "balances", "positions", "hold", "release", "reconnect"),
        *("resubscribe", "switch_feed", "venue_status", "probe", "resubmit", "resync_clock", "disarm_switch"),
        *("directive", "notify", "last_known", "filters", "cancel_for_stalled", "barrier", "ramp"),
    }
)
TERMINAL = frozenset({"filled", "cancelled", "rejected", "expired"})


class Bound:
    """The given actions by name; ``has`` asks, ``call`` awaits. Raises ValidationError for an object without any."""

    def __init__(self, actions: object) -> None:
        self._found: dict[str, Callable[..., Awaitable[Any]]] = {
            name: getattr(actions, name) for name in ACTIONS if callable(getattr(actions, name, None))
        }
        if not self._found:
            raise ValidationError(
                f"actions is a {type(actions).__name__} with none of {', '.join(sorted(ACTIONS))}; give an object that"
                " has those your recovery needs"
            )

    def has(self, *names: str) -> bool:
        return all(name in self._found for name in names)

    async def call(self, name: str, *args: Any) -> Any:
        return await self._found[name](*args)


def money(owner: str, name: str, value: Any) -> Decimal:
    """A finite Decimal. Raises ValidationError; texts and whole numbers are exact and taken, floats are not."""
    if isinstance(value, bool) or not isinstance(value, Decimal | int | str):
        raise ValidationError(
            f"{owner}: {name} is a {type(value).__name__}; a decimal.Decimal (or its text) is expected"
        )
    try:
        found = Decimal(value)
    except ArithmeticError:
        raise ValidationError(f"{owner}: {name} = {value!r} is no number") from None
    if not found.is_finite():
        raise ValidationError(f"{owner}: {name} is {found}; a finite number is expected")
    return found
