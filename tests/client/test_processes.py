"""The client among real processes: agents that are killed and stopped, bots that fork, exit and are terminated."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import jackstay
from client import fake_agent
from client.fake_agent import FakeAgent
from harness import freeze
from jackstay_protocols import messages as m
from jackstay_protocols.errors import AgentGone, DeadlineExceeded, Outcome

Connect = Callable[..., jackstay.Client]
URL = "https://api.binance.com/api/v3/order"

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX processes")


@contextmanager
def agent_process(runtime: Path, mode: str, ledger: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, fake_agent.__file__, str(runtime), mode, str(ledger)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.communicate()


def executed(ledger: Path) -> list[str]:
    return ledger.read_text(encoding="utf-8").split() if ledger.exists() else []


def test_an_agent_killed_with_the_request_is_seen_at_once(runtime: Path, connect: Connect) -> None:
    """kill -9: AgentGone with outcome unknown, within a fraction of a second of the death."""
    with agent_process(runtime, "silent", runtime / "ledger") as process:
        client = connect()
        client.status()
        pid = os.fork()
        if pid == 0:  # another process, so that this one is really waiting when it happens
            while not executed(runtime / "ledger"):
                time.sleep(0.005)
            os.kill(process.pid, signal.SIGKILL)
            os._exit(0)
        began = time.monotonic()
        with pytest.raises(AgentGone) as caught:
            client.request("POST", URL, tag="one", deadline_s=30)
        assert caught.value.outcome is Outcome.UNKNOWN
        assert time.monotonic() - began < 5
        os.waitpid(pid, 0)


def test_a_stopped_agent_executes_none_of_the_calls_it_slept_through(runtime: Path, connect: Connect) -> None:
    """SIGSTOP, 100 order calls that all end, SIGCONT: the ledger shows none of them."""
    ledger = runtime / "ledger"
    with agent_process(runtime, "echo", ledger) as process:
        client = connect()
        client.request("POST", URL, tag="before")
        freeze(process.pid)
        for _ in range(100):
            with pytest.raises((AgentGone, DeadlineExceeded)) as caught:
                client.request("POST", URL, tag="stale", deadline_s=0.001)
            # handed over and unanswered, or the millisecond was over before it could be
            assert caught.value.outcome in (Outcome.UNKNOWN, Outcome.FAILED)
        process.send_signal(signal.SIGCONT)
        assert client.request("POST", URL, tag="after", deadline_s=5).status == 200
        assert executed(ledger) == ["before", "after"]


def test_a_stopped_agent_does_not_greet_and_nothing_is_sent(runtime: Path, connect: Connect) -> None:
    """Not greeted means provably not sent: outcome FAILED."""
    with agent_process(runtime, "echo", runtime / "ledger") as process:
        freeze(process.pid)
        with pytest.raises(AgentGone) as caught:
            connect(connect_timeout_s=0.2).request("POST", URL, tag="stale")
        assert caught.value.outcome is Outcome.FAILED
        process.send_signal(signal.SIGCONT)
        assert connect().request("POST", URL, tag="after").status == 200
        assert executed(runtime / "ledger") == ["after"]


def test_a_forked_child_has_its_own_line(agent: FakeAgent, connect: Connect) -> None:
    """Parent and child use the same client object at the same time; the child shows its own pid."""
    client = connect()
    assert client.request("POST", URL, body=b"parent").body == b"parent"
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = 0 if client.request("POST", URL, body=b"child").body == b"child" else 2
            client.close(reason="child")
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert client.request("POST", URL, body=b"parent again").body == b"parent again"
    assert [each.message.pid for each in agent.of(m.Hello) if each.message.resume == ""][:2] == [os.getpid(), pid]  # type: ignore[attr-defined]
    assert [each.message.reason for each in agent.of(m.Goodbye)] == ["child"]  # type: ignore[attr-defined]


BOT = """
    import os, signal, sys, time
    import jackstay
    client = jackstay.Client("fake", bot_id="bot")
    {before}
    client.status()
    print("ready", flush=True)
    {after}
"""


def bot(runtime: Path, after: str, before: str = "") -> subprocess.Popen[str]:
    code = textwrap.dedent(BOT).format(before=before, after=after)
    env = {**os.environ, "JACKSTAY_RUNTIME_DIR": str(runtime)}
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def goodbyes(agent: FakeAgent) -> list[m.Message]:
    return [each.message for each in agent.of(m.Goodbye)]


def test_a_bot_that_just_ends_says_goodbye(agent: FakeAgent, runtime: Path) -> None:
    """At exit, without close(): the orders are kept, and nothing is printed."""
    _, errors = bot(runtime, "").communicate(timeout=20)
    assert errors == ""
    assert goodbyes(agent) == [m.Goodbye("exit")]


def test_a_bot_that_dies_of_an_exception_says_goodbye_too(agent: FakeAgent, runtime: Path) -> None:
    """Exit handlers run then as well."""
    process = bot(runtime, "raise KeyError('x')")
    process.communicate(timeout=20)
    assert process.returncode == 1
    assert goodbyes(agent) == [m.Goodbye("exit")]


def test_sigterm_says_goodbye_and_still_terminates(agent: FakeAgent, runtime: Path) -> None:
    """The supervisor sees a process that a signal ended."""
    process = bot(runtime, "time.sleep(60)")
    process.terminate()
    process.communicate(timeout=20)
    assert process.returncode == -signal.SIGTERM
    assert goodbyes(agent) == [m.Goodbye("SIGTERM")]


def test_sigterm_in_the_middle_of_a_request(agent: FakeAgent, runtime: Path) -> None:
    """The interrupted socket is not touched; goodbye has its own."""
    agent.script = lambda _a, _h: None
    process = bot(runtime, f"client.request('POST', {URL!r}, deadline_s=60)")
    agent.wait_for(m.Request)
    process.terminate()
    process.communicate(timeout=20)
    assert process.returncode == -signal.SIGTERM
    assert goodbyes(agent) == [m.Goodbye("SIGTERM")]


@pytest.mark.parametrize("when", ["before", "after"])
def test_the_bots_own_sigterm_handler_is_never_stolen(agent: FakeAgent, runtime: Path, when: str) -> None:
    """Installed before or after, it is the one that runs."""
    install = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(42))"
    if when == "before":
        process = bot(runtime, "time.sleep(60)", before=install + "; client = jackstay.Client('fake', bot_id='bot')")
    else:
        process = bot(runtime, install + "; print('set', flush=True); time.sleep(60)")
        assert process.stdout is not None
        assert process.stdout.readline() == "set\n"
    process.terminate()
    process.communicate(timeout=20)
    assert process.returncode == 42
    assert goodbyes(agent) == [m.Goodbye("exit")]


def test_a_handler_that_chains_to_ours_keeps_its_own_end(agent: FakeAgent, runtime: Path) -> None:
    """Called as the earlier handler, ours says goodbye and leaves the rest to the bot."""
    chain = "old = signal.getsignal(signal.SIGTERM); signal.signal(signal.SIGTERM, lambda *a: (old(*a), sys.exit(43)));"
    process = bot(runtime, chain + " print('set', flush=True); time.sleep(60)")
    assert process.stdout is not None
    assert process.stdout.readline() == "set\n"
    process.terminate()
    process.communicate(timeout=20)
    assert process.returncode == 43
    assert goodbyes(agent) == [m.Goodbye("SIGTERM")]


def test_an_asyncio_bot_that_just_ends_says_goodbye(agent: FakeAgent, runtime: Path) -> None:
    """Its loop is closed by then; nothing is printed and nothing hangs."""
    code = """
    import asyncio, jackstay
    async def main():
        client = jackstay.AsyncClient("fake", bot_id="bot")
        await client.status()
    asyncio.run(main())
    """
    env = {**os.environ, "JACKSTAY_RUNTIME_DIR": str(runtime)}
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        env=env,
        timeout=20,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert goodbyes(agent) == [m.Goodbye("exit")]


def test_a_bot_without_its_agent_ends_quickly(runtime: Path) -> None:
    """The last word waits a quarter second at most."""
    with FakeAgent(runtime):
        process = bot(runtime, "sys.stdin.readline()")
    began = time.monotonic()
    process.terminate()
    process.communicate(timeout=20)
    assert process.returncode == -signal.SIGTERM
    assert time.monotonic() - began < 2
