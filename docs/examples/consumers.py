"""Four short consumers of the shared words: a bot's data, strategy, risk and exchange modules, joined in `main`.

    jackstay exec -c agent.toml -- python consumers.py

Each module knows its own trouble and says it in the shared words (`DataError`, `ModelError`, `RiskManagementError`,
`ExecutionError`, `OutcomeUnknown`), with the library's exception as its cause. One `ErrorHandler` counts and classifies
for all of them, and what is loud is told to the agent. What differs is what each does about it:

* data: a question, so it is retried, behind a breaker; a price that makes no sense is no price;
* strategy: pure arithmetic, so an error is a fault of the model: no order, ever;
* risk: says no; a no is no failure and trips nothing;
* exchange: an order without an answer is *unknown*: it asks the venue by its own id and never sends it again.
"""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

import ccxt

import jackstay
from jackstay_agent import (
    Config,
    ErrorHandler,
    circuit_breaker,
    error_handler_decorator,
    retry,
    time_execution,
)
from jackstay_protocols.errors import (
    DataError,
    ExchangeError,
    ExecutionError,
    ModelError,
    Outcome,
    OutcomeUnknown,
    RiskManagementError,
    TradingBotError,
)
from jackstay_protocols.types import MarketData, OrderRequest

SYMBOL = "BTC/USDT"
CONFIG = Config()  # severities and policies as shipped: risk, exchange and execution errors are HIGH, so they are told


class DataModule:
    """Prices. A question may be asked again; an answer is believed only if it makes sense."""

    def __init__(self, exchange: ccxt.Exchange, handler: ErrorHandler) -> None:
        self._exchange = exchange
        self.breaker = handler.circuit_breaker("api_calls", failures=(ExchangeError,))
        handled = error_handler_decorator(CONFIG, "data", handler=handler)
        self.latest = retry(
            circuit_breaker(handled(self._latest), breaker=self.breaker),
            on=(ExchangeError,),
            attempts_max=3,
            base_s=0.2,
        )

    def _latest(self, symbol: str) -> MarketData:
        try:
            book = self._exchange.fetch_order_book(symbol, 5)
        except ccxt.NetworkError as error:
            raise ExchangeError(f"no order book of {symbol}", outcome=Outcome.FAILED) from error
        try:
            bid, ask = (Decimal(str(book[side][0][0])) for side in ("bids", "asks"))
        except (LookupError, TypeError, InvalidOperation) as error:
            raise DataError(f"the order book of {symbol} has an empty side") from error
        if not 0 < bid < ask:
            raise DataError(f"the order book of {symbol} is crossed: bid {bid}, ask {ask}")
        return MarketData(symbol, datetime.now(UTC), bid=bid, ask=ask, source=str(self._exchange.id))


class StrategyModule:
    """Decides; touches nothing. What it cannot compute it does not trade."""

    def __init__(self, handler: ErrorHandler, discount: Decimal = Decimal("0.5")) -> None:
        self._discount = discount
        self.decide = time_execution(
            error_handler_decorator(CONFIG, "strategy", handler=handler)(self._decide), warn_over_s=0.05
        )

    def _decide(self, seen: MarketData, quantity: Decimal) -> OrderRequest:
        if seen.bid is None:
            raise ModelError(f"no bid for {seen.symbol}: nothing to decide on")
        price = (seen.bid * self._discount).quantize(Decimal("0.01"))
        if price <= 0:
            raise ModelError(f"the model says {price} for {seen.symbol}; a price above zero is expected")
        return OrderRequest(seen.symbol, "buy", "limit", quantity, price, client_order_id=f"ex-{uuid.uuid4().hex[:20]}")


class RiskModule:
    """Says no. The one place that knows the limits."""

    def __init__(self, handler: ErrorHandler, notional_max: Decimal) -> None:
        self._notional_max = notional_max
        self.approve = error_handler_decorator(CONFIG, "risk", handler=handler)(self._approve)

    def _approve(self, order: OrderRequest) -> OrderRequest:
        if order.price is None:
            raise RiskManagementError(f"an order of {order.symbol} without a price has no bound on its cost")
        notional = order.quantity * order.price
        if notional > self._notional_max:
            raise RiskManagementError(
                f"{order.symbol}: {notional} is above the limit of {self._notional_max} an order",
                details={"notional": str(notional), "notional_max": str(self._notional_max)},
            )
        return order


class ExchangeModule:
    """Orders. Three answers: it stands, it was refused, nobody knows yet; the third one is asked about."""

    def __init__(self, exchange: ccxt.Exchange, handler: ErrorHandler) -> None:
        self._exchange = exchange
        self.place = error_handler_decorator(CONFIG, "exchange", handler=handler)(self._place)
        self.cancel = error_handler_decorator(CONFIG, "exchange", handler=handler)(self._cancel)

    def _place(self, order: OrderRequest) -> str:
        """The venue's id. Raises ExecutionError (it does not stand) or OutcomeUnknown (even the venue did not say)."""
        try:
            # ccxt takes floats; they are made from exact decimals here, at the edge, and nowhere else.
            placed = self._exchange.create_order(
                order.symbol,
                order.order_type,
                order.side,
                float(order.quantity),
                float(order.price) if order.price is not None else None,
                {"newClientOrderId": order.client_order_id},
            )
        except (ccxt.InsufficientFunds, ccxt.InvalidOrder) as error:
            raise ExecutionError(f"{order.symbol} was refused", outcome=Outcome.REJECTED) from error
        except ccxt.NetworkError as error:
            return self._ask_about(order, error)
        return str(placed["id"])

    def _ask_about(self, order: OrderRequest, lost: ccxt.NetworkError) -> str:
        try:
            found = self._exchange.fetch_order(None, order.symbol, {"origClientOrderId": order.client_order_id})
        except ccxt.OrderNotFound:
            raise ExecutionError(f"{order.symbol} did not reach the venue", outcome=Outcome.FAILED) from lost
        except ccxt.NetworkError as error:
            raise OutcomeUnknown(
                f"{order.client_order_id} may stand at the venue; ask again before anything else",
                outcome=Outcome.UNKNOWN,
            ) from error
        return str(found["id"])

    def _cancel(self, order_id: str, symbol: str) -> str:
        try:
            return str(self._exchange.cancel_order(order_id, symbol)["status"])
        except ccxt.NetworkError as error:  # a cancel by id may be repeated: cancelled twice is cancelled
            raise ExchangeError(f"cancel of {order_id}: no answer; repeat it", outcome=Outcome.UNKNOWN) from error


def telling(client: jackstay.Client) -> Callable[[Any], None]:
    """Loud errors go to the agent: short, because the bot's error path must not wait for anybody."""

    def tell(event: Any) -> None:
        client.report_error(
            event.message,
            component=event.component,
            operation=event.operation,
            error_type=event.error_type,
            severity=event.severity,
            details={"kind": event.kind, "error_id": event.error_id, "causes": list(event.causes)},
            timeout_s=0.5,
        )

    return tell


def attached() -> ccxt.binance:
    exchange = ccxt.binance(
        {
            "apiKey": os.environ.get("SANDBOX_KEY", "sandbox-key"),
            "secret": os.environ.get("SANDBOX_SECRET", "sandbox-secret"),
            "timeout": 5000,
            "options": {"fetchMarkets": {"types": ["spot"]}, "fetchCurrencies": False, "fetchMargins": False},
        }
    )
    jackstay.attach(exchange)
    exchange.load_markets()
    return exchange


def main(quantities: list[str]) -> int:
    """One round of the four modules for each quantity; an error of one round is no reason to skip the next."""
    exchange = attached()
    with jackstay.Client() as client:
        handler = ErrorHandler(CONFIG, on_event=telling(client), log=False)
        data, strategy = DataModule(exchange, handler), StrategyModule(handler)
        risk, venue = RiskModule(handler, notional_max=Decimal(1000)), ExchangeModule(exchange, handler)
        for quantity in quantities:
            try:
                order = risk.approve(strategy.decide(data.latest(SYMBOL), Decimal(quantity)))
                order_id = venue.place(order)
                print(quantity, "placed", order_id, "then", venue.cancel(order_id, SYMBOL))
            except TradingBotError as error:
                cause = type(error.__cause__).__name__ if error.__cause__ is not None else "-"
                print(quantity, type(error).__name__, f"outcome={error.outcome}", f"cause={cause}")
        print("breakers", handler.get_circuit_breaker_status())
        print("patterns", sorted(handler.get_error_patterns()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["0.001"]))
