"""The soak's trading bot: a stated number of requests a second, whatever comes of them, and what it was told.

    python -m soak.bot AGENT RUNTIME_DIR LIFE PER_S FILE

Open loop: a slow answer holds nothing up. Each line of FILE is written, unbuffered, before an outcome is acknowledged:
``intends NAME``, ``accepted NAME INTENT``, ``told NAME OUTCOME``, ``unknown NAME INTENT``, ``late INTENT OUTCOME``,
``hung NAME SECONDS`` (a call that outlived its deadline), ``pace OFFERED DONE P50_MS P99_MS WORST_MS REFUSED``.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Coroutine
from typing import Any
from urllib.parse import urlencode

import jackstay
from intended import FORM, HOST, ORDER, PRICES, SIDES
from jackstay_protocols.errors import Outcome, TradingBotError

DEADLINE_S = 5.0
HUNG_S = 2.0  # past its deadline, a busy machine's slack included
TICK_S = 0.01
PACE_S = 5.0
IN_FLIGHT_MAX = 3_000  # a bot is bounded too; what is over it counts as not offered
STEPS = 10_000  # prices of one symbol and side before they begin again with another quantity


def order_of(name: str, number: int, *, rests: bool) -> bytes:
    """Far from the market, of a price and quantity that no order of the last hours had: it takes nothing."""
    symbol, side = SIDES[number % len(SIDES)]
    cycle, step = divmod(number // len(SIDES), STEPS)
    return urlencode(
        {
            "symbol": symbol,
            "side": side,
            "type": "LIMIT",
            "timeInForce": "GTC" if rests else "IOC",
            "quantity": f"{0.01 + cycle % 50 / 1000:.3f}",
            "price": f"{PRICES[symbol, side] + step / 100:.2f}",
            "newClientOrderId": name,
        }
    ).encode()


class SoakBot:
    def __init__(self, client: jackstay.AsyncClient, life: int, out: int) -> None:
        self.client = client
        self.life = life
        self.took_ms: list[float] = []
        self.refused = 0
        self.done = 0
        self.cancels: list[tuple[str, str]] = []  # what a cancel did not reach yet
        self._out = out

    def say(self, *words: object) -> None:
        os.write(self._out, (" ".join(map(str, words)) + "\n").encode())

    def errand(self, number: int) -> Coroutine[Any, Any, None]:
        """Of twenty: eleven orders that end at once, two that rest and are cancelled, two posted ones, five reads."""
        name = f"s{self.life}-{number}"
        match number % 20:
            case 0 | 7:
                return self.rest_and_cancel(name, number)
            case 3 | 13:
                return self.post(name, number)
            case 4 | 9 | 14 | 17 | 19:
                return self.read()
            case _:
                return self.place(name, number, rests=False)

    async def place(self, name: str, number: int, *, rests: bool) -> None:
        self.say("intends", name)
        body = order_of(name, number, rests=rests)
        began = time.monotonic()
        try:
            answer = await self.client.request(
                "POST", f"{HOST}{ORDER}", headers=FORM, body=body, sign=True, deadline_s=DEADLINE_S
            )
        except TradingBotError as error:
            self._troubled(name, error)
        else:
            self.say("told", name, answer.verdict.outcome)
        self._ended(name, began)

    async def post(self, name: str, number: int) -> None:
        self.say("intends", name)
        body = order_of(name, number, rests=False)
        began = time.monotonic()
        try:
            posted = await self.client.post(
                "POST", f"{HOST}{ORDER}", headers=FORM, body=body, sign=True, ttl_s=30, deadline_s=DEADLINE_S
            )
        except TradingBotError as error:
            self._troubled(name, error)
        else:
            self.say("accepted", name, posted.id)
        self._ended(name, began)

    async def rest_and_cancel(self, name: str, number: int) -> None:
        await self.place(name, number, rests=True)
        await self.cancel(SIDES[number % len(SIDES)][0], name)

    async def cancel(self, symbol: str, name: str) -> None:
        query = urlencode({"symbol": symbol, "origClientOrderId": name})
        began = time.monotonic()
        try:
            await self.client.request("DELETE", f"{HOST}{ORDER}?{query}", sign=True, deadline_s=DEADLINE_S)
        except TradingBotError as error:
            self.refused += error.outcome is not Outcome.REJECTED
            if error.outcome is not Outcome.REJECTED:
                self.cancels.append((symbol, name))
        self._ended(f"cancel-{name}", began)

    async def read(self) -> None:
        began = time.monotonic()
        try:
            await self.client.request("GET", f"{HOST}/api/v3/ticker/price?symbol=BTCUSDT", deadline_s=DEADLINE_S)
        except TradingBotError:
            self.refused += 1
        self._ended("read", began)

    def _troubled(self, name: str, error: TradingBotError) -> None:
        outcome = error.outcome or Outcome.FAILED
        if outcome is Outcome.UNKNOWN and (intent := error.details.get("intent")):
            self.say("unknown", name, intent)
        else:
            self.say("told", name, outcome)
        self.refused += 1

    def _ended(self, name: str, began: float) -> None:
        took_s = time.monotonic() - began
        self.took_ms.append(took_s * 1000)
        self.done += 1
        if took_s > DEADLINE_S + HUNG_S:
            self.say("hung", name, f"{took_s:.1f}")

    async def collect(self) -> None:
        """Outcomes that no reply told. Each is written down before the next is asked for, which acknowledges it."""
        while True:
            try:
                async for late in self.client.outcomes(10.0):
                    self.say("late", late.id, late.outcome)
            except TradingBotError:
                await asyncio.sleep(0.1)  # the agent is away just now

    async def pace(self, counted: list[int]) -> None:
        before = 0
        while True:
            await asyncio.sleep(PACE_S)
            took, self.took_ms = sorted(self.took_ms), []
            marks = [took[int(len(took) * share)] if took else 0.0 for share in (0.5, 0.99)]
            figures = [f"{each:.2f}" for each in (*marks, took[-1] if took else 0.0)]
            self.say("pace", counted[0] - before, self.done, *figures, self.refused)
            before, self.done, self.refused = counted[0], 0, 0
            waiting, self.cancels = self.cancels[:200], self.cancels[200:]
            await asyncio.gather(*(self.cancel(*each) for each in waiting))


async def run(agent: str, runtime_dir: str, life: int, per_s: float, path: str) -> None:
    out = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    async with jackstay.AsyncClient(agent, runtime_dir=runtime_dir, bot_id="soak", connect_timeout_s=10.0) as client:
        bot, counted = SoakBot(client, life, out), [0]
        helpers = [asyncio.create_task(bot.collect()), asyncio.create_task(bot.pace(counted))]
        tasks: set[asyncio.Task[None]] = set()
        began, number = time.monotonic(), 0
        while not any(each.done() for each in helpers):
            # a resting order is two requests: 20 errands are 22 requests
            due = int((time.monotonic() - began) * per_s * 20 / 22)
            while number < due:
                number += 1
                if len(tasks) >= IN_FLIGHT_MAX:
                    continue
                counted[0] += 2 if number % 20 in (0, 7) else 1
                task = asyncio.create_task(bot.errand(number))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            await asyncio.sleep(TICK_S)
        for each in helpers:
            each.cancel()
        for each in await asyncio.gather(*helpers, return_exceptions=True):
            if isinstance(each, Exception):
                raise each


if __name__ == "__main__":
    import uvloop

    uvloop.run(run(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), sys.argv[5]))
