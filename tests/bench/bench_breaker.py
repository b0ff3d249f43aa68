"""What a decision costs: breaker success, open rejection, admission, classification; beside four published breakers.

All in one run on one machine, best of several rounds each, nanoseconds per call. The peers (the extra ``bench`` of
pyproject.toml) are no dependency: they are installed into .bench/peers when the bench runs, and left out, saying so,
where that is not possible.

    python tests/bench/bench_breaker.py [--json rows.json] [--no-install]
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import subprocess
import sys
import timeit
import tomllib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "agent"), str(ROOT / "protocols")]

import msgspec  # noqa: E402

from jackstay_agent.breaker import CircuitBreaker, CircuitOpenError  # noqa: E402
from jackstay_agent.core.breaker import Breaker, BreakerSettings, Permit, Refusal  # noqa: E402
from jackstay_agent.core.classify import classify_answer  # noqa: E402
from jackstay_agent.core.loop_stop import LoopStop  # noqa: E402
from jackstay_agent.core.modes import Mode, Modes  # noqa: E402
from jackstay_agent.core.rate_limit import Admit, Ask, BudgetRule, GateScope, Limiter  # noqa: E402
from jackstay_protocols.errors import Lane  # noqa: E402
from jackstay_protocols.types import OrderClass  # noqa: E402

PEERS = ("pybreaker", "circuitbreaker", "aiobreaker", "purgatory")
FOLDER = ROOT / ".bench" / "peers"
ROUNDS, CALLS = 60, 1_000  # many short rounds: the best of them is the one that nobody interrupted
#: What is promised (nanoseconds); the others are there for comparison.
TARGETS = {
    "breaker: success": 1000,
    "breaker: open rejection as a value": 1000,
    "CircuitBreaker.call, sync": 1000,
    "CircuitBreaker.call, async": 1000,
    "admission in all: mode, loop stop, breaker, three budgets, four gates": 10_000,
}
Row = dict[str, Any]


def work() -> int:
    return 1


async def work_later() -> int:
    return 1


def best_ns(call: Callable[[], object], calls: int = CALLS) -> float:
    return min(timeit.repeat(call, number=calls, repeat=ROUNDS)) / calls * 1e9


def best_async_ns(make: Callable[[], Any], calls: int = CALLS) -> float:
    """Nanoseconds per awaited call, without the loop's own start."""

    async def run() -> float:
        best = float("inf")
        for _ in range(ROUNDS):
            began = timeit.default_timer()
            for _ in range(calls):
                await make()
            best = min(best, timeit.default_timer() - began)
        return best / calls * 1e9

    return asyncio.run(run())


# -- ours -----------------------------------------------------------------------------------------------------------


def _tripped() -> Breaker:
    breaker = Breaker()
    for _ in range(5):
        breaker.failure(breaker.acquire(0.0), 0.0)
    return breaker


def core_success(breaker: Breaker) -> Callable[[], object]:
    def call() -> None:
        permit = breaker.acquire(1.0)
        assert type(permit) is Permit
        breaker.success(permit, 1.0, 0.01)

    return call


def admission() -> Callable[[], object]:
    """Step 4 of the journey as the pipeline does it for an order, with the clock moving 10 ms a call."""
    modes, loops, breaker = Modes(), LoopStop(), Breaker()
    modes.hold(Mode.CONSERVATIVE, 0.0, holder="bench", why="the check is not skipped", until=1e9)
    loops.rejected(0.0, "venue", "another order", "insufficient_funds")
    rules = [
        BudgetRule("weight_1m", 1e6, 60),
        BudgetRule("orders_10s", 1e5, 10, reserved=0.0),
        BudgetRule("orders_1d", 1e8, 86_400, reserved=0.0),
    ]
    limiter = Limiter(rules)
    limiter.gate(0.0, GateScope.ENDPOINT, "another", retry_after_s=1e6, why="the gates are not skipped")
    gates = ((GateScope.IP, "ip"), (GateScope.KEY, "k"), (GateScope.ENDPOINT, "place"), (GateScope.ORDER_COUNT, "k"))
    ask = Ask(Lane.ORDER, (("weight_1m", "ip", 1), ("orders_10s", "k", 1), ("orders_1d", "k", 1)), gates)
    now = [1000.0]

    def call() -> None:
        now[0] += 0.01
        at = now[0]
        assert modes.refusal(at, Lane.ORDER, OrderClass.EXIT) is None
        assert loops.refusal(at, "venue", ("BTCUSDT", "BUY", "1.0", "50000")) is None
        assert type(breaker.acquire(at)) is Permit
        assert type(limiter.admit(at, ask, deadline_at=at + 5.0)) is Admit

    return call


ORDER = (
    b'{"symbol":"BTCUSDT","orderId":28,"orderListId":-1,"clientOrderId":"6gCrw2kRUAF9CvJDGP16IP","transactTime":'
    b'1507725176595,"price":"0.00000000","origQty":"10.00000000","executedQty":"10.00000000","status":"FILLED",'
    b'"timeInForce":"GTC","type":"MARKET","side":"SELL","fills":[{"price":"4000.00000000","qty":"1.00000000"}]}'
)
HEADERS = [(b"Date", b"x"), (b"Content-Type", b"application/json;charset=UTF-8"), (b"x-mbx-used-weight-1m", b"1")]


def ours() -> list[tuple[str, float]]:
    open_breaker = _tripped()
    assert isinstance(open_breaker.acquire(1.0), Refusal)
    rates = Breaker(BreakerSettings(failure_rate=0.5, slow_rate=0.9))
    public, shut = CircuitBreaker(), CircuitBreaker(1)
    shut.acquire().failure()

    def rejected() -> None:
        try:
            shut.call(work)
        except CircuitOpenError:
            pass

    decode = msgspec.json.decode
    return [
        ("bare call", best_ns(work)),
        ("breaker: success", best_ns(core_success(Breaker()))),
        ("breaker: success with rate and slow rules", best_ns(core_success(rates))),
        ("breaker: open rejection as a value", best_ns(lambda: open_breaker.acquire(1.0))),
        ("CircuitBreaker.call, sync", best_ns(lambda: public.call(work))),
        ("CircuitBreaker.call, async", best_async_ns(lambda: public.call(work_later))),
        ("CircuitBreaker.call, open (exception)", best_ns(rejected)),
        ("admission in all: mode, loop stop, breaker, three budgets, four gates", best_ns(admission())),
        ("classify: answer to a question", best_ns(lambda: classify_answer(200, HEADERS, ORDER, table="binance"))),
        (
            "classify: answer to an order, whole JSON checked",
            best_ns(lambda: classify_answer(200, HEADERS, ORDER, table="binance", is_order=True, loads=decode)),
        ),
    ]


# -- the peers ------------------------------------------------------------------------------------------------------


def requirement(name: str) -> str:
    """The peer as pyproject.toml asks for it."""
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    return next(each for each in wanted["bench"] if each.startswith(name))


def load(name: str, install: bool) -> Any:
    """The peer's module, or None (said on stdout)."""
    sys.path.append(str(FOLDER))
    try:
        return importlib.import_module(name)
    except ImportError:
        pass
    if install:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(FOLDER), requirement(name)]
        subprocess.run(command, check=False, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        importlib.invalidate_caches()
        try:
            return importlib.import_module(name)
        except ImportError:
            pass
    print(f"{name}: not here and not installable; left out")
    return None


def peer_pybreaker(module: Any) -> list[tuple[str, float]]:
    ok, shut = module.CircuitBreaker(fail_max=5), module.CircuitBreaker(fail_max=1, reset_timeout=3600)
    shut.open()

    def rejected() -> None:
        try:
            shut.call(work)
        except module.CircuitBreakerError:
            pass

    return [("success, sync", best_ns(lambda: ok.call(work))), ("open rejection", best_ns(rejected))]


def peer_circuitbreaker(module: Any) -> list[tuple[str, float]]:
    ok = module.CircuitBreaker(name="ok")
    guarded, guarded_later = ok(work), ok(work_later)
    shut = module.CircuitBreaker(failure_threshold=1, recovery_timeout=3600, name="shut")

    def fail() -> None:
        raise ValueError

    broken = shut(fail)

    def rejected() -> None:
        try:
            broken()
        except (ValueError, module.CircuitBreakerError):
            pass

    rejected()
    return [
        ("success, sync", best_ns(guarded)),
        ("success, async", best_async_ns(guarded_later)),
        ("open rejection", best_ns(rejected)),
    ]


def peer_aiobreaker(module: Any) -> list[tuple[str, float]]:
    ok, shut = module.CircuitBreaker(fail_max=5), module.CircuitBreaker(fail_max=1, timeout_duration=timedelta(hours=1))
    shut.open()

    def rejected() -> None:
        try:
            shut.call(work)
        except module.CircuitBreakerError:
            pass

    return [
        ("success, sync", best_ns(lambda: ok.call(work))),
        ("success, async", best_async_ns(lambda: ok.call_async(work_later))),
        ("open rejection", best_ns(rejected)),
    ]


def peer_purgatory(module: Any) -> list[tuple[str, float]]:
    breaker = asyncio.run(module.AsyncCircuitBreakerFactory().get_breaker("bench"))
    sync_breaker = module.SyncCircuitBreakerFactory().get_breaker("bench")

    def call() -> None:
        with sync_breaker:
            work()

    async def call_later() -> None:
        async with breaker:
            await work_later()

    shut = module.SyncCircuitBreakerFactory(default_threshold=1, default_ttl=3600).get_breaker("shut")

    def rejected() -> None:
        try:
            with shut:
                raise ValueError
        except (ValueError, importlib.import_module("purgatory.domain.model").OpenedState):
            pass

    rejected()
    return [
        ("success, sync", best_ns(call)),
        ("success, async", best_async_ns(call_later)),
        ("open rejection", best_ns(rejected)),
    ]


def peers(install: bool) -> list[tuple[str, float]]:
    rows = []
    for name in PEERS:
        module = load(name, install)
        if module is None:
            continue
        try:
            rows.extend((f"{name}: {what}", ns) for what, ns in globals()[f"peer_{name}"](module))
        except Exception as error:
            print(f"{name}: could not be driven ({type(error).__name__}: {error}); left out")
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the rows here")
    parser.add_argument("--no-install", action="store_true", help="use only peers that are installed already")
    options = parser.parse_args()
    figures = ours() + peers(not options.no_install)
    rows: list[Row] = []
    for way, ns in figures:
        target = TARGETS.get(way)
        met = None if target is None else ns <= target
        rows.append({"bench": "breaker", "way": way, "best_ns": round(ns), "target_ns": target, "met": met})
        mark = "" if met is None else f"   target {target} ns: {'met' if met else 'MISSED'}"
        print(f"{ns:9.0f} ns  {way}{mark}")
    if options.json:
        options.json.write_text(json.dumps(rows), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
