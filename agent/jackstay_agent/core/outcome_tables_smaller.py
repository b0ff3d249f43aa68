"""Outcome tables of venues with few documented cases: Deribit, BitMEX, Hyperliquid, Coinbase Exchange. Data, no code.

Venue facts as of 2026-07 from public documentation: Deribit JSON-RPC error codes and its article on rate limits, BitMEX
api-connectors (its 503), Hyperliquid "Error responses", Coinbase Exchange REST errors. What none of them states stays
on the careful side: an error that no row knows leaves an order unknown.
"""

from __future__ import annotations

from typing import Final

from .outcome_table import OutcomeTable, Rule, codes_by_cause
from .verdict import Cause as C
from .verdict import GateScope as G

_5XX: Final = frozenset(range(500, 600))

DERIBIT: Final = OutcomeTable(
    name="deribit",
    code_key="error",  # JSON-RPC: an object with code and message
    codes={
        **codes_by_cause(
            # "service not responding or too slow", "time out": says nothing about the order
            VENUE_TIMEOUT="13028 13888",
            SERVER_ERROR="11094",
            OVERLOAD="10040 10041 10047",  # "retry", settlement in progress, matching engine queue full
            MAINTENANCE="11051",
            AUTH="10000 13004 13009",
            PERMISSION="10029 13021",
            ORDER_NOT_FOUND="10004 10010 11008 11044",
            BAD_SYMBOL="10020 13020",
            WOULD_MATCH="11054",
            BAD_REQUEST="11029 11050 -32600 -32601 -32602",
        ),
        # Pages of the venue disagree about this number's name; its text decides.
        "10009": (Rule(C.INSUFFICIENT_FUNDS, "funds"), Rule(C.INVALID_ORDER)),
        # All credits are spent; the venue also ends the session, and with cancel-on-disconnect its orders.
        "10028": (Rule(C.RATE_LIMITED, gate=G.KEY),),
        "10066": (Rule(C.RATE_LIMITED, gate=G.KEY),),
    },
    families=(("100", Rule(C.INVALID_ORDER)),),
    status_first=_5XX,
)

BITMEX: Final = OutcomeTable(
    name="bitmex",
    code_key="error",  # an object with name and message
    codes={
        "HTTPError": (
            Rule(C.INSUFFICIENT_FUNDS, "insufficient"),
            Rule(C.DUPLICATE_ID, "duplicate clordid"),
            Rule(C.ORDER_NOT_FOUND, "invalid ordstatus"),
            Rule(C.BAD_REQUEST),
        ),
        "ValidationError": (Rule(C.INVALID_ORDER),),
        "RateLimitError": (Rule(C.RATE_LIMITED),),
    },
    # Overloaded: "will not have reached the engine", come back after 500 ms at least. Any other 503 says nothing.
    statuses={503: (Rule(C.OVERLOAD, "overloaded", retry_after_s=0.5),)},
    status_first=_5XX | {401, 403, 404, 429},
)

HYPERLIQUID: Final = OutcomeTable(
    name="hyperliquid",
    code_key="status",  # ok, or err with a sentence in "response"
    message_key="response",
    ok_codes=frozenset({"ok"}),
    codes={
        "err": (
            Rule(C.RATE_LIMITED, "too many", gate=G.KEY),
            Rule(C.AUTH, "does not exist"),
            Rule(C.NONCE, "nonce"),
            Rule(C.INSUFFICIENT_FUNDS, "insufficient"),
            Rule(C.UNLISTED),
        ),
    },
    # An item's error is a sentence; its beginning is what is stable.
    families=(
        ("Too many", Rule(C.RATE_LIMITED, gate=G.KEY)),
        ("Insufficient", Rule(C.INSUFFICIENT_FUNDS)),
        ("Post only", Rule(C.WOULD_MATCH)),
        ("Reduce only", Rule(C.REDUCE_ONLY)),
        ("Order was never placed", Rule(C.ORDER_NOT_FOUND)),
        ("Price must", Rule(C.INVALID_ORDER)),
        ("Order ", Rule(C.INVALID_ORDER)),
        ("Invalid TP/SL", Rule(C.INVALID_ORDER)),
        ("No liquidity", Rule(C.INVALID_ORDER)),
    ),
    status_first=_5XX,
    items_path=("response", "data", "statuses"),
    items_code="error",
    items_message="error",
)

COINBASE_EXCHANGE: Final = OutcomeTable(
    name="coinbase-exchange",
    statuses={
        400: (
            Rule(C.INSUFFICIENT_FUNDS, "insufficient funds"),
            Rule(C.CLOCK, "timestamp expired"),
            Rule(C.WOULD_MATCH, "post only"),
            Rule(C.INVALID_ORDER, "size is too"),
            Rule(C.INVALID_ORDER, "price is too"),
            Rule(C.BAD_REQUEST),
        ),
        404: (Rule(C.ORDER_NOT_FOUND, "order not found"), Rule(C.BAD_REQUEST)),
    },
    status_first=_5XX,
)
