"""A bot from scratch, the blocking way: a loop that says it lives, trades by the agent's key, and leaves with a word.

    jackstay exec --config agent.toml -- python scratch_bot.py 3

Each turn it looks at the price, keeps one order a little below it, and moves it when the market left. What deserves
copying is the frame: a lease that fits the rhythm, outcomes in three kinds, news of what no answer told, and a goodbye.
"""

from __future__ import annotations

import sys
import time
from decimal import Decimal
from urllib.parse import urlencode

import jackstay

SYMBOL = "BTCUSDT"
FORM = [("Content-Type", "application/x-www-form-urlencoded")]


class Bot:
    """One order, kept below the market."""

    def __init__(self, client: jackstay.Client) -> None:
        self.client = client
        self.order_id = ""
        self.order_price = Decimal(0)

    def turn(self) -> None:
        path = f"/api/v3/ticker/price?symbol={SYMBOL}"
        answer = self.client.request("GET", venue="binance", path=path, deadline_s=3)
        wanted = (Decimal(answer.json()["price"]) * Decimal("0.9")).quantize(Decimal("1"))
        if self.order_id and abs(wanted - self.order_price) < 500:
            return
        if self.order_id:
            self.cancel()
        self.place(wanted)

    def place(self, price: Decimal) -> None:
        order = {"symbol": SYMBOL, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.001"}
        try:
            answer = self.client.request(
                "POST",
                venue="binance",
                path="/api/v3/order",
                headers=FORM,
                body=urlencode(order | {"price": str(price)}),
                sign=True,
                deadline_s=5,
                tag="entry",
            )
        except (jackstay.Refused, jackstay.AgentGone) as error:
            print(f"nothing was sent: {error}", file=sys.stderr)
            return
        except (jackstay.OutcomeUnknown, jackstay.DeadlineExceeded):
            print("nobody knows: its outcome comes as news", file=sys.stderr)
            return
        if answer.verdict.outcome is jackstay.Outcome.OK:
            self.order_id, self.order_price = str(answer.json()["orderId"]), price
            print("placed at", price)
        else:
            print("the venue says no:", answer.text, file=sys.stderr)

    def cancel(self) -> None:
        one = urlencode({"symbol": SYMBOL, "orderId": self.order_id})
        self.client.request("DELETE", venue="binance", path=f"/api/v3/order?{one}", sign=True, deadline_s=5)
        print("cancelled", self.order_id)
        self.order_id = ""


def main(turns: int) -> int:
    with jackstay.Client(bot_id="scratch", beat_within_s=5) as client:
        bot = Bot(client)
        for turn in range(turns):
            bot.turn()
            client.progress(turn)
            client.idle(2)  # the next word comes within two seconds
            time.sleep(0.1)
        for late in client.outcomes(timeout_s=0):
            print("late news:", late)
        bot.cancel()
        client.close(orders="keep", reason="done")
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 3))
