"""An operator's word on breakers, limits and modes, as the command line takes it and the venue's ledger shows it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

import jackstay
from e2e_bot import HOST, KEY, client_for, order_params, routed, signed
from harness import AgentProcess, cli
from jackstay_agent.control import ask
from jackstay_agent.sandbox import SandboxProcess
from jackstay_protocols.errors import Refused

HEADERS = [("X-MBX-APIKEY", KEY), ("Content-Type", "application/x-www-form-urlencoded")]


@pytest.fixture
def own_agent(sandbox: SandboxProcess) -> Iterator[AgentProcess]:
    with AgentProcess(routed(sandbox.url, '[venues.binance.classes]\nprefixes = { "out-" = "exit" }\n')) as running:
        yield running


@pytest.fixture
def client(own_agent: AgentProcess) -> Iterator[jackstay.Client]:
    with client_for(own_agent) as made:
        yield made


def order(client: jackstay.Client, client_id: str, *, tag: str = "", **changes: str) -> jackstay.Response:
    body = signed(order_params(client_id) | changes).encode()
    return client.request("POST", f"{HOST}/api/v3/order", headers=HEADERS, body=body, tag=tag, deadline_s=5)


def cancel(client: jackstay.Client, client_id: str) -> jackstay.Response:
    query = signed({"symbol": "BTCUSDT", "origClientOrderId": client_id})
    return client.request("DELETE", f"{HOST}/api/v3/order?{query}", headers=HEADERS, deadline_s=5)


def told(agent: AgentProcess, *words: str) -> Any:
    done = cli(*words, "--json", runtime_dir=agent.runtime_dir)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def desk(agent: AgentProcess, verb: str, **args: Any) -> dict[str, Any]:
    return ask(agent.runtime_dir / agent.name / "control.sock", verb, args)


def refused(call: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        call()
    return caught.value


def test_conservative_stops_entries_and_lets_the_ways_out_pass(
    sandbox: SandboxProcess, own_agent: AgentProcess, client: jackstay.Client
) -> None:
    """By the bot's tag, the client id's prefix, and the side on a spot market; the refusal names who, why and when."""
    assert order(client, "before").status == 200
    held = told(own_agent, "mode", "hold", "binance", "conservative", "--for", "30m", "--why", "CPI")
    assert held["holds"][0]["mode"] == "conservative"
    assert 1790 < held["holds"][0]["left_s"] <= 1800
    no = refused(lambda: order(client, "entry"))
    assert no.reason == "mode"
    assert "conservative" in str(no)
    assert "CPI" in str(no)
    assert "class entry" in str(no)
    assert no.retry_after_s == pytest.approx(1800, abs=10)
    assert order(client, "tagged", tag="hedge: leg 2").status == 200
    assert order(client, "out-1").status == 200
    assert order(client, "sale", side="SELL", price="70000.00").status == 200
    assert refused(lambda: order(client, "worse", tag="entry", side="SELL", price="71000.00")).reason == "mode"
    assert cancel(client, "before").status == 200
    assert client.request("GET", f"{HOST}/api/v3/time").status == 200
    assert own_agent.status()["modes"][0]["why"] == "CPI"
    released = told(own_agent, "mode", "release", "binance", "--why", "over")
    assert released["holds"] == []
    assert order(client, "after").status == 200
    placed = {row["client_order_id"] for row in sandbox.admin.ledger(method="POST")}
    assert placed == {"before", "tagged", "out-1", "sale", "after"}
    assert [event["mode"] for event in own_agent.events("mode.held")] == ["conservative"]
    assert own_agent.events("operator.mode_held")[0]["by"].startswith("uid ")


def test_halted_everywhere_and_post_only(own_agent: AgentProcess, client: jackstay.Client) -> None:
    """A hold over all venues holds at this one; post-only lets resting orders through and nothing else."""
    told(own_agent, "mode", "hold", "--all", "halted", "--why", "something is wrong")
    assert refused(lambda: order(client, "out-2")).reason == "mode"
    assert cancel(client, "none").status == 400
    told(own_agent, "mode", "hold", "--all", "post-only", "--why", "reopening")
    no = refused(lambda: order(client, "taker", tag="exit"))
    assert "post-only" in str(no)
    assert order(client, "maker", type="LIMIT_MAKER", timeInForce="").status in (200, 400), "it reached the venue"
    told(own_agent, "mode", "hold", "--all", "normal", "--why", "fine again")
    assert order(client, "normal").status == 200


def test_a_second_operator_takes_the_firsts_word_back_and_only_that(
    own_agent: AgentProcess, client: jackstay.Client
) -> None:
    """Nothing is released that nobody held, and unknown venues are named."""
    done = cli("mode", "release", "binance", "--why", "x", runtime_dir=own_agent.runtime_dir)
    assert done.returncode == 1
    assert "no operator holds a mode over binance" in done.stderr
    done = cli("mode", "hold", "binnance", "halted", "--why", "x", runtime_dir=own_agent.runtime_dir)
    assert done.returncode == 1
    assert "binance, " in done.stderr
    assert "conservative" in refused(lambda: desk(own_agent, "mode.hold", venue="binance", mode="odd", why="x")).args[0]
    for for_s in (0, -1, "soon", 1e9, True):
        assert "for_s" in str(
            refused(lambda f=for_s: desk(own_agent, "mode.hold", all=True, mode="halted", why="x", for_s=f))
        )
    assert "why is missing" in str(refused(lambda: desk(own_agent, "mode.hold", all=True, mode="halted")))


def test_a_tripped_class_stops_alone_and_cancels_pass(own_agent: AgentProcess, client: jackstay.Client) -> None:
    """Orders are shut for ten minutes, market data goes on; reset closes it again."""
    assert order(client, "open").status == 200
    words = ("breakers", "trip", "binance", "--class", "orders", "--for", "10m", "--why", "wrong fills")
    (line,) = told(own_agent, *words)["breakers"]
    assert (line["state"], line["class"]) == ("forced_open", "orders")
    assert 590 < line["left_s"] <= 600
    no = refused(lambda: order(client, "shut"))
    assert no.reason == "breaker_open"
    assert no.retry_after_s == pytest.approx(600, abs=10)
    assert client.request("GET", f"{HOST}/api/v3/time").status == 200
    assert cancel(client, "open").status == 200
    shown = cli("breakers", runtime_dir=own_agent.runtime_dir)
    assert "forced_open" in shown.stdout
    assert "wrong fills" in shown.stdout
    told(own_agent, "breakers", "reset", "--all", "--why", "fixed")
    assert order(client, "again").status == 200
    words_told = [event["word"] for event in own_agent.events("operator.breakers")]
    assert words_told == ["trip", "reset"]


def test_a_disabled_breaker_lets_failures_pass(
    sandbox: SandboxProcess, own_agent: AgentProcess, client: jackstay.Client
) -> None:
    """Twenty 503s in a row and every question still reaches the venue."""
    page = {"status": 503, "body": "<html>no</html>", "headers": [["Content-Type", "text/html"]]}
    assert client.request("GET", f"{HOST}/api/v3/time").status == 200
    told(own_agent, "breakers", "disable", "api.binance.com", "--for", "1h", "--why", "spurious 503s")
    sandbox.admin.fault("answer", route="GET /api/v3/time", **page)
    for _ in range(20):
        assert client.request("GET", f"{HOST}/api/v3/time", deadline_s=0.3).status == 503
    assert len([row for row in sandbox.admin.ledger() if row["status"] == 503]) >= 20
    states = {each["class"]: each["state"] for each in told(own_agent, "breakers", "list")["breakers"]}
    assert set(states.values()) == {"disabled"}


def test_wrong_words_about_breakers_name_what_there_is(own_agent: AgentProcess, client: jackstay.Client) -> None:
    """A host nobody asked, a class that is none, a reset with a duration, no word of which."""
    client.request("GET", f"{HOST}/api/v3/time")
    assert "api.binance.com orders" in str(
        refused(lambda: desk(own_agent, "breakers.force", upstream="kraken", word="trip", why="x"))
    )
    assert "no breaker fits" in str(
        refused(
            lambda: desk(own_agent, "breakers.force", upstream="binance", word="trip", why="x", **{"class": "cats"})
        )
    )
    assert "no duration" in str(
        refused(lambda: desk(own_agent, "breakers.force", all=True, word="reset", why="x", for_s=3))
    )
    assert "which breakers" in str(refused(lambda: desk(own_agent, "breakers.force", word="trip", why="x")))
    assert "trip, reset" in str(refused(lambda: desk(own_agent, "breakers.force", all=True, word="kick", why="x")))
    for words in (("breakers", "trip", "--why", "x"), ("breakers", "trip", "binance", "--for", "soon", "--why", "x")):
        assert cli(*words, runtime_dir=own_agent.runtime_dir).returncode == 2


def test_limits_show_budgets_and_gates_and_an_operator_opens_them(
    sandbox: SandboxProcess, own_agent: AgentProcess, client: jackstay.Client
) -> None:
    """A 429's gate is opened by word; a ban only if that is said too."""
    sandbox.admin.fault("rate_limit", route="GET /api/v3/time", count=1, duration_s=60)
    client.request("GET", f"{HOST}/api/v3/time")
    (one,) = told(own_agent, "limits")["upstreams"]
    assert (one["gates"][0]["scope"], one["venue"]) == ("ip", "binance")
    assert any(budget["budget"] == "weight_1m" for budget in one["budgets"])
    assert "gate ip" in cli("limits", runtime_dir=own_agent.runtime_dir).stdout
    assert told(own_agent, "limits", "release", "binance", "--why", "lifted")["opened"]
    assert client.request("GET", f"{HOST}/api/v3/time").status == 200
    banned = {"status": 418, "body": '{"code":-1003,"msg":"banned"}', "headers": [["Retry-After", "120"]]}
    sandbox.admin.fault("answer", route="GET /api/v3/time", count=1, **banned)
    client.request("GET", f"{HOST}/api/v3/time", deadline_s=2)
    assert told(own_agent, "limits", "release", "--all", "--why", "try")["opened"] == []
    assert told(own_agent, "limits", "release", "--all", "--bans", "--why", "sure")["opened"]


def test_a_stopped_loop_is_shown_and_let_go(own_agent: AgentProcess, client: jackstay.Client) -> None:
    """After ten equal rejects; `limits unstop` lets the next one ask the venue again."""
    for _ in range(10):
        assert order(client, "poor", quantity="20", price="49000.00").status == 400
    assert refused(lambda: order(client, "poor", quantity="20", price="49000.00")).reason == "loop_stopped"
    (stop,) = told(own_agent, "limits")["upstreams"][0]["loops_stopped"]
    assert stop["count"] == 10
    assert told(own_agent, "limits", "unstop", "binance", "--why", "deposited")["lifted"] == 1
    assert order(client, "poor", quantity="20", price="49000.00").status == 400
