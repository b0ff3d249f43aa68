"""One booted systemd for a module, with a venue, two users for bots, and jackstay installed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from systemd.box import JACKSTAY, Box, missing

VENUE = "http://127.0.0.1:8787"
ROUTED = f"""
[agent]
socket_group = "jackstay"
allow_uids = [4001]
[upstreams]
"api.binance.com" = "{VENUE}"
[venues.binance]
live = false
[venues.binance.limits]
weight_1m = 0
orders_10s = 0
"""
VENUE_UNIT = f"""[Service]
Type=exec
ExecStart={JACKSTAY} sandbox --port 8787 --no-weights --quiet
"""
BOT_UNIT = """[Unit]
Description=bot
[Service]
Type=exec
User=trader
Environment=JACKSTAY_AGENT=a RATE=50
ExecStart=/opt/jackstay/bin/python /opt/src/tests/systemd/steady_bot.py /shared/bot.json ${RATE}
KillMode=mixed
TimeoutStopSec=60
"""


def prepared(box: Box) -> Box:
    """A venue unit (not started), a bot's unit, users, and the agents a and b."""
    box.write(
        "/etc/sysusers.d/traders.conf",
        'u trader 4001 "a bot" -\nu nosy 4002 "another" -\nm trader jackstay\nm nosy jackstay\n',
    )
    box.unit("venue.service", VENUE_UNIT)
    box.unit("bot.service", BOT_UNIT)
    box.install("a", bot_unit="bot.service")
    box.config("a", ROUTED)
    box.config("b", ROUTED)
    return box


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    if why := missing():
        pytest.skip(why)
    with Box() as booted:
        yield prepared(booted)
