"""Ways in which the pictures of an account come apart, each alone or together, and what each has to be called."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from jackstay_agent.core.account import Order, Stage
from sandbox_client import limit_order
from state_world import StateWorld, own_price

View = dict[str, dict[str, Any]]


async def _nothing(_world: StateWorld) -> None:
    """Nothing has to be there before."""


def _as_it_is(_view: View) -> None:
    """The bot's picture is right."""


@dataclass(frozen=True)
class Divergence:
    """``prepare`` while all agree, ``view`` changes the bot's report, ``spoil`` once it was sent; then ``name``d so.

    ``trades``: it is spoilt by an order of a bot, which has to go before a policy may stop entries.
    """

    kind: str
    subject: str
    prepare: Callable[[StateWorld], Awaitable[None]] = _nothing
    view: Callable[[View], None] = _as_it_is
    spoil: Callable[[StateWorld], Awaitable[None]] = _nothing
    trades: bool = False


async def _order(world: StateWorld, client_id: str) -> None:
    answer = await world.place(client_id)
    assert answer.status == 200, answer.text


async def _ghost(world: StateWorld) -> None:
    books = world.agent.state.books
    books.adopt(Order("binance", "BTCUSDT", "gone-1", "999999", "plain", "buy", quantity=Decimal(1), bot_id="bot"))


async def _orphan(world: StateWorld) -> None:
    await world.hand_order("own-lost")


async def _untold_cancel(world: StateWorld) -> None:
    world.sandbox.admin.fault("stream_drop", match={"C": "status-1"})
    await world.hand_cancel("status-1")


async def _untold_fill(world: StateWorld) -> None:
    world.sandbox.admin.fault("stream_drop", match={"c": "fill-1"})
    order = {
        "symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.001", "newClientOrderId": "fill-1",
        "newOrderRespType": "RESULT",
    }  # fmt: skip
    answer = await world.call("POST", "/api/v3/order", order)
    assert answer.json()["status"] == "FILLED", answer.text


async def _wrong_balance(world: StateWorld) -> None:
    wrong = {"venue": "binance", "balances": {"ETH": "7"}, "complete": False}
    await world.bot.report_state("balances", wrong)


async def _wrong_position(world: StateWorld) -> None:
    wrong = {"venue": "binance-usdm", "positions": [{"symbol": "BTCUSDT", "quantity": "-0.5"}]}
    await world.bot.report_state("positions", wrong)


async def _stale(world: StateWorld) -> None:
    old = world.client("old")
    await old.report_state("orders", {"venue": "binance", "orders": [], "as_of_ms": world_ms(world) - 60_000})
    order = limit_order("stale-1", price=str(own_price("stale-1")))
    assert (await world.call("POST", "/api/v3/order", order, old)).status == 200


def world_ms(world: StateWorld) -> int:
    return int(world.ports.wall() * 1000)


async def _rewritten(world: StateWorld) -> None:
    """The agent takes an order for cancelled that the venue has open."""
    known = world.books("back-1")
    from dataclasses import replace

    world.agent.state.books.adopt(replace(known, stage=Stage.CANCELLED))


async def _damage(world: StateWorld) -> None:
    """Somebody's bits fall over in the file."""
    await world.agent.state._flush()
    file = world.agent.state._file
    assert file is not None
    done = file._submit(lambda: file._open_conn().execute("UPDATE orders SET row=x'00' WHERE client_id='damage-1'"))
    await world.agent.state.wait(done)


async def _backwards(world: StateWorld) -> None:
    """A report that was overtaken by a later one."""
    await world.bot.report_state("orders", {"venue": "binance", "orders": [], "sequence": 1})


async def _unreachable(world: StateWorld) -> None:
    world.sandbox.admin.fault("answer", route="GET /fapi/v1/openAlgoOrders", status=503, body="<html>busy</html>")


def _places(client_id: str) -> Callable[[StateWorld], Awaitable[None]]:
    async def place(world: StateWorld) -> None:
        await _order(world, client_id)

    return place


def _without(client_id: str) -> Callable[[View], None]:
    return lambda view: view.pop(client_id) and None


def _with(client_id: str, **fields: Any) -> Callable[[View], None]:
    return lambda view: view.setdefault(client_id, {"client_order_id": client_id, "symbol": "BTCUSDT"}).update(fields)


DIVERGENCES = {
    "missing_at_venue": Divergence("missing_at_venue", "gone-1", view=_with("gone-1"), spoil=_ghost),
    "missing_to_bot": Divergence("missing_at_venue", "dream-1", view=_with("dream-1")),
    "unknown_to_bot": Divergence("unknown_to_bot", "unseen-1", _places("unseen-1"), _without("unseen-1")),
    "orphan": Divergence("orphan", "own-lost", spoil=_orphan),
    "status": Divergence("status", "status-1", _places("status-1"), spoil=_untold_cancel),
    "quantity": Divergence("quantity", "size-1", _places("size-1"), _with("size-1", quantity="0.5")),
    "fill_missing": Divergence("fill_missing", "", spoil=_untold_fill, trades=True),
    "stale_view": Divergence("stale_view", "report of old", spoil=_stale, trades=True),
    "impossible_transition": Divergence("impossible_transition", "back-1", _places("back-1"), spoil=_rewritten),
    "checksum": Divergence("checksum", "state file", _places("damage-1"), spoil=_damage),
    "sequence_regression": Divergence("sequence_regression", "report of bot", spoil=_backwards),
    "balance": Divergence("balance", "ETH", spoil=_wrong_balance),
    "position": Divergence("position", "BTCUSDT", spoil=_wrong_position),
    "unverifiable": Divergence("unverifiable", "orders", spoil=_unreachable),
}


async def diverge(world: StateWorld, names: tuple[str, ...]) -> None:
    """All of these at once, after a moment in which everything agreed."""
    chosen = [DIVERGENCES[name] for name in names]
    for each in chosen:
        await each.prepare(world)
    await world.settled()
    assert await world.check() == [], "all agree before"
    view: View = {
        order.client_id: {"client_order_id": order.client_id, "symbol": order.symbol}
        for order in world.agent.state.books.of_bot("binance", "bot")
        if order.live
    }
    for each in chosen:
        each.view(view)
    for each in chosen:
        if each.trades:
            await each.spoil(world)
    report = {"venue": "binance", "orders": list(view.values()), "sequence": 10}
    await world.bot.report_state("orders", report)
    for each in chosen:
        if not each.trades:
            await each.spoil(world)
    await world.settled()


def expected(names: tuple[str, ...]) -> list[tuple[str, str]]:
    return sorted((DIVERGENCES[name].kind, DIVERGENCES[name].subject) for name in names)


def named(found: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """A fill's subject is its trade id, which only the venue knows before."""
    return sorted((each["kind"], "" if each["kind"] == "fill_missing" else each["subject"]) for each in found)
