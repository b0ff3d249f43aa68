"""jackstay.client: the blocking face, against an agent that speaks the real wire."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import jackstay
from client.fake_agent import FakeAgent, Heard, ok, turning_away, welcome_after
from jackstay_protocols import limits
from jackstay_protocols import messages as m
from jackstay_protocols.clock import boot_us
from jackstay_protocols.errors import (
    AgentGone,
    DeadlineExceeded,
    NotYet,
    Outcome,
    ProtocolError,
    Reason,
    Refused,
    SecurityError,
    TradingBotError,
    ValidationError,
)

Connect = Callable[..., jackstay.Client]
URL = "https://api.binance.com/api/v3/order"


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    began = time.monotonic()
    try:
        result = call()
    except Exception as error:
        result = error
    return time.monotonic() - began, result


# ---------------------------------------------------------------- requests


def test_a_request_travels_whole_and_its_answer_comes_back(agent: FakeAgent, connect: Connect) -> None:
    """Every argument reaches the agent, with an absolute deadline on the boot clock."""
    before = boot_us()
    response = connect().request(
        "POST",
        URL + "?a=%2B",
        headers=[("X-k", "v")],
        body=b"\x00\xff",
        lane="order",
        deadline_s=5,
        idempotency_key="k",
        sign=True,
        tag="entry",
    )
    heard = agent.of(m.Request)[0]
    assert heard.message == m.Request(
        "POST", URL + "?a=%2B", [(b"X-k", b"v")], b"\x00\xff", "", jackstay.Lane.ORDER, "k", True, "entry"
    )
    assert before + 5_000_000 <= heard.header.when <= boot_us() + 5_000_000
    assert (response.status, response.body, response.verdict.outcome) == (200, b"\x00\xff", Outcome.OK)


def test_the_first_call_says_hello_once(agent: FakeAgent, connect: Connect) -> None:
    """Bot id, pid and kind; later calls need no other greeting."""
    client = connect(bot_id="grid-1", beat_within_s=7.5)
    assert agent.heard == []
    client.status()
    client.status()
    (heard,) = agent.of(m.Hello)
    assert isinstance(heard.message, m.Hello)
    assert (heard.message.bot_id, heard.message.kind, heard.message.beat_within_s) == ("grid-1", "primary", 7.5)


def test_the_bot_id_comes_from_the_environment(
    agent: FakeAgent, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """$JACKSTAY_BOT names the bot where the code does not; $JACKSTAY_AGENT and the folder name the agent."""
    monkeypatch.setenv("JACKSTAY_BOT", "from-env")
    monkeypatch.setenv("JACKSTAY_AGENT", "fake")
    monkeypatch.setenv("JACKSTAY_RUNTIME_DIR", str(runtime))
    with jackstay.Client() as client:
        client.status()
    assert agent.of(m.Hello)[0].message.bot_id == "from-env"  # type: ignore[attr-defined]


def test_an_order_whose_2xx_proves_nothing_is_returned_with_its_verdict(agent: FakeAgent, connect: Connect) -> None:
    """The plain client hides nothing: the caller reads `verdict.outcome`."""
    agent.script = lambda _a, _h: ok(b"<html>", outcome=Outcome.UNKNOWN, cause="not_json")
    response = connect().request("POST", URL)
    assert (response.status, response.ok, response.verdict.outcome, response.verdict.cause) == (
        200,
        False,
        Outcome.UNKNOWN,
        "not_json",
    )


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        (Reason.RATE_LIMITED, Refused),
        (Reason.NOT_YET, NotYet),
        (Reason.BAD_REQUEST, ValidationError),
        (Reason.EXPIRED, DeadlineExceeded),
        (Reason.TOO_LARGE, ProtocolError),
    ],
)
def test_refusals_arrive_as_their_errors(
    agent: FakeAgent, connect: Connect, reason: Reason, kind: type[Exception]
) -> None:
    """With reason, retry_after and the outcome FAILED."""
    agent.script = lambda _a, _h: m.Refusal(reason, "not now", 1.5)
    with pytest.raises(jackstay.TradingBotError) as caught:
        connect().request("POST", URL)
    assert type(caught.value) is kind
    assert (caught.value.reason, caught.value.retry_after_s, caught.value.outcome) == (reason, 1.5, Outcome.FAILED)


def test_too_large_a_body_is_refused_before_it_is_sent(agent: FakeAgent, connect: Connect) -> None:
    """The connection survives, because the frame never left."""
    client = connect()
    client.status()
    with pytest.raises(ValidationError) as caught:
        client.request("POST", URL, body=b"x" * (limits.REQUEST_BODY_BYTES_MAX + 1))
    assert caught.value.reason == Reason.TOO_LARGE
    assert client.request("POST", URL, body=b"x").body == b"x"
    assert len(agent.of(m.Hello)) == 1


def test_the_agents_own_frame_limit_counts(agent: FakeAgent, connect: Connect) -> None:
    """A limit that WELCOME lowered is kept."""
    agent.hello_script = lambda a, _h: a.welcome(frame_bytes_max=1000)
    client = connect()
    client.status()
    with pytest.raises(ValidationError) as caught:
        client.request("POST", URL, body=b"x" * 1000)
    assert caught.value.reason == Reason.TOO_LARGE
    assert agent.of(m.Request) == []


# ---------------------------------------------------------------- the agent's absence, silence, return


def test_without_an_agent_nothing_is_sent_and_the_call_ends_soon(runtime: Path, connect: Connect) -> None:
    """AgentGone, outcome FAILED, after the connect time-out."""
    took_s, error = timed(lambda: connect(connect_timeout_s=0.2).request("POST", URL))
    assert isinstance(error, AgentGone)
    assert error.outcome is Outcome.FAILED
    assert 0.2 <= took_s < 5, "not the deadline of a half minute"


def test_without_an_agent_the_deadline_counts_when_it_is_shorter(connect: Connect) -> None:
    """Never past the deadline and its grace."""
    took_s, error = timed(lambda: connect().request("POST", URL, deadline_s=0.1))
    assert isinstance(error, AgentGone)
    assert took_s < 0.9, "not the connect time-out of a second"


def test_an_unnamed_agent_may_come_later(runtime: Path) -> None:
    """No agent anywhere is AgentGone, with advice; when one is there, the same client finds it."""
    with jackstay.Client(runtime_dir=runtime, bot_id="bot") as client:
        with pytest.raises(AgentGone, match="start one") as caught:
            client.status()
        assert caught.value.outcome is Outcome.FAILED
        assert client.beat() is False
        with FakeAgent(runtime):
            assert client.status()["agent"] == "fake"


def test_several_agents_need_a_choice(runtime: Path) -> None:
    """The constructor says so, not the first order."""
    with (
        FakeAgent(runtime, name="one"),
        FakeAgent(runtime, name="two"),
        pytest.raises(ValidationError, match="one, two"),
    ):
        jackstay.Client(runtime_dir=runtime)


@pytest.mark.serial
def test_a_silent_agent_ends_at_the_deadline_with_outcome_unknown(agent: FakeAgent, connect: Connect) -> None:
    """Not before the deadline, at most a quarter second after it; the agent is told that nobody waits."""
    agent.script = lambda _a, _h: None
    client = connect()
    took_s, error = timed(lambda: client.request("POST", URL, deadline_s=0.3))
    assert isinstance(error, DeadlineExceeded)
    assert isinstance(error, TimeoutError)
    assert (error.reason, error.outcome) == (Reason.TIMEOUT, Outcome.UNKNOWN)
    assert 0.3 <= took_s <= 0.55
    (abandoned,) = agent.wait_for(m.Abandon)
    assert abandoned.header.id == agent.of(m.Request)[0].header.id


def test_the_agents_word_in_the_grace_after_the_deadline_counts(agent: FakeAgent, connect: Connect) -> None:
    """The agent knows better than the clock whether anything was sent."""

    def late(_agent: FakeAgent, heard: Heard) -> m.Message:
        time.sleep(max(0.0, (heard.header.when - boot_us()) / 1e6) + 0.02)
        return m.Response(0, b"", [], b"", Outcome.FAILED, cause="timeout", detail="never connected")

    agent.script = late
    with pytest.raises(DeadlineExceeded, match="never connected") as caught:
        connect().request("POST", URL, deadline_s=0.5)
    assert caught.value.outcome is Outcome.FAILED


def test_a_late_answer_is_not_taken_for_the_next_calls(agent: FakeAgent, connect: Connect) -> None:
    """Answers are matched by id, whatever comes in between."""
    client = connect()
    agent.script = lambda _a, _h: None
    with pytest.raises(DeadlineExceeded):
        client.request("POST", URL, body=b"first", deadline_s=0.05)
    first = agent.of(m.Request)[0]
    agent.script = lambda a, h: ok(h.message.body)  # type: ignore[attr-defined]
    agent.tell(first.peer, ok(b"late"), id=first.header.id)
    assert client.request("POST", URL, body=b"second").body == b"second"


def test_an_agent_that_dies_with_the_request_leaves_its_outcome_unknown(agent: FakeAgent, connect: Connect) -> None:
    """AgentGone long before the deadline, because the connection's end is seen."""
    agent.script = lambda _a, _h: None
    client = connect()
    client.status()
    killer = threading.Thread(target=lambda: (agent.wait_for(m.Request), agent.stop()))
    killer.start()
    took_s, error = timed(lambda: client.request("POST", URL, deadline_s=20))
    killer.join()
    assert isinstance(error, AgentGone)
    assert (error.reason, error.outcome) == (Reason.RESET, Outcome.UNKNOWN)
    assert took_s < 3


def test_after_a_restart_the_client_says_hello_again_by_itself(
    agent: FakeAgent, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bot's code sees no exception, and the old session is shown."""
    monkeypatch.setattr("jackstay.channel.FRESH_US", 0)  # this agent restarts faster than any real one
    client = connect()
    client.status()
    agent.stop()
    agent.start()
    assert client.request("POST", URL, body=b"x").body == b"x"
    assert [each.message.resume for each in agent.of(m.Hello)] == ["", "token-1"]  # type: ignore[attr-defined]
    assert len(agent.of(m.Request)) == 1


def test_a_request_refused_as_unknown_is_sent_again_once(agent: FakeAgent, connect: Connect) -> None:
    """It was refused, so it was not executed: hello, then once more; twice in a row is AgentGone."""
    refuse = [1]

    def script(_agent: FakeAgent, heard: Heard) -> m.Message:
        if refuse and refuse.pop():
            return m.Refusal(Reason.UNKNOWN_PEER, "who are you")
        return ok(b"")

    agent.script = script
    client = connect()
    assert client.request("POST", URL).status == 200
    assert (len(agent.of(m.Hello)), len(agent.of(m.Request))) == (2, 2)
    refuse[:] = [1, 1]
    with pytest.raises(AgentGone) as caught:
        client.request("POST", URL)
    assert caught.value.outcome is Outcome.FAILED


def test_a_call_outlives_as_many_restarts_as_its_deadline_allows(agent: FakeAgent, connect: Connect) -> None:
    """Agents that stop before they take it hand it on, ten times if need be; only the deadline ends it."""
    agent.script = turning_away(10)
    assert connect().request("POST", URL, deadline_s=20).status == 200
    agent.script = turning_away(1_000_000)
    with pytest.raises(TradingBotError) as caught:
        connect(bot_id="late").request("POST", URL, deadline_s=0.5)
    assert caught.value.outcome is Outcome.FAILED, "nothing was sent"


def test_the_next_agent_may_take_its_time_over_its_first_answer(
    agent: FakeAgent, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It listens where the last one died: calls wait for it inside their own deadline, not their time to connect."""
    monkeypatch.setattr("jackstay.channel.FRESH_US", 0)  # this agent restarts faster than any real one
    client = connect(connect_timeout_s=0.2)
    client.status()
    agent.stop()
    agent.hello_script = welcome_after(1.0)
    agent.start()
    time.sleep(0.3)  # the client's reconnection is ZeroMQ's own; nothing is asked meanwhile
    assert client.request("POST", URL, body=b"x", deadline_s=20).body == b"x"
    first = connect(bot_id="first", connect_timeout_s=0.2)
    with pytest.raises(AgentGone):  # nobody was there before: as ever
        first.request("POST", URL, deadline_s=20)


def test_nothing_of_the_time_without_an_agent_reaches_the_next_one(agent: FakeAgent, connect: Connect) -> None:
    """100 calls while the agent is down: each ends, none is delivered later."""
    client = connect(connect_timeout_s=0.02)
    client.request("POST", URL, body=b"before")
    agent.stop()
    for _ in range(100):
        with pytest.raises(AgentGone):
            client.request("POST", URL, body=b"stale", deadline_s=0.03)
    agent.start()
    client = connect(bot_id="patient")  # clients of one bot id share the time they give a connection
    assert client.request("POST", URL, body=b"after").body == b"after"
    assert [each.message.body for each in agent.of(m.Request)] == [b"before", b"after"]  # type: ignore[attr-defined]


def test_a_taken_session_is_a_security_error(agent: FakeAgent, connect: Connect) -> None:
    """A second primary is told so, with the time until the first one's lease ends."""
    agent.hello_script = lambda _a, _h: m.Refusal(Reason.SESSION_TAKEN, "already in use by living process 7", 2.0)
    with pytest.raises(SecurityError, match="process 7") as caught:
        connect().request("POST", URL)
    assert (caught.value.reason, caught.value.retry_after_s) == (Reason.SESSION_TAKEN, 2.0)


def test_another_wire_version_is_named(agent: FakeAgent, connect: Connect) -> None:
    """Both versions, as the agent or as the frame says."""
    agent.hello_script = lambda _a, _h: m.Refusal(Reason.VERSION, "wire version 1; versions 2 to 3 are spoken here")
    with pytest.raises(ProtocolError, match="2 to 3"):
        connect().status()
    agent.hello_script = lambda _a, _h: bytes([2]) + bytes(30)
    with pytest.raises(ProtocolError, match="version 2"):
        connect(bot_id="other").status()


def test_a_broken_answer_is_a_protocol_error_with_outcome_unknown(agent: FakeAgent, connect: Connect) -> None:
    """Bytes left, nothing trustworthy came back."""
    agent.script = lambda _a, h: b"\x01\x42" + bytes(2) + h.header.id.to_bytes(8, "big") + bytes(8) + b"\xc1"
    with pytest.raises(ProtocolError) as caught:
        connect().request("POST", URL)
    assert caught.value.outcome is Outcome.UNKNOWN


# ---------------------------------------------------------------- threads


def test_threads_share_the_session_and_not_the_socket(agent: FakeAgent, connect: Connect) -> None:
    """Eight threads at once: every answer to its own caller, one socket each."""
    client = connect()
    wrong: list[bytes] = []

    def work(number: int) -> None:
        for count in range(25):
            body = f"{number}-{count}".encode()
            if client.request("POST", URL, body=body).body != body:
                wrong.append(body)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(agent.of(m.Request)) == 200
    assert len({each.peer for each in agent.of(m.Request)}) == 8
    assert len({each.message.pid for each in agent.of(m.Hello)}) == 1  # type: ignore[attr-defined]


def test_two_clients_of_one_process_say_one_goodbye(agent: FakeAgent, connect: Connect) -> None:
    """Closing one is no goodbye of the bot; the strongest word of both is said at the end."""
    one, two = connect(), connect()
    one.status()
    two.status()
    one.close(orders="cancel", reason="done")
    assert two.status()
    assert agent.of(m.Goodbye) == []
    two.close(reason="later")
    assert [each.message for each in agent.wait_for(m.Goodbye)] == [m.Goodbye("done", "cancel", 0.0)]


# ---------------------------------------------------------------- posts and late outcomes


def posted(_agent: FakeAgent, heard: Heard) -> m.Message:
    return m.Accepted(f"i-{heard.header.id}")


def late(intent: str) -> m.OutcomeNews:
    return m.OutcomeNews(intent, "k", Outcome.OK, 200, [], b'{"orderId": 1}')


def test_a_post_is_accepted_now_and_its_outcome_comes_later(agent: FakeAgent, connect: Connect) -> None:
    """Handed over once, acknowledged with the next call, not before."""
    agent.script = posted
    client = connect()
    accepted = client.post("POST", URL, body=b"x", ttl_s=30, idempotency_key="k")
    heard = agent.of(m.Post)[0]
    assert heard.message.ttl_s == 30  # type: ignore[attr-defined]
    agent.tell(heard.peer, late(accepted.id))
    outcome = client.outcome(accepted, timeout_s=5)
    assert (outcome.id, outcome.outcome, outcome.json()) == (accepted.id, Outcome.OK, {"orderId": 1})
    assert agent.of(m.Ack) == []
    client.beat()
    assert [each.message for each in agent.wait_for(m.Ack)] == [m.Ack([accepted.id])]


def test_a_repeated_outcome_reaches_the_bot_once(agent: FakeAgent, connect: Connect) -> None:
    """Repetitions are acknowledged, not shown."""
    client = connect()
    client.status()
    peer = agent.of(m.Hello)[0].peer
    for intent in ("a", "a", "b"):
        agent.tell(peer, late(intent))
    assert [each.id for each in client.outcomes(timeout_s=0.2)] == ["a", "b"]
    agent.tell(peer, late("a"))
    assert [each.id for each in client.outcomes(timeout_s=0.2)] == []
    client.beat()
    acknowledged = [intent for each in agent.of(m.Ack) for intent in each.message.ids]  # type: ignore[attr-defined]
    assert set(acknowledged) == {"a", "b"}
    assert acknowledged.count("a") >= 2  # once handed over, once more for the repetition after that


def test_an_outcome_that_another_threads_socket_brought_is_found(agent: FakeAgent, connect: Connect) -> None:
    """The agent may choose any socket of the session."""
    client = connect()
    found: list[str] = []
    ready = threading.Event()

    def wait() -> None:
        client.status()
        ready.set()
        found.append(client.outcome("a", timeout_s=5).id)

    thread = threading.Thread(target=wait)
    thread.start()
    ready.wait(5)
    client.status()
    agent.tell(agent.of(m.StatusQuery)[-1].peer, late("a"))
    client.beat()
    thread.join()
    assert found == ["a"]


def test_an_outcome_that_does_not_come_in_time_is_not_lost(agent: FakeAgent, connect: Connect) -> None:
    """DeadlineExceeded; a later try finds it, and can find it twice."""
    client = connect()
    client.status()
    with pytest.raises(DeadlineExceeded, match="not lost"):
        client.outcome("a", timeout_s=0.05)
    agent.tell(agent.of(m.Hello)[0].peer, late("a"))
    assert client.outcome("a", timeout_s=5).id == client.outcome("a", timeout_s=5).id == "a"


def test_directives_wait_for_the_bots_code(agent: FakeAgent, connect: Connect) -> None:
    """They may come in the middle of another call."""
    client = connect()
    client.status()
    agent.tell(agent.of(m.Hello)[0].peer, m.Directive("re_evaluate", {"order_id": "1"}))
    client.request("POST", URL)
    assert list(client.directives(timeout_s=0.2)) == [jackstay.Directive("re_evaluate", {"order_id": "1"})]


def test_a_directive_comes_once_and_is_acknowledged_after_the_bots_code_had_it(
    agent: FakeAgent, connect: Connect
) -> None:
    """A repetition is not handed over again, only acknowledged again; one not yet handed over is never acknowledged."""
    client = connect()
    client.status()
    peer = agent.of(m.Hello)[0].peer
    for _ in range(2):
        agent.tell(peer, m.Directive("re_evaluate", {"order_id": "1"}, "directive/1"))
    client.request("POST", URL)
    assert not agent.of(m.Ack), "it waits for the bot's code"
    handed = client.directives(timeout_s=0.1)
    assert next(handed).fields == {"order_id": "1"}
    assert not agent.of(m.Ack), "the bot's code is at it"
    assert list(handed) == []
    client.status()
    agent.tell(peer, m.Directive("re_evaluate", {"order_id": "1"}, "directive/1"))
    assert list(client.directives(timeout_s=0.2)) == []
    client.status()
    assert [each.message for each in agent.of(m.Ack)] == 2 * [m.Ack(["directive/1"])]


# ---------------------------------------------------------------- life signs


def leases(agent: FakeAgent) -> list[tuple[str, int]]:
    return [
        (type(each.message).__name__, each.header.beat_ds)
        for each in agent.heard
        if not isinstance(each.message, m.Hello)
    ]


def test_beat_and_progress_reach_the_agent(agent: FakeAgent, connect: Connect) -> None:
    """Progress counts by itself or by the bot's number."""
    client = connect()
    assert client.beat() is True
    client.progress()
    client.progress()
    client.progress(10)
    client.progress()
    assert [each.message.progress for each in agent.of(m.Beat)] == [-1, 1, 2, 10, 11]  # type: ignore[attr-defined]


def test_a_beat_without_an_agent_is_false_and_no_exception(connect: Connect) -> None:
    """An agent's absence is no reason for a bot to stop."""
    took_s, heard = timed(lambda: connect().beat(timeout_s=0.1))
    assert heard is False
    assert took_s < 0.9, "not the connect time-out of a second"


def test_idle_announces_a_silence_and_the_next_call_ends_it(agent: FakeAgent, connect: Connect) -> None:
    """The lease travels in the header, in deciseconds, once each."""
    client = connect()
    client.idle(60)
    client.request("POST", URL)
    client.request("POST", URL)
    assert leases(agent) == [("Beat", 600), ("Request", 30), ("Request", 0)]


def test_busy_keeps_its_lease_over_the_calls_inside(agent: FakeAgent, connect: Connect) -> None:
    """The end of the block brings the earlier lease back, also of an outer block."""
    client = connect()
    with client.busy(30):
        client.request("POST", URL)
        with client.busy(100):
            pass
        client.request("POST", URL)
    client.request("POST", URL)
    assert leases(agent) == [
        ("Beat", 300),
        ("Request", 0),
        ("Beat", 1000),
        ("Beat", 300),
        ("Request", 0),
        ("Beat", 30),
        ("Request", 0),
    ]


def test_another_thread_that_joins_in_a_busy_spell_does_not_end_it(agent: FakeAgent, connect: Connect) -> None:
    """A new socket is told the present lease; the plan stays the bot's."""
    agent.hello_script = lambda a, _h: a.welcome(beat_within_s=3.0 if a.of(m.Hello) == [] else 30.0)
    client = connect()
    client.status()
    with client.busy(30):
        thread = threading.Thread(target=client.status)
        thread.start()
        thread.join()
    assert leases(agent) == [("StatusQuery", 0), ("Beat", 300), ("StatusQuery", 300), ("Beat", 30)]


def test_leases_are_capped_as_the_agent_says(agent: FakeAgent, connect: Connect) -> None:
    """WELCOME names the longest silence it allows."""
    agent.hello_script = lambda a, _h: a.welcome(beat_within_s_max=10.0)
    client = connect()
    client.status()
    client.idle(3600)
    assert leases(agent)[-1] == ("Beat", 100)


def test_a_waiting_thread_speaks_for_the_bot(agent: FakeAgent, connect: Connect) -> None:
    """A call longer than the lease is no silence, because the thread that beats is the one that waits."""
    agent.beat_within_s = 0.3

    def slow(a: FakeAgent, heard: Heard) -> None:
        threading.Thread(
            target=lambda: (a.wait_for(m.Beat, 3), a.tell(heard.peer, ok(b"done"), id=heard.header.id))
        ).start()

    agent.script = slow
    assert connect().request("POST", URL, deadline_s=5).body == b"done"


def test_nothing_beats_while_the_bots_thread_does_other_things(agent: FakeAgent, connect: Connect) -> None:
    """No helper thread keeps smiling: the client starts none."""
    before = {thread.ident for thread in threading.enumerate()}
    connect().status()
    assert {thread.ident for thread in threading.enumerate()} == before


# ---------------------------------------------------------------- words with the agent


def test_reports_reach_the_agent(agent: FakeAgent, connect: Connect) -> None:
    """An exception names its own type; money travels as text."""
    from decimal import Decimal

    client = connect()
    client.report_error(
        KeyError("price"),
        component="orders",
        operation="place",
        severity="high",
        symbol="X",
        order_id="1",
        details={"p": Decimal("1.0")},
    )
    client.report_error("odd", component="c", operation="o", error_type="Odd")
    client.report_state("balances", {"USDT": Decimal("1.50")})
    assert [each.message for each in agent.of(m.ReportError)] == [
        m.ReportError("orders", "place", "KeyError", "'price'", "high", "X", "1", {"p": "1.0"}),
        m.ReportError("c", "o", "Odd", "odd"),
    ]
    assert agent.of(m.ReportState)[0].message == m.ReportState("balances", {"USDT": "1.50"})
    with pytest.raises(ValidationError, match="severity"):
        client.report_error("x", component="c", operation="o", severity="terrible")


def test_a_verb_the_agent_does_not_know_yet_says_so(agent: FakeAgent, connect: Connect) -> None:
    """NotYet, never a silent pass."""
    agent.other_script = lambda _a, h: (
        m.Refusal(Reason.NOT_YET, "not in this version") if isinstance(h.message, m.ReportState) else None
    )
    with pytest.raises(NotYet):
        connect().report_state("orders", {})


# ---------------------------------------------------------------- the end


def test_close_says_goodbye_with_the_bots_words(agent: FakeAgent, connect: Connect) -> None:
    """Outcomes handed over before are acknowledged first; a closed client says so."""
    client = connect()
    client.status()
    agent.tell(agent.of(m.Hello)[0].peer, late("a"))
    client.outcome("a", timeout_s=5)
    client.close("cancel", reason="deploy", back_within_s=90)
    client.close()
    assert [each.message for each in agent.of(m.Goodbye)] == [m.Goodbye("deploy", "cancel", 90.0)]
    assert [each.message for each in agent.of(m.Ack)] == [m.Ack(["a"])]
    with pytest.raises(ValidationError, match="closed"):
        client.status()


def test_a_client_that_never_spoke_says_no_goodbye(agent: FakeAgent, connect: Connect) -> None:
    """Nothing to take leave of."""
    connect().close()
    assert agent.heard == []


@pytest.mark.parametrize("words", [{"orders": "sell"}, {"back_within_s": -1}])
def test_an_impossible_goodbye_is_refused_and_the_client_stays_open(
    agent: FakeAgent, connect: Connect, words: dict[str, Any]
) -> None:
    """The word can be said again, right."""
    client = connect()
    with pytest.raises(ValidationError):
        client.close(**words)
    assert client.status()


def test_closing_without_an_agent_is_quick_and_quiet(agent: FakeAgent, connect: Connect) -> None:
    """It will see the process end by itself."""
    client = connect()
    client.status()
    agent.stop()
    took_s, result = timed(client.close)
    assert result is None
    assert took_s < 2
    agent.start()


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "king"},
        {"kind": "operator"},
        {"bot_id": ""},
        {"bot_id": "a/b"},
        {"connect_timeout_s": 0},
        {"beat_within_s": -1},
        {"agent": "../x"},
    ],
)
def test_a_wrong_constructor_call_is_told_at_once(runtime: Path, wrong: dict[str, Any]) -> None:
    """Not with the first order."""
    with pytest.raises(ValidationError):
        jackstay.Client(**{"agent": "fake", "runtime_dir": runtime, **wrong})


def test_a_reader_says_hello_as_one(agent: FakeAgent, connect: Connect) -> None:
    """It never competes for the bot's session."""
    connect(kind="reader").status()
    assert agent.of(m.Hello)[0].message.kind == "reader"  # type: ignore[attr-defined]


def test_a_socket_path_that_cannot_be_bound_is_told_at_once(tmp_path: Path) -> None:
    """107 bytes, named in the error."""
    with pytest.raises(ValidationError, match="107"):
        jackstay.Client("x", runtime_dir=tmp_path / ("d" * 120))


def test_an_exception_in_a_signal_handler_abandons_the_call(agent: FakeAgent, connect: Connect) -> None:
    """Ctrl-C in the middle of a request reaches the bot, and the agent is told."""
    import signal

    def impatient(_signal: int, _frame: object) -> None:
        raise KeyboardInterrupt

    agent.script = lambda _a, _h: None
    client = connect()
    before = signal.signal(signal.SIGALRM, impatient)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(KeyboardInterrupt):
            client.request("POST", URL, deadline_s=10)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert agent.wait_for(m.Abandon)[0].header.id == agent.of(m.Request)[0].header.id


def test_a_signal_handler_may_call_in_the_middle_of_a_call(agent: FakeAgent, connect: Connect) -> None:
    """A bot that cancels its orders in its SIGTERM handler: no deadlock, and the interrupted call goes on."""
    import signal

    agent.script = lambda _a, h: ok(b"aside") if h.message.body == b"aside" else None  # type: ignore[attr-defined]
    client = connect()
    client.status()
    answers: list[bytes] = []

    def handler(_signal: int, _frame: object) -> None:
        answers.append(client.request("DELETE", URL, body=b"aside").body)
        (waiting,) = [each for each in agent.of(m.Request) if each.message.body != b"aside"]  # type: ignore[attr-defined]
        agent.tell(waiting.peer, ok(b"main"), id=waiting.header.id)

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        assert client.request("POST", URL, deadline_s=10).body == b"main"
    finally:
        signal.signal(signal.SIGALRM, before)
    assert answers == [b"aside"]
