"""What a face answers, before anything goes wrong with it: status, headers as pairs, body bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import orjson

if TYPE_CHECKING:
    from .bending import Bend

JSON_HEADERS = [("Content-Type", "application/json;charset=UTF-8")]


@dataclass(slots=True)
class Answer:
    """One HTTP answer. `order_id` and `executed` tell the ledger what the engine did."""

    status: int
    body: bytes
    headers: list[tuple[str, str]] = field(default_factory=list)
    order_id: int | str | None = None
    executed: bool = False
    # what became of each order of a batch, in the request's order
    items: list[Call] = field(default_factory=list)


@dataclass(slots=True)
class Call:
    """One request as a face sees it: already read in full, parameters of query and form body merged."""

    method: str
    path: str
    query: str
    body: bytes
    headers: Mapping[str, str]
    params: dict[str, str]
    now: int
    account: str = ""
    key: str = ""
    order_id: int | str | None = None
    executed: bool = False
    # a fault that bends the engine while this request is served
    bend: Bend | None = None
    notes: list[str] = field(default_factory=list)
    # a request that names several orders: each as a call of its own; and what of it is no plain text
    items: list[Call] = field(default_factory=list)
    structures: dict[str, Any] = field(default_factory=dict)


def form(text: str) -> dict[str, str]:
    """A query or form body as a dict, the last of equal names winning; blank values kept."""
    if "%" in text or "+" in text or ";" in text:
        return dict(parse_qsl(text, keep_blank_values=True))
    pairs = (pair.partition("=") for pair in text.split("&") if pair)
    return {name: value for name, _, value in pairs}


def json_answer(value: Any, status: int = 200) -> Answer:
    return Answer(status, orjson.dumps(value), list(JSON_HEADERS))
