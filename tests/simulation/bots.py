"""Bots that trade: each wants its orders exactly once, and behaves as bots do when the answer does not come.

``careful`` waits for the outcome. ``stubborn`` does what an unmodified ccxt bot does: the same order again under a new
client id, a new timestamp and a new signature. ``keyed`` repeats with the same idempotency key. A bot that reads its
late outcomes stops being stubborn once it has one; one that does not read them is stubborn to the end.
"""

from __future__ import annotations

import asyncio
import hmac
from decimal import Decimal
from random import Random

from jackstay_agent.sandbox.accounts import DEFAULT_KEY, DEFAULT_SECRET
from jackstay_protocols.errors import Outcome
from jackstay_protocols.messages import Request

from .client import SimClient, Told
from .host import Host
from .loop import Process
from .observer import Attempt, Intention

BASE = "http://sandbox.localhost:8787"
HEADERS = [(b"X-MBX-APIKEY", DEFAULT_KEY.encode()), (b"Content-Type", b"application/x-www-form-urlencoded")]
TRIES_MAX = 30
CANARIES_UNKNOWN_MAX = 1  # two in a row are no coincidence


class Bot:
    """One bot through all its lives: what it wants survives, what it knew does not."""

    def __init__(self, host: Host, name: str, number: int, seed: str, orders: int) -> None:
        self.host = host
        self.name = name
        self.number = number
        self.chance = Random(f"{seed}-{name}")
        self.left = orders
        self.reads = self.chance.random() < 0.6
        self.process: Process | None = None
        self.client: SimClient | None = None
        self.wanted = 0
        self.idle = False
        self.placing = 0  # orders of this life that are not settled
        self._word = 0

    # ---- lives

    def start(self) -> None:
        if self.process is not None and not self.process.dead:
            return
        self.process = self.host.spawn(self.name)
        self.process.on_death.append(self._died)
        self.idle, self.placing = False, 0
        self.host.world.at(self.process, self.host.world.now, self._live)

    def _live(self) -> None:
        assert self.process is not None
        self.client = SimClient(self.host, self.process, self.name, reads=self.reads)
        self.process.loop.create_task(self._trade(self.client))

    def _died(self) -> None:
        pause_s = self.chance.uniform(0.05, 3.0)
        self.host.world.later(self.host.init, pause_s, self.start)

    def deploy(self) -> None:
        """An orderly restart."""
        if self.client is not None and self.process is not None and not self.process.dead:
            self.client.goodbye()
            self.host.world.later(self.host.init, 0.01, self.process.kill, "deploy")

    # ---- trading

    async def _trade(self, client: SimClient) -> None:
        chance = self.chance
        while self.left > 0:
            await asyncio.sleep(chance.expovariate(1.2))
            self.left -= 1
            await self._one(client)
        self.idle = True

    async def _one(self, client: SimClient) -> None:
        chance = self.chance
        task = self._whole(client, self._wish())
        if chance.random() < 0.4:
            assert self.process is not None
            self.process.loop.create_task(task)  # several at a time
            return
        await task

    async def _whole(self, client: SimClient, intention: Intention) -> None:
        self.placing += 1
        await self._place(client, intention)
        self.placing -= 1

    def _wish(self) -> Intention:
        self.wanted += 1
        quantity = Decimal(1000 * self.number + self.wanted) / 100_000
        style = self.chance.choice(("careful", "stubborn", "stubborn", "keyed")) if self.reads else "stubborn"
        symbol = self.chance.choice(("BTCUSDT", "BTCUSDT", "ETHUSDT"))
        if symbol == "ETHUSDT":
            quantity *= 10
        intention = Intention(self.name, quantity, symbol, style)
        self.host.observer.intentions[quantity] = intention
        return intention

    async def _place(self, client: SimClient, intention: Intention) -> None:
        chance, host = self.chance, self.host
        signs = chance.random() < 0.5
        named = signs or self.reads or chance.random() < 0.5  # who reads late outcomes knows its orders by name
        fills = chance.random() < 0.4
        deadline_s = chance.choice((0.3, 1.0, 3.0, 8.0))
        key = f"{self.name}-{intention.quantity}" if intention.style == "keyed" else ""
        patient = host.weather.hits("patient")
        client_id = self._new_id() if named else ""
        for number in range(TRIES_MAX):
            if number and intention.style == "stubborn" and named:
                client_id = self._new_id()
            body = self._body(intention, client_id, fills)
            attempt = Attempt(intention, client_id, host.boot_s() + deadline_s)
            intention.attempts.append(attempt)
            if client_id:
                host.observer.by_client_id.setdefault(client_id, attempt).deadline_at = attempt.deadline_at
            stays_s = None
            if host.weather.hits("leaving"):
                stays_s = host.weather.dice("leaving").uniform(0.0, deadline_s)
            request = self._request(body, sign=not signs, key=key, patient=patient)
            told = await client.ask(request, deadline_s, stays_s)
            host.observer.told(host.world, attempt, told)
            if told.kind == "response" and told.outcome in (Outcome.OK, Outcome.REJECTED):
                break
            if intention.style == "careful" and told.outcome is Outcome.UNKNOWN:
                break  # the outcome will come
            await asyncio.sleep(chance.choice((0.0, 0.2, 1.0, 3.0, 6.0)))
            if any(client.heard_of(each.client_id) for each in intention.attempts if each.client_id):
                break
        if told.kind == "response" and told.outcome is Outcome.OK and client_id and chance.random() < 0.5:
            await self._cancel(client, intention.symbol, client_id)

    def _new_id(self) -> str:
        self._word += 1
        return f"{self.name}-{self._word}"

    async def _cancel(self, client: SimClient, symbol: str, client_id: str) -> Told:
        for _ in range(TRIES_MAX):
            query = self._signed(f"symbol={symbol}&origClientOrderId={client_id}")
            request = Request("DELETE", f"{BASE}/api/v3/order?{query}", HEADERS)
            told = await client.ask(request, 2.0)
            self.host.observer.cancel_told(self.host.world, self.name, client_id, told)
            if told.kind == "response" and told.outcome in (Outcome.OK, Outcome.REJECTED):
                return told
            await asyncio.sleep(1.0)
        return told

    async def look(self, client: SimClient) -> None:
        """The bot's own question about its open orders."""
        query = self._signed("symbol=BTCUSDT")
        await client.ask(Request("GET", f"{BASE}/api/v3/openOrders?{query}", HEADERS), 2.0)

    async def canary(self) -> bool:
        """After the storm: an order and its cancel go through.

        A venue goes on closing idle lines in fair weather, and an order written on one at that moment is rightly
        unknown. Then another one is to go through; that the first was told of truly is judged with all the others.
        """
        assert self.client is not None
        intention = self._wish()
        client_id = self._new_id()
        unknown = 0
        for _ in range(TRIES_MAX):
            attempt = Attempt(intention, client_id, self.host.boot_s() + 5.0)
            intention.attempts.append(attempt)
            self.host.observer.by_client_id[client_id] = attempt
            request = self._request(self._body(intention, client_id, False), sign=False, key="")
            told = await self.client.ask(request, 5.0)
            self.host.observer.told(self.host.world, attempt, told)
            if told.kind == "response" and told.outcome is Outcome.OK:
                cancelled = await self._cancel(self.client, intention.symbol, client_id)
                return cancelled.outcome is Outcome.OK
            if told.outcome is Outcome.UNKNOWN:
                unknown += 1
                if unknown > CANARIES_UNKNOWN_MAX:
                    return False
                intention = self._wish()
            client_id = self._new_id()
            await asyncio.sleep(2.0)
        return False

    # ---- requests

    def _body(self, intention: Intention, client_id: str, fills: bool) -> str:
        price = {"BTCUSDT": ("30000", "50001"), "ETHUSDT": ("2000", "3001")}[intention.symbol][fills]
        text = (
            f"symbol={intention.symbol}&side=BUY&type=LIMIT&timeInForce=GTC&quantity={intention.quantity}&price={price}"
        )
        return f"{text}&newClientOrderId={client_id}" if client_id else text

    def _request(self, body: str, *, sign: bool, key: str, patient: bool = False) -> Request:
        if sign:
            headers = [(b"Content-Type", b"application/x-www-form-urlencoded")]
            return Request("POST", f"{BASE}/api/v3/order", headers, body.encode(), "", None, key, True, "", patient)
        signed = self._signed(body).encode()
        return Request("POST", f"{BASE}/api/v3/order", HEADERS, signed, "", None, key, False, "", patient)

    def _signed(self, text: str) -> str:
        return signed(self.host, text)


def signed(host: Host, text: str) -> str:
    """The parameters with their time and signature, at this instant of the machine's clock."""
    text += f"&timestamp={int(host.wall_s() * 1000)}&recvWindow=5000"
    return f"{text}&signature={hmac.digest(DEFAULT_SECRET.encode(), text.encode(), 'sha256').hex()}"
