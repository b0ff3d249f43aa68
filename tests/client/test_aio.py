"""jackstay.aio: the asyncio face, against an agent that speaks the real wire."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

import jackstay
from client.fake_agent import FakeAgent, Heard, ok, turning_away, welcome_after
from jackstay_protocols import messages as m
from jackstay_protocols.errors import (
    AgentGone,
    DeadlineExceeded,
    Outcome,
    ProtocolError,
    Reason,
    Refused,
    SecurityError,
    TradingBotError,
    ValidationError,
)

Connect = Callable[..., jackstay.AsyncClient]
URL = "https://api.binance.com/api/v3/order"

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def connect(runtime: Path) -> AsyncIterator[Connect]:
    made: list[jackstay.AsyncClient] = []

    def make(**options: Any) -> jackstay.AsyncClient:
        client = jackstay.AsyncClient(**{"agent": "fake", "runtime_dir": runtime, "bot_id": "bot", **options})
        made.append(client)
        return client

    yield make
    for client in made:
        await client.close()


async def heard(agent: FakeAgent, kind: type[m.Message], count: int = 1) -> list[Heard]:
    """Wait without blocking the loop."""
    return await asyncio.to_thread(agent.wait_for, kind, count)


# ---------------------------------------------------------------- requests


async def test_a_request_travels_whole_and_its_answer_comes_back(agent: FakeAgent, connect: Connect) -> None:
    """Every argument reaches the agent."""
    response = await connect().request(
        "POST", URL, headers=[("X-k", "v")], body=b"\xff", lane="derisk", idempotency_key="k", sign=True, tag="exit"
    )
    assert agent.of(m.Request)[0].message == m.Request(
        "POST", URL, [(b"X-k", b"v")], b"\xff", "", jackstay.Lane.DERISK, "k", True, "exit"
    )
    assert (response.status, response.body) == (200, b"\xff")


async def test_a_hundred_pipelined_requests_are_all_answered(agent: FakeAgent, connect: Connect) -> None:
    """No wake-up is lost: every request its own answer, over one socket and one hello."""
    client = connect()
    for _ in range(5):
        bodies = [str(number).encode() for number in range(100)]
        answers = await asyncio.gather(*(client.request("POST", URL, body=body, deadline_s=5) for body in bodies))
        assert [each.body for each in answers] == bodies
    assert len(agent.of(m.Hello)) == 1


async def test_a_hundred_requests_answered_in_reverse_find_their_callers(agent: FakeAgent, connect: Connect) -> None:
    """Answers are matched by id, in any order."""
    kept: list[Heard] = []

    def hold(a: FakeAgent, each: Heard) -> None:
        kept.append(each)
        if len(kept) == 100:
            for one in reversed(kept):
                a.tell(one.peer, ok(one.message.body), id=one.header.id)  # type: ignore[attr-defined]

    agent.script = hold
    client = connect()
    bodies = [str(number).encode() for number in range(100)]
    answers = await asyncio.gather(*(client.request("POST", URL, body=body, deadline_s=5) for body in bodies))
    assert [each.body for each in answers] == bodies


async def test_more_requests_in_flight_than_allowed_are_refused_at_once(agent: FakeAgent, connect: Connect) -> None:
    """Full means an immediate typed refusal."""
    agent.script = lambda _a, _h: None
    client = connect()
    await client.status()
    assert client._line is not None
    client._line._pending.size_max = 3
    results = await asyncio.gather(
        *(client.request("POST", URL, deadline_s=0.2) for _ in range(5)), return_exceptions=True
    )
    assert [type(each) for each in results].count(DeadlineExceeded) == 3
    refused = [each for each in results if isinstance(each, Refused)]
    assert [(each.reason, each.outcome) for each in refused] == [(Reason.QUEUE_FULL, Outcome.FAILED)] * 2


async def test_refusals_arrive_as_their_errors(agent: FakeAgent, connect: Connect) -> None:
    """As with the blocking client."""
    agent.script = lambda _a, _h: m.Refusal(Reason.BREAKER_OPEN, "open", 3.0)
    with pytest.raises(Refused) as caught:
        await connect().request("POST", URL)
    assert (caught.value.reason, caught.value.retry_after_s) == (Reason.BREAKER_OPEN, 3.0)


# ---------------------------------------------------------------- deadlines and cancellation


async def test_each_request_has_its_own_deadline(agent: FakeAgent, connect: Connect) -> None:
    """Shorter ones end first, at most a quarter second late, and the agent is told."""
    agent.script = lambda _a, _h: None
    client = connect()
    await client.status()

    async def one(limit_s: float) -> float:
        began = time.monotonic()
        with pytest.raises(DeadlineExceeded) as caught:
            await client.request("POST", URL, deadline_s=limit_s)
        assert caught.value.outcome is Outcome.UNKNOWN
        return time.monotonic() - began - limit_s

    late_s = await asyncio.gather(*(one(limit_s) for limit_s in (0.4, 0.1, 0.3, 0.2)))
    assert all(0.0 <= each <= 0.25 for each in late_s)
    assert len(await heard(agent, m.Abandon, 4)) == 4


async def test_cancelling_abandons_the_request(agent: FakeAgent, connect: Connect) -> None:
    """CancelledError passes untouched, the agent is told, and a late answer hurts nobody."""
    agent.script = lambda _a, _h: None
    client = connect()
    task = asyncio.create_task(client.request("POST", URL))
    (request,) = await heard(agent, m.Request)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (abandoned,) = await heard(agent, m.Abandon)
    assert abandoned.header.id == request.header.id
    agent.tell(request.peer, ok(b"late"), id=request.header.id)
    agent.script = lambda _a, h: ok(h.message.body)  # type: ignore[attr-defined]
    assert (await client.request("POST", URL, body=b"next")).body == b"next"


async def test_an_outer_timeout_is_a_cancellation(agent: FakeAgent, connect: Connect) -> None:
    """asyncio.timeout works as everywhere."""
    agent.script = lambda _a, _h: None
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await connect().request("POST", URL, deadline_s=10)
    assert await heard(agent, m.Abandon)


async def test_the_next_agent_may_take_its_time_over_its_first_answer(agent: FakeAgent, connect: Connect) -> None:
    """As the blocking client: calls wait for it inside their own deadline."""
    client = connect(connect_timeout_s=0.2)
    await client.status()
    agent.stop()
    agent.hello_script = welcome_after(1.0)
    agent.start()
    await asyncio.sleep(0.3)  # the client's reconnection is ZeroMQ's own; nothing is asked meanwhile
    assert (await client.request("POST", URL, body=b"x", deadline_s=20)).body == b"x"


async def test_a_call_outlives_as_many_restarts_as_its_deadline_allows(agent: FakeAgent, connect: Connect) -> None:
    """As the blocking client: agents that stop before they take it hand it on; only the deadline ends it."""
    agent.script = turning_away(10)
    assert (await connect().request("POST", URL, deadline_s=20)).status == 200
    agent.script = turning_away(1_000_000)
    with pytest.raises(TradingBotError) as caught:
        await connect(bot_id="late").request("POST", URL, deadline_s=0.5)
    assert caught.value.outcome is Outcome.FAILED, "nothing was sent"


@pytest.mark.asyncio
async def test_one_caller_that_gives_up_during_the_greeting_leaves_the_others_alone(
    agent: FakeAgent, connect: Connect
) -> None:
    """They share one hello."""
    slow = threading.Event()
    agent.hello_script = lambda a, _h: (slow.wait(2), a.welcome())[1]
    client = connect()
    first = asyncio.create_task(client.request("POST", URL, body=b"1"))
    second = asyncio.create_task(client.request("POST", URL, body=b"2"))
    await asyncio.sleep(0.05)
    first.cancel()
    slow.set()
    assert (await second).body == b"2"
    assert len(agent.of(m.Hello)) == 1


# ---------------------------------------------------------------- the agent's absence, death, return


async def test_without_an_agent_nothing_is_sent_and_the_call_ends_soon(connect: Connect) -> None:
    """AgentGone, FAILED, for all who wait, after the connect time-out or their own shorter deadline."""
    client = connect(connect_timeout_s=0.3)
    began = time.monotonic()
    results = await asyncio.gather(
        client.request("POST", URL),
        client.request("POST", URL, deadline_s=0.1),
        client.status(),
        return_exceptions=True,
    )
    assert [type(each) for each in results] == [AgentGone] * 3
    assert all(each.outcome is Outcome.FAILED for each in results)  # type: ignore[union-attr]
    assert time.monotonic() - began < 3, "not the deadline of ten seconds"


async def test_an_agent_that_dies_fails_everyone_who_waits(agent: FakeAgent, connect: Connect) -> None:
    """AgentGone with outcome unknown, long before the deadline."""
    agent.script = lambda _a, _h: None
    client = connect()
    waiting = [asyncio.create_task(client.request("POST", URL, deadline_s=20)) for _ in range(20)]
    await heard(agent, m.Request, 20)
    began = time.monotonic()
    await asyncio.to_thread(agent.stop)
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert time.monotonic() - began < 3
    assert [type(each) for each in results] == [AgentGone] * 20
    assert {(each.reason, each.outcome) for each in results} == {(Reason.RESET, Outcome.UNKNOWN)}  # type: ignore[union-attr]
    assert len({id(each) for each in results}) == 20


async def test_after_a_restart_requests_go_on(agent: FakeAgent, connect: Connect) -> None:
    """Hello again by itself, with the old session's token."""
    client = connect()
    await client.status()
    await asyncio.to_thread(agent.stop)
    agent.start()
    assert (await client.request("POST", URL, body=b"x")).body == b"x"
    assert [each.message.resume for each in agent.of(m.Hello)] == ["", "token-1"]  # type: ignore[attr-defined]


async def test_a_request_refused_as_unknown_is_sent_again_once(agent: FakeAgent, connect: Connect) -> None:
    """It was refused, so it was not executed."""
    refuse = [1]
    agent.script = lambda _a, h: (
        m.Refusal(Reason.UNKNOWN_PEER, "who are you") if refuse and refuse.pop() else ok(h.message.body)
    )  # type: ignore[attr-defined]
    client = connect()
    assert (await client.request("POST", URL, body=b"x")).body == b"x"
    refuse[:] = [1, 1]
    with pytest.raises(AgentGone):
        await client.request("POST", URL)


async def test_a_taken_session_is_a_security_error(agent: FakeAgent, connect: Connect) -> None:
    """Every caller hears it."""
    agent.hello_script = lambda _a, _h: m.Refusal(Reason.SESSION_TAKEN, "taken", 2.0)
    client = connect()
    results = await asyncio.gather(client.status(), client.status(), return_exceptions=True)
    assert [type(each) for each in results] == [SecurityError] * 2


async def test_a_broken_answer_is_a_protocol_error_with_outcome_unknown(agent: FakeAgent, connect: Connect) -> None:
    """And only its own caller hears it."""
    agent.script = lambda _a, h: b"\x01\x42" + bytes(2) + h.header.id.to_bytes(8, "big") + bytes(8) + b"\xc1"
    client = connect()
    with pytest.raises(ProtocolError) as caught:
        await client.request("POST", URL)
    assert caught.value.outcome is Outcome.UNKNOWN
    assert await client.status()


# ---------------------------------------------------------------- life signs


async def test_it_beats_by_itself_and_not_while_the_loop_hangs(agent: FakeAgent, connect: Connect) -> None:
    """A third of the lease apart, from the bot's own loop."""
    agent.beat_within_s = 0.3
    client = connect()
    await client.status()
    await heard(agent, m.Beat, 3)
    await asyncio.sleep(0)
    before = len(agent.of(m.Beat))
    time.sleep(0.5)  # the strategy hangs
    assert len(agent.of(m.Beat)) <= before + 1
    await heard(agent, m.Beat, before + 3)


async def test_requests_count_as_life_signs(agent: FakeAgent, connect: Connect) -> None:
    """A busy bot sends no beats on top."""
    agent.beat_within_s = 0.6
    client = connect()
    until = time.monotonic() + 0.5
    while time.monotonic() < until:
        await client.request("POST", URL)
        await asyncio.sleep(0.01)
    assert agent.of(m.Beat) == []


async def test_after_a_restart_an_idle_bot_is_known_again(agent: FakeAgent, connect: Connect) -> None:
    """The beat says hello when the agent came back, without any call of the bot's."""
    agent.beat_within_s = 0.3
    client = connect()
    await client.status()
    await asyncio.to_thread(agent.stop)
    agent.start()
    assert len(await heard(agent, m.Hello, 2)) == 2
    assert client is not None


async def test_verbs_of_life_reach_the_agent(agent: FakeAgent, connect: Connect) -> None:
    """beat, progress, idle and busy as with the blocking client."""
    client = connect()
    assert await client.beat() is True
    await client.progress()
    await client.progress(7)
    await client.idle(60)
    async with client.busy(30):
        await client.status()
    assert [(each.message.progress, each.header.beat_ds) for each in agent.of(m.Beat)] == [
        (-1, 0),
        (1, 0),
        (7, 0),
        (-1, 600),
        (-1, 300),
        (-1, 30),
    ]  # type: ignore[attr-defined]


async def test_a_beat_without_an_agent_is_false(connect: Connect) -> None:
    """No exception."""
    assert await connect(connect_timeout_s=0.1).beat() is False


# ---------------------------------------------------------------- posts, outcomes, directives, reports


def late(intent: str) -> m.OutcomeNews:
    return m.OutcomeNews(intent, "", Outcome.OK, 200, [], b"{}")


async def test_a_posts_outcome_is_awaited_and_acknowledged_after_the_bot_has_it(
    agent: FakeAgent, connect: Connect
) -> None:
    """The acknowledgement leaves by itself, once the caller's code ran on."""
    agent.script = lambda _a, h: m.Accepted(f"i-{h.header.id}")
    client = connect()
    accepted = await client.post("POST", URL, ttl_s=5)
    waiting = asyncio.create_task(client.outcome(accepted, timeout_s=5))
    await asyncio.sleep(0)
    agent.tell(agent.of(m.Post)[0].peer, late(accepted.id))
    assert (await waiting).id == accepted.id
    assert [each.message for each in await heard(agent, m.Ack)] == [m.Ack([accepted.id])]


async def test_uncollected_outcomes_and_directives_can_be_iterated(agent: FakeAgent, connect: Connect) -> None:
    """Each once, in order; silence ends the loop."""
    client = connect()
    await client.status()
    peer = agent.of(m.Hello)[0].peer
    for message in (late("a"), m.Directive("d", {"x": 1}), late("a"), late("b")):
        agent.tell(peer, message)
    assert [each.id async for each in client.outcomes(timeout_s=0.2)] == ["a", "b"]
    assert [each async for each in client.directives(timeout_s=0.05)] == [jackstay.Directive("d", {"x": 1})]
    for _ in range(2):
        agent.tell(peer, m.Directive("d", {"x": 2}, "directive/2"))
    assert [each.fields async for each in client.directives(timeout_s=0.1)] == [{"x": 2}]
    await client.status()
    assert ["directive/2"] in [each.message.ids for each in agent.of(m.Ack)]
    with pytest.raises(DeadlineExceeded, match="not lost"):
        await client.outcome("c", timeout_s=0.05)


async def test_reports_reach_the_agent(agent: FakeAgent, connect: Connect) -> None:
    """As with the blocking client."""
    client = connect()
    await client.report_error(ValueError("x"), component="c", operation="o")
    await client.report_state("orders", {"1": "open"})
    assert agent.of(m.ReportError)[0].message == m.ReportError("c", "o", "ValueError", "x")
    assert agent.of(m.ReportState)[0].message == m.ReportState("orders", {"1": "open"})


# ---------------------------------------------------------------- the end


async def test_close_says_goodbye_and_fails_who_still_waits(agent: FakeAgent, connect: Connect) -> None:
    """Nobody hangs; the client says that it is closed."""
    agent.script = lambda _a, _h: None
    client = connect()
    waiting = asyncio.create_task(client.request("POST", URL, deadline_s=20))
    await heard(agent, m.Request)
    await client.close("cancel", reason="deploy", back_within_s=5)
    with pytest.raises(AgentGone) as caught:
        await waiting
    assert caught.value.outcome is Outcome.UNKNOWN
    assert [each.message for each in agent.of(m.Goodbye)] == [m.Goodbye("deploy", "cancel", 5.0)]
    with pytest.raises(ValidationError, match="closed"):
        await client.status()


async def test_a_context_says_why_it_ended(agent: FakeAgent, runtime: Path) -> None:
    """The exception's name is the reason."""

    async def failing() -> None:
        async with jackstay.AsyncClient("fake", runtime_dir=runtime, bot_id="bot") as client:
            await client.status()
            raise KeyError("x")

    with pytest.raises(KeyError):
        await failing()
    assert [each.message for each in agent.of(m.Goodbye)] == [m.Goodbye("KeyError", "keep", 0.0)]


def _in_a_new_loop(coroutine: Any) -> Any:
    result: list[Any] = []
    thread = threading.Thread(target=lambda: result.append(asyncio.run(coroutine)))
    thread.start()
    thread.join(10)
    return result[0]


async def test_a_client_moves_to_the_next_loop(agent: FakeAgent, connect: Connect) -> None:
    """Two asyncio.run in a row with one client; nothing of the first is left behind."""
    client = connect()

    async def once() -> int:
        return (await client.request("POST", URL)).status

    assert await asyncio.to_thread(_in_a_new_loop, once()) == 200
    assert await asyncio.to_thread(_in_a_new_loop, once()) == 200


async def test_a_client_whose_loop_is_gone_still_says_goodbye(agent: FakeAgent, connect: Connect) -> None:
    """Closed in another loop than the one it spoke in."""
    client = connect()

    async def speak() -> None:
        await client.status()

    async def close() -> None:
        await client.close(reason="later")

    await asyncio.to_thread(_in_a_new_loop, speak())
    await asyncio.to_thread(_in_a_new_loop, close())
    assert [each.message for each in agent.of(m.Goodbye)] == [m.Goodbye("later")]


async def test_a_client_of_a_running_loop_is_not_taken_over_by_another(agent: FakeAgent, connect: Connect) -> None:
    """Its sockets belong to its loop's thread; the other loop is told."""
    client = connect()
    await client.status()

    async def other() -> str:
        with pytest.raises(ValidationError, match="another event loop") as caught:
            await client.status()
        return str(caught.value)

    assert await asyncio.to_thread(_in_a_new_loop, other())
    assert await client.status()


async def test_it_runs_on_uvloop(agent: FakeAgent, runtime: Path) -> None:
    """The descriptor on uvloop's reader; pipelined."""
    uvloop = pytest.importorskip("uvloop")

    async def run() -> list[bytes]:
        async with jackstay.AsyncClient("fake", runtime_dir=runtime, bot_id="bot") as client:
            answers = await asyncio.gather(
                *(client.request("POST", URL, body=str(n).encode(), deadline_s=5) for n in range(100))
            )
            return [each.body for each in answers]

    bodies = await asyncio.to_thread(lambda: uvloop.run(run()))
    assert bodies == [str(number).encode() for number in range(100)]
