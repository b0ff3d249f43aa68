"""OKX's troubled answers with their true meaning (error codes of the OKX v5 documentation).

50004 and 51149 say of themselves that they mean neither success nor failure; 50026 is a server error of which the
page says nothing, so that it is open too. The others are refusals before anything was done.
"""

from __future__ import annotations

import orjson

from .binance_meanings import Meaning

OVERTIME = "API endpoint request timeout (does not mean that the request was successful or failed, please check the request result)."  # noqa: E501


def _coded(status: int, code: str, text: str, *, unknown: bool) -> Meaning:
    return Meaning(status, orjson.dumps({"code": code, "msg": text, "data": []}), unknown, "application/json")


def _item(code: str, text: str, *, unknown: bool) -> Meaning:
    row = {"ordId": "", "clOrdId": "", "tag": "", "sCode": code, "sMsg": text}
    body = {"code": "1", "msg": "All operations failed", "data": [row]}
    return Meaning(200, orjson.dumps(body), unknown, "application/json")


OKX_MEANINGS: dict[str, Meaning] = {
    "okx-50001": _coded(503, "50001", "Service temporarily unavailable. Try again later", unknown=False),
    "okx-50004": _coded(400, "50004", OVERTIME, unknown=True),
    "okx-50011": _coded(429, "50011", "Too Many Requests", unknown=False),
    "okx-50011-200": _coded(200, "50011", "Too Many Requests", unknown=False),
    "okx-50013": _coded(429, "50013", "Systems are busy. Please try again later.", unknown=False),
    "okx-50026": _coded(500, "50026", "System error. Try again later", unknown=True),
    "okx-50061": _coded(
        200, "50061", "The order request rate limit for this sub-account has been reached.", unknown=False
    ),
    "okx-51149": _item("51149", "Order timed out. Please try again later.", unknown=True),
}
