"""A small world for the outbox: clocks told the time, a worker that works when told, notes of what was said."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jackstay_agent.outbox import Accepted, Admitted, Intent, Outbox, OutboxSettings, Settled, Signed
from jackstay_protocols.errors import Lane

FIELDS = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "quantity": "0.01", "price": "50000"}


class Worker:
    """Runs blocking work when told to, so that a test can look at the time in between."""

    def __init__(self) -> None:
        self.jobs: list[tuple[Callable[[], None], Callable[[BaseException | None], None]]] = []

    def __call__(self, work: Callable[[], None], done: Callable[[BaseException | None], None]) -> None:
        self.jobs.append((work, done))

    def step(self) -> None:
        """One job, and its answer."""
        work, done = self.jobs.pop(0)
        error: BaseException | None = None
        try:
            work()
        except Exception as caught:
            error = caught
        done(error)

    def drain(self) -> None:
        while self.jobs:
            self.step()


class World:
    """One machine with one outbox file. ``open`` may be called again after `kill` or `close`."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.path = folder / "outbox.db"
        self.settings = OutboxSettings(**settings)
        self.boot_id = "boot-1"
        self.now = 1_000.0
        self.wall = 1_700_000_000.0
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.settled: list[Settled] = []
        self.freed = 0
        self.worker: Worker | None = None
        self.box: Outbox = None  # type: ignore[assignment]
        self.connect: Callable[..., sqlite3.Connection] = sqlite3.connect

    def open(self, worker: Worker | None = None) -> Outbox:
        self.worker = worker
        more: dict[str, Any] = {} if worker is None else {"run_blocking": worker}

        def free() -> None:
            self.freed += 1

        self.box = Outbox.open(
            self.path,
            self.settings,
            clock=lambda: self.now,
            wall=lambda: self.wall,
            boot_id=self.boot_id,
            on_event=lambda name, facts: self.events.append((name, facts)),
            on_settled=self.settled.append,
            on_free=free,
            store=self._connect,
            **more,
        )
        return self.box

    def _connect(self, *args: Any, **kwargs: Any) -> sqlite3.Connection:
        self.connection = self.connect(*args, **kwargs)
        return self.connection

    def kill(self) -> None:
        """The process dies: nothing is flushed, the kernel keeps what was written."""
        self.connection.close()

    def reopen(self) -> Outbox:
        self.box.close()
        return self.open()

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.wall += seconds

    def said(self, name: str) -> list[dict[str, Any]]:
        return [facts for event, facts in self.events if event == name]


def order(number: int = 1, **changes: Any) -> Intent:
    """An order of its own price; ``number`` tells apart key, request, client id and price."""
    values: dict[str, Any] = {
        "bot_id": "bot",
        "connection_id": "rest",
        "lane": Lane.ORDER,
        "method": "POST",
        "target": "/api/v3/order",
        "body": f"symbol=BTCUSDT&price={50_000 + number}".encode(),
        "key": f"key-{number}",
        "request_id": f"request-{number}",
        "venue": "sandbox",
        "operation": "order.place",
        "symbol": "BTCUSDT",
        "side": "BUY",
        "client_order_id": f"js-{number}",
        "family": "order",
        "fields": {**FIELDS, "price": str(50_000 + number)},
        "is_entry": True,
        "signed": Signed.AGENT,
    }
    return Intent(**{**values, **changes})


def cancel(number: int = 1, **changes: Any) -> Intent:
    """A cancel by id: in the de-risking lane, repeatable, without a time to live."""
    values: dict[str, Any] = {
        "lane": Lane.DERISK,
        "method": "DELETE",
        "body": f"orderId={number}".encode(),
        "key": f"cancel-{number}",
        "request_id": f"cancel-request-{number}",
        "operation": "order.cancel",
        "client_order_id": "",
        "fields": {},
        "is_entry": False,
        "repeatable": True,
    }
    return order(number, **{**values, **changes})


def seq_of(result: object) -> int:
    """The number of what was admitted or accepted; anything else fails the test with what it was."""
    assert isinstance(result, Admitted | Accepted), result
    return result.seq
