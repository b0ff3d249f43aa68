"""What an agent leaves to a bot's judgement: each directive's name, and what its fields mean.

Values are JSON's own types; prices, quantities and amounts are decimal numbers as text. A directive of the agent has at
least these fields (docs/CLIENT.md shows the table; tests hold every sender to it). Bots ignore names they do not know.
"""

from __future__ import annotations

from typing import Final

DIRECTIVES: Final[dict[str, dict[str, str]]] = {
    "re_evaluate": {
        "symbol": "the venue's symbol",
        "order_id": "the order that was cut short",
        "status": "the venue's last word: filled, cancelled, rejected or expired",
        "filled": "quantity",
        "remaining": "quantity that was not filled",
        "average_price": "of the fills; empty where none is known",
    },
    "redistribute_capital": {
        "venue": "where nothing can be traded now",
        "exposure": "symbol or asset to amount, as the venue last showed it",
        "as_of_s": "how old the venue's last word on positions or balances is, where it gave no new one",
        "unknown": "which of positions and balances the venue never showed",
        "alternatives": "venues that are configured for it",
    },
    "adjust_parameters": {
        "symbol": "the venue's symbol",
        "remedy": "round, clock, funds, or none: nobody here knows",
        "why": "the venue's words",
        "suggested": "price and quantity that its filters accept; empty where nothing helps",
        "needs": "what would have to be larger",
        "order": "the order that was refused",
    },
    "stop_order": {
        "symbol": "the venue's symbol",
        "remedy": "stop",
        "why": "the venue's words",
        "order": "the order that was refused again and again",
    },
    "conservative": {
        "feed": "whose primary source is interrupted: no new entries",
        "source": "where its data comes from now",
        "why": "in words",
    },
    "resume": {
        "was": "what the agent took the bot for: late, stalled, dead",
        "open_orders": "the bot's own at the venues, with id, venue, symbol and side",
        "unknown": "ids of its orders whose outcome is not known yet",
    },
    "state.adopt": {
        "kind": "of discrepancy",
        "component": "orders, positions or balances",
        "venue": "whose word it is",
        "subject": "the order, symbol or asset",
        "views": "what each party says of it: bot, agent, venue",
    },
}
