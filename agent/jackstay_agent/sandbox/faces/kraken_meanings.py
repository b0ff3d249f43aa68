"""Kraken's troubled answers with their true meaning: may the order have been executed or not?

All are HTTP 200 with the error in the body (docs.kraken.com, "Error messages"; guides, "Spot Error Messages"). "The
request timed out according to the default or specified deadline" and an internal error say nothing about the engine;
an API or engine that is offline, busy or in another mode has executed nothing. Cloudflare's pages in front of it (520)
say nothing either.
"""

from __future__ import annotations

import orjson

from .binance_meanings import Meaning


def _told(text: str, *, unknown: bool) -> Meaning:
    return Meaning(200, orjson.dumps({"error": [text]}), unknown, "application/json; charset=utf-8")


KRAKEN_MEANINGS: dict[str, Meaning] = {
    "EService:Timeout": _told("EService:Timeout", unknown=True),
    "EService:Deadline elapsed": _told("EService:Deadline elapsed", unknown=True),
    "EGeneral:Internal error": _told("EGeneral:Internal error", unknown=True),
    "EService:Unavailable": _told("EService:Unavailable", unknown=False),
    "EService:Busy": _told("EService:Busy", unknown=False),
    "EService:Market in cancel_only mode": _told("EService:Market in cancel_only mode", unknown=False),
    "EService:Market in post_only mode": _told("EService:Market in post_only mode", unknown=False),
    "EService:Market in limit_only mode": _told("EService:Market in limit_only mode", unknown=False),
    "EAPI:Rate limit exceeded": _told("EAPI:Rate limit exceeded", unknown=False),
    "EAPI:Invalid nonce": _told("EAPI:Invalid nonce", unknown=False),
    "EOrder:Rate limit exceeded": _told("EOrder:Rate limit exceeded", unknown=False),
    "EOrder:Insufficient funds": _told("EOrder:Insufficient funds", unknown=False),
    "EGeneral:Temporary lockout": _told("EGeneral:Temporary lockout", unknown=False),
    "520": Meaning(520, b"<html><body><h1>520: Web server is returning an unknown error</h1></body></html>", True,
                   "text/html"),
}  # fmt: skip
