"""The outcome tables that ship: generic, binance, binance-usdm, bybit, okx, kraken, and four smaller ones. Data only.

Venue facts as of 2026-07 from public documentation: Binance spot rest-api.md and errors.md, Binance USDⓈ-M rate limits
and error codes, OKX error codes, Bybit v5 error codes. Where a venue's text leaves the outcome open,
the entry is one of the unknown causes: doubt is asked about, never guessed (DESIGN §3 rules 1 and 8).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from .outcome_table import OutcomeTable, Rule
from .outcome_table import codes_by_cause as _codes
from .outcome_tables_kraken import KRAKEN
from .outcome_tables_smaller import BITMEX, COINBASE_EXCHANGE, DERIBIT, HYPERLIQUID
from .verdict import Cause as C
from .verdict import GateScope as G

_5XX: Final = frozenset(range(500, 600))


GENERIC: Final = OutcomeTable(name="generic")

# -2010 and -2011 are umbrella codes; only the text tells what happened (errors.md "Messages for -1010, -2010, -2011").
_BINANCE_REJECTS: Final = (
    Rule(C.INSUFFICIENT_FUNDS, "insufficient balance"),
    Rule(C.WOULD_MATCH, "immediately match"),
    Rule(C.DUPLICATE_ID, "duplicate order"),
    Rule(C.ORDER_NOT_FOUND, "unknown order"),
    Rule(C.MARKET_CLOSED, "market is closed"),
    Rule(C.PERMISSION, "disabled on this account"),
    Rule(C.PERMISSION, "trading is not enabled"),
    Rule(C.INVALID_ORDER),
)

_BINANCE_SHARED: Final = {
    **_codes(
        VENUE_TIMEOUT="-1006 -1007",  # execution status unknown
        SERVER_ERROR="-1000 -1001",  # "an unknown error occurred", "internal error": says nothing about the order
        RATE_LIMITED="-1003 -1034",
        ORDER_RATE="-1015",
        OVERLOAD="-1004 -1008",
        MAINTENANCE="-1016",
        CLOCK="-1021",
        AUTH="-1002 -1022 -2008 -2014 -2015",
        PERMISSION="-1099",
        BAD_SYMBOL="-1121",
        INVALID_ORDER="-1013 -1014 -1111",
        ORDER_NOT_FOUND="-2013 -2026",
        MARKET_CLOSED="-2016",
    ),
    "-1010": _BINANCE_REJECTS,
    "-2010": _BINANCE_REJECTS,
    "-2011": (Rule(C.ORDER_NOT_FOUND),),
}

_BINANCE_STATUSES: Final = {
    403: (Rule(C.WAF),),
    418: (Rule(C.BANNED),),
}

BINANCE: Final = OutcomeTable(
    name="binance",
    code_key="code",
    message_key="msg",
    ok_codes=frozenset({"0", "200"}),
    codes={
        **_BINANCE_SHARED,
        **_codes(
            PARTIAL_BATCH="-2021",  # cancel-replace: one half worked
            INVALID_ORDER="-2022",  # cancel-replace: both halves failed
        ),
    },
    families=(("-11", Rule(C.BAD_REQUEST)),),
    statuses=_BINANCE_STATUSES,
    # "HTTP 5XX: NOT treat as a failure operation; the execution status is UNKNOWN" (rest-api.md): no code changes that.
    status_first=_5XX | {418, 403},
    items_code="code",
    items_message="msg",
    retry_text=r"until (\d{13})",
)

BINANCE_USDM: Final = OutcomeTable(
    name="binance-usdm",
    code_key="code",
    message_key="msg",
    ok_codes=frozenset({"0", "200"}),
    codes={
        **_BINANCE_SHARED,
        **_codes(
            INSUFFICIENT_FUNDS="-2018 -2019 -2024 -4050 -4051",
            INVALID_ORDER="-2020 -2021 -2023 -2025 -2027 -2028 -4003 -4164 -4131 -4183 -4184 -5021",
            REDUCE_ONLY="-2022 -4118",
            DUPLICATE_ID="-4116 -4111",
            WRONG_ORDER_PATH="-4120",  # conditional orders live on the algo endpoints since 2025-12-09
            WOULD_MATCH="-5022",
            CANCEL_ONLY="-4400",
            PERMISSION="-4192 -4202",
        ),
    },
    families=(("-11", Rule(C.BAD_REQUEST)), ("-4", Rule(C.INVALID_ORDER)), ("-5", Rule(C.INVALID_ORDER))),
    statuses={
        **_BINANCE_STATUSES,
        503: (
            Rule(C.VENUE_TIMEOUT, "unknown error, please check"),
            Rule(C.OVERLOAD, "service unavailable."),
            Rule(C.OVERLOAD, "unable to process"),
            Rule(C.OVERLOAD, "-1008"),
        ),
    },
    status_first=_5XX | {418, 403},
    items_code="code",
    items_message="msg",
    retry_text=r"until (\d{13})",
)

BYBIT: Final = OutcomeTable(
    name="bybit",
    code_key="retCode",
    message_key="retMsg",
    code_required=True,
    ok_codes=frozenset({"0"}),
    ok_start=b'{"retCode":0,',
    codes={
        **_codes(
            # The documentation says only "timeout": the outcome is not stated, so it is not known.
            VENUE_TIMEOUT="10000 170007 170146 170147",
            SERVER_ERROR="10016",
            CLOCK="10002",
            AUTH="10003 10004 33004",
            PERMISSION="10005 10010 10024 10029 131004",
            GEO_BLOCKED="10009",
            INSUFFICIENT_FUNDS="110004 110006 110007 110012 110014 110044 110045 110052 170131 170033",
            ORDER_NOT_FOUND="110001 110008 110010 170142 170143 170213",
            DUPLICATE_ID="110072 170141",
            REDUCE_ONLY="110017",
            WOULD_MATCH="170218",
            BAD_SYMBOL="170121 10029",
            MARKET_CLOSED="170202 110066",
            MAINTENANCE="10019 170011",
        ),
        # "params error": of contracts also what spot has codes of its own for
        "10001": (Rule(C.INVALID_ORDER, "qty"), Rule(C.INVALID_ORDER, "price"), Rule(C.BAD_REQUEST)),
        "10006": (Rule(C.RATE_LIMITED, gate=G.ENDPOINT),),  # per UID and endpoint, per second
        "10018": (Rule(C.RATE_LIMITED),),  # per IP
        "170005": (Rule(C.ORDER_RATE),),
        "170222": (Rule(C.RATE_LIMITED, gate=G.ENDPOINT),),
    },
    families=(("110", Rule(C.INVALID_ORDER)), ("170", Rule(C.INVALID_ORDER))),
    # "access too frequent": close the sessions and stay away at least ten minutes.
    statuses={403: (Rule(C.BANNED, "too frequent", retry_after_s=600.0), Rule(C.GEO_BLOCKED, "country"), Rule(C.WAF))},
    status_first=_5XX | {403},
    items_path=("retExtInfo", "list"),
    items_code="code",
    items_message="msg",
    retry_headers=((b"retry-after", "s"), (b"x-bapi-limit-reset-timestamp", "unix_ms")),
)

OKX: Final = OutcomeTable(
    name="okx",
    code_key="code",
    message_key="msg",
    code_required=True,
    ok_codes=frozenset({"0"}),
    ok_start=b'{"code":"0",',
    codes={
        **_codes(
            VENUE_TIMEOUT="50004 51149",  # "does not mean the request was successful or failed"
            MAINTENANCE="50001",
            OVERLOAD="50013 50026",
            CLOCK="50102 50112",
            AUTH="50103 50104 50105 50106 50111 50113 50114 50119",
            PERMISSION="50030 50100 50110 50120",
            INSUFFICIENT_FUNDS="51008 51119 51127 51131 51502",
            DUPLICATE_ID="51016",
            ORDER_NOT_FOUND="51400 51401 51402 51410 51503 51603",
            REDUCE_ONLY="51169 51170 51205",
            BAD_SYMBOL="51001 51014 51015",
            MARKET_CLOSED="51021 51027 51028",
            NONCE="50115",
        ),
        # Place, amend and cancel are limited separately; it comes as HTTP 200 or 429.
        "50011": (Rule(C.RATE_LIMITED, gate=G.ENDPOINT),),
        "50061": (Rule(C.ORDER_RATE),),
    },
    families=(("51", Rule(C.INVALID_ORDER)), ("500", Rule(C.BAD_REQUEST))),
    statuses={},
    status_first=_5XX,
    items_path=("data",),
    items_code="sCode",
    items_message="sMsg",
    batch_codes=frozenset({"1", "2"}),
)

TABLES: Final[Mapping[str, OutcomeTable]] = {
    table.name: table
    for table in (
        GENERIC,
        BINANCE,
        BINANCE_USDM,
        BYBIT,
        OKX,
        KRAKEN,
        DERIBIT,
        BITMEX,
        HYPERLIQUID,
        COINBASE_EXCHANGE,
    )
}
