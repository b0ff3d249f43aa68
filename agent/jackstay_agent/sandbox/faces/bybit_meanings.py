"""Bybit's troubled answers with their true meaning (v5 "Error Codes"); they travel as HTTP 200 unless said otherwise.

Where the page says only "timeout" or "server error" it does not say what became of the order: that is open.
"""

from __future__ import annotations

import orjson

from .binance_meanings import Meaning


def _coded(code: int, text: str, *, unknown: bool) -> Meaning:
    body = {"retCode": code, "retMsg": text, "result": {}, "retExtInfo": {}, "time": 0}
    return Meaning(200, orjson.dumps(body), unknown, "application/json")


BYBIT_MEANINGS: dict[str, Meaning] = {
    "bybit-10000": _coded(10000, "Server Timeout", unknown=True),
    "bybit-10006": _coded(10006, "Too many visits. Exceeded the API Rate Limit.", unknown=False),
    "bybit-10016": _coded(10016, "Internal server error.", unknown=True),
    "bybit-10019": _coded(10019, "Service is restarting, please try again later.", unknown=False),
    "bybit-170007": _coded(170007, "Timeout waiting for response from backend server.", unknown=True),
    "bybit-170146": _coded(170146, "Order creation timeout", unknown=True),
    "bybit-170147": _coded(170147, "Order cancellation timeout", unknown=True),
    "bybit-403": Meaning(403, b"access too frequent, please try again later", unknown=False, content_type="text/plain"),
}
