"""The venue: the sandbox's engine and its Binance face behind simulated connections, and all a venue does wrong.

Its own record of what was executed is the judge of every run; nothing an agent or a bot believes counts against it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from random import Random
from typing import Any

from jackstay_agent.sandbox.accounts import DEFAULT_ACCOUNT
from jackstay_agent.sandbox.answers import Answer, Call, form, json_answer
from jackstay_agent.sandbox.bending import Bend, bent
from jackstay_agent.sandbox.engine.exchange import Exchange, spot_exchange
from jackstay_agent.sandbox.engine.model import MARKET_ACCOUNT, OrderRequest
from jackstay_agent.sandbox.faces import binance_spot
from jackstay_agent.sandbox.faults import Fault
from jackstay_agent.sandbox.venue import Venue

from .loop import Process, Time
from .weather import Weather

EPOCH_S = 1_800_000_000.0  # true wall time at the start of every run
HUMAN = "human"
HTML = b"<html><body><h1>502 Bad Gateway</h1></body></html>"
UNKNOWN_503 = b'{"code":-1007,"msg":"Timeout waiting for response from backend server. Send status unknown."}'


class Headers(dict[str, str]):
    """Header look-up whatever the capitalisation."""

    def get(self, name: str, default: Any = None) -> Any:
        return super().get(name.lower(), default)


@dataclass(slots=True)
class Executed:
    """An order the venue took into its books."""

    at: float
    client_id: str
    quantity: Decimal
    symbol: str
    order_id: int
    copy: bool  # a proxy delivered one request twice: nobody's fault here


class VenueEnd:
    """The venue's end of one connection: requests in order, one at a time."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.link: Any = None
        self._buffer = b""
        self._open = True
        self._busy = False

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._next()

    def _next(self) -> None:
        if self._busy or not self._open:
            return
        head, sep, rest = self._buffer.partition(b"\r\n\r\n")
        if not sep:
            return
        lines = head.split(b"\r\n")
        headers = Headers()
        for line in lines[1:]:
            name, _, value = line.partition(b": ")
            headers[name.decode("latin-1").lower()] = value.decode("latin-1")
        length = int(headers.get("content-length", "0"))
        if len(rest) < length:
            return
        self._buffer = rest[length:]
        method, target, _ = lines[0].decode("ascii").split(" ")
        self._busy = True
        self.house.request(self, method, target, headers, rest[:length])

    def send(self, data: bytes) -> None:
        if self._open:
            self.link.answer(data)

    def done(self) -> None:
        """The answer is out: the next request, if one waits."""
        self._busy = False
        self._next()

    def end(self, error: Exception | None = None) -> None:
        """Close or, with an error, reset the connection."""
        self._open = False
        self.link.lose(error)

    def closed(self) -> None:
        """The client went away; what it had sent before is still processed."""
        self._open = False


class House:
    """The exchange."""

    def __init__(self, world: Time, weather: Weather, process: Process, seed: str) -> None:
        self.world = world
        self.weather = weather
        self.process = process
        self.executed: list[Executed] = []
        self.cancels: list[tuple[str, str]] = []  # (client id asked for, account's word)
        self.requests = 0
        self.maintenance_until = 0.0
        self.limited_until = 0.0
        dice = weather.dice("venue_clock")
        self.offset_s = dice.uniform(-0.8, 0.8) if weather.hits("venue_clock") else 0.0
        self.hidden_s = weather.dice("hidden").uniform(8.0 if weather.scene == "hidden" else 0.2, 18.0)
        self._chance = Random(f"{seed}-venue")
        self.venue = Venue(clock=self.now_ms, make=self._make)
        self._market()
        self.venue.publish()

    def now_ms(self) -> int:
        return int((EPOCH_S + self.world.now + self.offset_s) * 1000)

    def _make(self, accounts: list[str]) -> Exchange:
        plenty = dict.fromkeys(("USDT", "BTC", "ETH", "BNB"), Decimal(10) ** 9)
        return spot_exchange(self.now_ms, {account: dict(plenty) for account in accounts})

    def _market(self) -> None:
        """Somebody to trade with: whoever pays 50,000 gets it at once."""
        for symbol, price in (("BTCUSDT", 50_000), ("ETHUSDT", 3_000)):
            self.venue.exchange.place(
                OrderRequest(MARKET_ACCOUNT, symbol, "SELL", "LIMIT", Decimal(9_000), Decimal(price))
            )

    def accept(self) -> VenueEnd | None:
        if self.world.now < self.maintenance_until and self.weather.dice("maintenance").random() < 0.3:
            return None
        end = VenueEnd(self)
        if self.weather.hits("idle_close"):
            self.world.later(self.process, self.weather.dice("idle_close").uniform(0.05, 10.0), self._idle_close, end)
        return end

    def _idle_close(self, end: VenueEnd) -> None:
        if end.link is not None and not end._busy and end._open:
            end.end()

    # requests --------------------------------------------------------------------------------------------------

    def request(self, end: VenueEnd, method: str, target: str, headers: Headers, body: bytes) -> None:
        self.requests += 1
        path, _, query = target.partition("?")
        params = form(query) if query else {}
        if body:
            params.update(form(body.decode()))
        call = Call(method, path, query, body, headers, params, self.now_ms())
        self.world.note(
            "venue",
            "received",
            f"{method} {path} {params.get('newClientOrderId') or params.get('origClientOrderId') or ''}",
        )
        weather = self.weather
        if self.world.now < self.maintenance_until:
            self._answer(end, Answer(503, HTML, [("Content-Type", "text/html")]), close=True)
            return
        if self.world.now < self.limited_until or weather.hits("rate_limited") or weather.hits("banned"):
            self._limited(end)
            return
        struck = next((kind for kind in STRIKES if weather.hits(kind)), "")
        if struck:
            self.world.note("venue", "strikes", struck)
            STRIKES[struck](self, end, call)
            return
        took_s = self._chance.uniform(0.0002, 0.01)
        if weather.hits("late"):
            took_s = weather.dice("late").uniform(0.1, 6.0)
        self.world.later(self.process, took_s, self._serve, end, call)

    def _serve(self, end: VenueEnd, call: Call) -> None:
        self._answer(end, self.process_call(call), close=self.weather.hits("close_after"))

    def process_call(self, call: Call, copy: bool = False) -> Answer:
        """Have the engine do it, and write down what it did."""
        call.now = self.now_ms()
        if call.method == "GET" and self.weather.hits("hidden"):
            kind = self.weather.dice("hidden").choice(("hidden", "lag"))
            call.bend = Bend(Fault("sim", kind, params={"ms": self.hidden_s * 1000}), "query", call.now)
        with bent([self.venue.exchange], call.bend):
            answer = binance_spot.answer(self.venue, call)
        self.venue.publish()
        self.venue.forget_changes()
        if call.method == "POST" and call.path == "/api/v3/order" and answer.executed:
            order = self.venue.exchange.orders.get(int(answer.order_id or 0))
            assert order is not None
            done = Executed(self.world.now, order.client_id, order.quantity, order.symbol, order.id, copy)
            self.executed.append(done)
            self.world.note("venue", "executed", f"{order.client_id} quantity {order.quantity}")
        if call.method == "DELETE":
            self.cancels.append((call.params.get("origClientOrderId", ""), str(answer.status)))
        return answer

    def _limited(self, end: VenueEnd) -> None:
        if self.world.now >= self.limited_until:
            self.limited_until = self.world.now + self.weather.dice("banned").choice((1.0, 3.0, 10.0, 30.0))
        wait_s = max(1, round(self.limited_until - self.world.now + 0.5))
        status = 418 if "banned" in self.weather.rates else 429
        text = "Too much request weight used; current limit is 6000 request weight per 1 MINUTE."
        answer = json_answer({"code": -1003, "msg": text}, status)
        answer.headers.append(("Retry-After", str(wait_s)))
        self._answer(end, answer)

    def _answer(self, end: VenueEnd, answer: Answer, *, close: bool = False, cut: int = 0) -> None:
        headers = [*answer.headers, ("Content-Length", str(len(answer.body)))]
        if close:
            headers.append(("Connection", "close"))
        head = f"HTTP/1.1 {answer.status} X\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers) + "\r\n"
        data = head.encode() + answer.body
        end.send(data[: len(data) - cut] if cut else data)
        if self.weather.hits("reset_after"):
            end.link.back.closed = True
            end.end(ConnectionResetError("reset by peer"))
        elif close or cut:
            end.end()
        else:
            end.done()

    # strikes ---------------------------------------------------------------------------------------------------

    def _error_5xx(self, end: VenueEnd, call: Call) -> None:
        self._answer(end, Answer(502, HTML, [("Content-Type", "text/html")]))

    def _error_unknown(self, end: VenueEnd, call: Call) -> None:
        if self.weather.dice("error_unknown").random() < 0.5:
            self.process_call(call)
        self._answer(end, Answer(503, UNKNOWN_503, [("Content-Type", "application/json")]))

    def _drop_reply(self, end: VenueEnd, call: Call) -> None:
        self.process_call(call)

    def _stall(self, end: VenueEnd, call: Call) -> None:
        """Never processed, never answered."""

    def _truncated(self, end: VenueEnd, call: Call) -> None:
        answer = self.process_call(call)
        self._answer(end, answer, cut=self.weather.dice("truncated").randint(1, max(1, len(answer.body))))

    def _html_200(self, end: VenueEnd, call: Call) -> None:
        """A proxy's page instead of the answer, executed or not."""
        if self.weather.dice("html_200").random() < 0.5:
            self.process_call(call)
        self._answer(end, Answer(200, HTML, [("Content-Type", "text/html")]))

    def _twice(self, end: VenueEnd, call: Call) -> None:
        """A proxy delivers it twice; either answer may be the one that comes back."""
        again = Call(call.method, call.path, call.query, call.body, call.headers, dict(call.params), call.now)
        answers = [self.process_call(call), self.process_call(again, copy=True)]
        self._answer(end, self.weather.dice("twice").choice(answers))

    def _reply_twice(self, end: VenueEnd, call: Call) -> None:
        """The second copy of a refusal of one order would be taken for the refusal of the next one: nothing in it tells
        which order it is about (docs/RELIABILITY.md, not covered). All others are told by what they name.
        """
        answer = self.process_call(call)
        self._answer(end, answer)
        if call.path != "/api/v3/order" or answer.status == 200:
            self._answer(end, answer)

    # a person with the same account ----------------------------------------------------------------------------

    def human(self, quantity: Decimal) -> None:
        """Somebody trades the account by hand, on the same symbol and side as the bots."""
        client_id = f"{HUMAN}-{quantity}"
        placed = self.venue.exchange.place(
            OrderRequest(DEFAULT_ACCOUNT, "BTCUSDT", "BUY", "LIMIT", quantity, Decimal(30_000), client_id=client_id)
        )
        self.world.note("human", "placed", placed.order.client_id)

    def open_ids(self) -> set[str]:
        return {order.client_id for order in self.venue.exchange.orders.open_of(DEFAULT_ACCOUNT)}


STRIKES: dict[str, Callable[[House, VenueEnd, Call], None]] = {
    "error_5xx": House._error_5xx,
    "error_unknown": House._error_unknown,
    "drop_reply": House._drop_reply,
    "stall": House._stall,
    "truncated": House._truncated,
    "html_200": House._html_200,
    "twice": House._twice,
    "reply_twice": House._reply_twice,
}
