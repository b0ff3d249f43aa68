"""One seed and a virtual clock give one history, without sockets: what a simulation stands on."""

from __future__ import annotations

import os
import subprocess
import sys

SCRIPT = """
import hashlib, hmac, sys
from random import Random
from jackstay_agent.sandbox.answers import Call, form
from jackstay_agent.sandbox.faces import binance_spot, usdm
from jackstay_agent.sandbox.faults import FaultBox
from jackstay_agent.sandbox.venue import Venue

seed, now = int(sys.argv[1]), [1_700_000_000_000]
clock = lambda: now[0]
spot = Venue(seed=seed, clock=clock)
markets = [(spot, binance_spot.answer, "/api/v3/order"),
           (Venue(kind="usdm", seed=seed, clock=clock, beside=spot), usdm.answer, "/fapi/v1/order")]
history, faults, chance = hashlib.sha256(), FaultBox(seed), Random(seed)
faults.arm({"kind": "answer", "probability": 0.5}, clock())
for venue, _, _ in markets:
    venue.on_event.append(lambda event: history.update(repr(event).encode()))
    venue.open_books()
for number in range(400):
    now[0] += chance.randrange(100)
    venue, answer, path = chance.choice(markets)
    venue.tick()
    query = f"symbol=BTCUSDT&side={chance.choice(('BUY', 'SELL'))}&type=LIMIT&timeInForce=GTC&quantity=0.01"
    query += f"&price={50_000 + chance.randint(-30, 30)}&timestamp={clock()}"
    query += "&signature=" + hmac.digest(b"sandbox-secret", query.encode(), "sha256").hex()
    told = answer(venue, Call("POST", path, query, b"", {"X-MBX-APIKEY": "sandbox-key"}, form(query), clock()))
    assert told.status in (200, 429), told.body
    history.update(told.body)
    history.update(repr(faults.pick("GET", "/", "", 1, clock()) is not None).encode())
    venue.publish()
print(history.hexdigest())
"""


def history(seed: int, hash_seed: str) -> str:
    """The digest of every event, answer and fault of a run in a fresh interpreter."""
    environment = os.environ | {"PYTHONHASHSEED": hash_seed}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(seed)], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_a_seed_is_a_history() -> None:
    """Twice the same in interpreters that hash differently; another one under another seed."""
    first = history(1, "1")
    assert history(1, "2") == first
    assert history(2, "1") != first
