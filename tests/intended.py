"""Bots that know what they intended, and the venue's ledger that knows what came of it: for the outbox's proofs."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jackstay
from e2e_bot import HOST, RESOLVING, quick_profiles, routed
from harness import AgentProcess
from jackstay_agent.sandbox import SandboxProcess
from jackstay_protocols.errors import Outcome, TradingBotError

#: `make prove-outbox` runs the sizes of the issue, `make test` small ones of the same shape.
FULL = os.environ.get("PROVE") == "full"

ORDER = "/api/v3/order"
FORM = [("Content-Type", "application/x-www-form-urlencoded")]
SIDES = [(symbol, side) for symbol in ("BTCUSDT", "ETHUSDT") for side in ("BUY", "SELL")]
PRICES = {
    ("BTCUSDT", "BUY"): 30_000,
    ("BTCUSDT", "SELL"): 90_000,
    ("ETHUSDT", "BUY"): 2_000,
    ("ETHUSDT", "SELL"): 6_000,
}


def sized(full: int, small: int) -> int:
    return full if FULL else small


def agent_for(venue: SandboxProcess, folder: Path, extra: str = "", runtime_dir: Path | None = None) -> AgentProcess:
    """An agent that resolves with little patience and leaves limits and breaker to other tests."""
    key = RESOLVING.replace("live = false", "live = false\nlimits = { orders_10s = 0, weight_1m = 0 }")
    patient = "[errors.breakers.api_calls]\nfailure_threshold = 1000000\n"
    config = quick_profiles(folder / "profiles") + routed(venue.url, key + patient + extra)
    return AgentProcess(config, runtime_dir=runtime_dir)


def order_of(name: str, number: int) -> dict[str, Any]:
    """An order of its own price that takes nothing and stays nowhere (IOC, far from the market)."""
    symbol, side = SIDES[number % len(SIDES)]
    price = PRICES[symbol, side] + number // len(SIDES) / 100
    return {
        "symbol": symbol,
        "side": side,
        "type": "LIMIT",
        "timeInForce": "IOC",
        "quantity": "0.01",
        "price": f"{price:.2f}",
        "newClientOrderId": name,
    }


@dataclass
class Told:
    """What a bot was told of each order it intended, by its name."""

    outcomes: dict[str, str] = field(default_factory=dict)
    tries: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)  # reasons for which nothing was sent
    late: dict[str, str] = field(default_factory=dict)  # intent -> name, to be told as news


async def place_all(
    client: jackstay.AsyncClient, names: Iterable[str], told: Told, *, deadline_s: float, at_once: int
) -> None:
    """Place each intended order once; one that was provably not handed over is tried again under its own name."""
    waiting: Iterator[tuple[int, str]] = iter(list(enumerate(names)))

    async def worker() -> None:
        for number, name in waiting:
            body = urlencode(order_of(name, number)).encode()
            while name not in told.outcomes and name not in told.late.values():
                await _once(client, name, body, told, deadline_s)

    await asyncio.gather(*(worker() for _ in range(at_once)))


async def _once(client: jackstay.AsyncClient, name: str, body: bytes, told: Told, deadline_s: float) -> None:
    url, key = f"{HOST}{ORDER}", f"{name}.{told.tries[name]}"
    try:
        answer = await client.request(
            "POST", url, headers=FORM, body=body, sign=True, deadline_s=deadline_s, idempotency_key=key
        )
    except TradingBotError as error:
        if error.outcome is Outcome.UNKNOWN:
            # without the agent's word on which intent it is, the same key asks for it again
            if intent := error.details.get("intent"):
                told.late[str(intent)] = name
        elif error.reason == "absent":
            told.outcomes[name] = f"{error.outcome}: {error.reason}"
        else:  # provably not sent
            told.tries[name] += 1
            told.refused[str(error.reason)] += 1
        return
    told.outcomes[name] = str(answer.verdict.outcome)


def by_name(rows: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["client_order_id"], []).append(row)
    return found
