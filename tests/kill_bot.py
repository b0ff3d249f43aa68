"""A bot for the kill tests: posts and requests orders for ever and writes down, unbuffered, what it was told.

    python kill_bot.py AGENT RUNTIME_DIR LIFE

Lines on stdout: ``intends NAME``, ``accepted NAME INTENT``, ``told NAME OUTCOME`` (the answer itself), ``late INTENT
OUTCOME`` (an outcome that came as news). A line is written before the outcome is acknowledged.
"""

from __future__ import annotations

import os
import sys
from urllib.parse import urlencode

import jackstay
from intended import FORM, HOST, ORDER, order_of
from jackstay_protocols.errors import Outcome, TradingBotError


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def run(agent: str, runtime_dir: str, life: str) -> None:
    client = jackstay.Client(agent, runtime_dir=runtime_dir, bot_id="killed", connect_timeout_s=5.0)
    number = int(life) * 5_000
    while True:
        number += 1
        name = f"k{life}-{number}"
        body = urlencode(order_of(name, number)).encode()
        say("intends", name)
        try:
            if number % 2:
                posted = client.post(
                    "POST", f"{HOST}{ORDER}", headers=FORM, body=body, sign=True, ttl_s=60, deadline_s=2
                )
                say("accepted", name, posted.id)
            else:
                answer = client.request("POST", f"{HOST}{ORDER}", headers=FORM, body=body, sign=True, deadline_s=2)
                say("told", name, answer.verdict.outcome)
        except TradingBotError as error:
            outcome = error.outcome or Outcome.FAILED
            say("told", name, outcome)
        try:
            for late in client.outcomes(0.0):
                say("late", late.id, late.outcome)
        except TradingBotError:
            pass  # the agent is away just now


if __name__ == "__main__":
    run(*sys.argv[1:4])
