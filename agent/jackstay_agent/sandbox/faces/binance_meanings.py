"""Binance's troubled answers with their true meaning: may the order have been executed or not?

"unknown" ones are executed with some probability when they strike, failures never (errors.md; rest-api.md on 5XX;
USDⓈ-M general info on the three 503 messages).
"""

from __future__ import annotations

from dataclasses import dataclass

import orjson


@dataclass(slots=True, frozen=True)
class Meaning:
    """One answer. `unknown`: the request may have been executed all the same."""

    status: int
    body: bytes
    unknown: bool
    content_type: str = "application/json;charset=UTF-8"


def _coded(status: int, code: int, text: str, *, unknown: bool) -> Meaning:
    return Meaning(status, orjson.dumps({"code": code, "msg": text}), unknown)


def _page(status: int, text: str) -> Meaning:
    return Meaning(status, f"<html><body><h1>{text}</h1></body></html>".encode(), True, "text/html")


MEANINGS: dict[str, Meaning] = {
    "-1000": _coded(500, -1000, "An unknown error occurred while processing the request.", unknown=True),
    "-1001": _coded(500, -1001, "Internal error; unable to process your request. Please try again.", unknown=True),
    "-1006": _coded(
        500, -1006, "An unexpected response was received from the message bus. Execution status unknown.", unknown=True
    ),
    "-1007": _coded(
        504,
        -1007,
        "Timeout waiting for response from backend server. Send status unknown; execution status unknown.",
        unknown=True,
    ),
    "-1008": _coded(503, -1008, "Server is currently overloaded with other requests. Please try again.", unknown=False),
    "503-unknown": _coded(503, -1000, "Unknown error, please check your request or try again later.", unknown=True),
    "503-unavailable": _coded(503, -1000, "Service Unavailable.", unknown=False),
    "503-internal": _coded(
        503, -1000, "Internal error; unable to process your request. Please try again.", unknown=False
    ),
    "500": _page(500, "500 Internal Server Error"),
    "502": _page(502, "502 Bad Gateway"),
    "503": _page(503, "503 Service Temporarily Unavailable"),
    "504": _page(504, "504 Gateway Time-out"),
    "200-html": _page(200, "We will be back soon"),
    "200-empty": Meaning(200, b"", True),
    "200-garbage": Meaning(200, b"\x8f\x00\xff{\x11", True),
    "200-error": _coded(200, -2010, "Account has insufficient balance for requested action.", unknown=False),
}
