"""Kraken's outcome table: its errors are words in a list, with a family before the colon. Data, no code.

Facts as of 2026-07 from the public page of Kraken API errors; where its text leaves the outcome open, it is unknown.
"""

from __future__ import annotations

from typing import Final

from .outcome_table import OutcomeTable, Rule
from .verdict import Cause as C
from .verdict import GateScope as G

KRAKEN: Final = OutcomeTable(
    name="kraken",
    code_key="error",
    code_required=True,
    ok_start=b'{"error":[],',
    codes={
        "EService:Timeout": (Rule(C.VENUE_TIMEOUT),),
        "EService:Deadline elapsed": (Rule(C.VENUE_TIMEOUT),),
        "EService:Unavailable": (Rule(C.MAINTENANCE),),
        "EService:Busy": (Rule(C.OVERLOAD),),
        "EService:Market in cancel_only mode": (Rule(C.CANCEL_ONLY),),
        "EService:Market in post_only mode": (Rule(C.POST_ONLY),),
        "EGeneral:Internal error": (Rule(C.SERVER_ERROR),),
        "EGeneral:Temporary lockout": (Rule(C.BANNED, gate=G.KEY, retry_after_s=900.0),),
        "EGeneral:Permission denied": (Rule(C.PERMISSION),),
        "EGeneral:Too many requests": (Rule(C.RATE_LIMITED),),
        "EAPI:Rate limit exceeded": (Rule(C.RATE_LIMITED, gate=G.KEY),),
        "EAPI:Invalid key": (Rule(C.AUTH),),
        "EAPI:Invalid signature": (Rule(C.AUTH),),
        "EAPI:Invalid nonce": (Rule(C.NONCE),),
        "EAPI:Bad request": (Rule(C.BAD_REQUEST),),
        "EOrder:Rate limit exceeded": (Rule(C.ORDER_RATE),),
        "EOrder:Orders limit exceeded": (Rule(C.INVALID_ORDER),),
        "EOrder:Insufficient funds": (Rule(C.INSUFFICIENT_FUNDS),),
        "EOrder:Insufficient margin": (Rule(C.INSUFFICIENT_FUNDS),),
        "EOrder:Unknown order": (Rule(C.ORDER_NOT_FOUND),),
        "EOrder:Post only order": (Rule(C.WOULD_MATCH),),
        "EQuery:Unknown asset pair": (Rule(C.BAD_SYMBOL),),
    },
    families=(
        ("EService:Throttled", Rule(C.RATE_LIMITED, gate=G.KEY)),
        # The text of an elapsed deadline varies; the engine may have acted.
        ("EService:Deadline", Rule(C.VENUE_TIMEOUT)),
        ("EService:", Rule(C.SERVER_ERROR)),
        ("EOrder:", Rule(C.INVALID_ORDER)),
        ("ETrade:", Rule(C.INVALID_ORDER)),
        ("EFunding:", Rule(C.BAD_REQUEST)),
        ("EGeneral:Invalid arguments:volume", Rule(C.INVALID_ORDER)),
        ("EGeneral:Invalid arguments:price", Rule(C.INVALID_ORDER)),
        ("EGeneral:", Rule(C.BAD_REQUEST)),
        ("EQuery:", Rule(C.BAD_REQUEST)),
        ("EAPI:", Rule(C.AUTH)),
        ("EAuth:", Rule(C.AUTH)),
    ),
    statuses={},
    status_first=frozenset(range(500, 600)),
    retry_text=r"throttled:(\d{10})",
    retry_text_unit="unix_s",
)
