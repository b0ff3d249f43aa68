"""What of a status asks for attention: each finding alone, from plain values as `status` gives them."""

from __future__ import annotations

from typing import Any

import pytest

from jackstay_agent.core.attention import Attention, Level, attention, healthy

ORIGIN = "https://api.binance.com"
CLOSED = {"state": "closed", "why": ""}


def at_venue(**facts: Any) -> dict[str, Any]:
    return {"upstreams": {ORIGIN: facts}}


def bot(state: str, **facts: Any) -> dict[str, Any]:
    return {"watchdog": {"bots": {"grid1": {"state": state, "why": "silent", "hold": None, **facts}}}}


GATE = {"scope": "ip", "whose": "ip", "left_s": 29.6, "why": "429", "ban": False}
WARNS = [
    ({"state": "draining"}, "draining", "logs"),
    (bot("late"), "grid1 is late: silent", "bot list"),
    (bot("stalled"), "grid1 is stalled", "bot list"),
    (bot("dead", why=""), "grid1 is dead: no reason told", "bot list"),
    ({"watchdog": {"cancelling": {"grid1": ["7"]}}}, "grid1 are being cancelled", "bot list"),
    ({"barriers": [{"bot": "grid1"}]}, "entries of grid1 wait", "barrier"),
    ({"queue": {"open": {"unknown": 1}, "oldest_unknown_s": 3.2}}, "1 order is unknown, the oldest for 3 s", "orders"),
    ({"queue": {"open": {"unknown": 2}}}, "2 orders are unknown", "orders unknown"),
    ({"queue": {"degraded": "disk full"}}, "disk full", "doctor"),
    ({"queue": {"lines": {ORIGIN: {"phase": "unproven"}}}}, "queued for api.binance.com", "queue list"),
    ({"deadman": [{"venue": "okx", "symbol": "", "state": "lapsed"}]}, "switch of okx was", "deadman status"),
    (
        {"modes": [{"venue": "*", "mode": "halted", "by": "uid 0", "why": "x"}]},
        "every venue is halted by uid 0",
        "mode",
    ),
    ({"modes": [{"venue": "okx", "mode": "halted", "by": "a", "why": "x"}]}, "okx is halted by a: x", "mode"),
    (at_venue(breakers={"orders": {"state": "open", "why": "5 in a row"}}), "orders is open: 5 in a row", "breakers"),
    (at_venue(limits={"gates": [GATE]}), "gate at api.binance.com for ip ip, 30 s left: 429", "limits"),
    (at_venue(limits={"gates": [GATE | {"ban": True}]}), "ban at api.binance.com", "limits"),
    (at_venue(pool={"live": 0, "last_error": "refused"}), "api.binance.com is not reached: refused", "connections"),
    ({"user_streams": {"okx": {"state": "backoff", "last_error": "dns"}}}, "okx does not tell", "connections list"),
    ({"feeds": {"spot": {"sockets": [{"topics": 1, "quality": 0.0}]}}}, "spot has no data: not", "feeds show spot"),
    ({"audit": {"state": "degraded: disk full"}}, "audit log is degraded: disk full", "doctor"),
    ({"state_monitor": {"standing": 2, "kinds": {"orphan": 2}}}, "differ: 2 orphan", "state diff"),
    (
        {"preset": "directional", "powers": {"problems": ["no key may cancel at okx"]}},
        "preset directional is armed, and no key may cancel at okx",
        "watchdog",
    ),
]
NOTES = [
    ({"requests": {"broken": 1}}, "1 calls", "logs"),
    (bot("held", hold={"by": "uid 0", "why": "a breakpoint"}), "grid1 is held by uid 0: a breakpoint", "bot list"),
    (at_venue(breakers={"orders": {"state": "disabled", "why": ""}}), "orders is disabled", "breakers"),
    (
        {"feeds": {"spot": {"sockets": [{"topics": 1, "quality": 0.0}, {"topics": 1, "quality": 1.0}]}}},
        "1 of 2 sockets",
        "feeds show spot",
    ),
    ({"recovery": {"running": [{"scenario": "partial_fill", "what": "7"}]}}, "partial_fill is recovering 7", "recover"),
    ({"patterns": {"open": 3}}, "3 patterns", "patterns list"),
]
WELL = [
    {},
    {"state": "running", "requests": {"broken": 0}},
    {"preset": "observe", "powers": {"problems": ["no key may cancel at okx"]}},
    bot("well"),
    bot("left"),
    {"queue": {"open": {"unknown": 0}, "degraded": None, "lines": {ORIGIN: {"phase": "flushing"}}}},
    {"deadman": [{"venue": "okx", "symbol": "", "state": "armed"}], "modes": [{"venue": "okx", "mode": "normal"}]},
    at_venue(breakers={"orders": CLOSED}, limits={"gates": []}, pool={"live": 2, "last_error": "an old one"}),
    at_venue(pool={"live": 0, "last_error": ""}),
    {"user_streams": {"okx": {"state": "live"}}, "feeds": {"spot": {"sockets": [{"topics": 0, "quality": 0.0}]}}},
    {"watchdog": {"cancelling": {"grid1": []}}, "audit": {"state": "writing"}, "state_monitor": {"standing": 0}},
]


@pytest.mark.parametrize(("facts", "what", "see"), WARNS)
def test_what_keeps_requests_back_is_unhealthy(facts: dict[str, Any], what: str, see: str) -> None:
    """One warning that says what, and where to go on."""
    (found,) = attention(facts)
    assert found.level is Level.WARN
    assert what in found.what
    assert found.see.startswith(see)
    assert not healthy([found])


@pytest.mark.parametrize(("facts", "what", "see"), NOTES)
def test_what_is_worth_knowing_leaves_an_agent_healthy(facts: dict[str, Any], what: str, see: str) -> None:
    """One note."""
    (found,) = attention(facts)
    assert found.level is Level.NOTE
    assert what in found.what
    assert found.see.startswith(see)
    assert healthy([found])


@pytest.mark.parametrize("facts", WELL)
def test_an_agent_that_is_well_asks_for_nothing(facts: dict[str, Any]) -> None:
    """Nothing found, also where an older agent tells less."""
    assert attention(facts) == []


def test_warnings_come_before_notes() -> None:
    """The first line is what keeps requests back."""
    found = attention({"requests": {"broken": 1}, "queue": {"open": {"unknown": 1}}})
    assert [each.level for each in found] == [Level.WARN, Level.NOTE]


@pytest.mark.parametrize(("see", "typed"), [("mode", "jackstay mode -a m"), ("doctor", "jackstay doctor m")])
def test_the_command_to_go_on_with_can_be_typed(see: str, typed: str) -> None:
    """It names the agent as that command wants it."""
    assert Attention(Level.WARN, "x", see).command("m") == typed
