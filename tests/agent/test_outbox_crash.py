"""The process is killed at every statement of the write path in turn; then the file is opened again.

A child process works through a script of orders and tells, unbuffered, what it has been promised (`Admitted`,
`Accepted`, what it sent, what was flushed, what was acknowledged). Before and after its n-th SQL statement it kills
itself with SIGKILL. What it was promised must be true in the next process: nothing acknowledged is lost, maybe-sent is
unknown, never-sent is recorded, and nothing that was collected comes again.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jackstay_agent.core.evidence import Evidence, Finding, Source
from jackstay_agent.core.intent import State
from jackstay_agent.outbox import Accepted, Admitted, Outbox
from jackstay_protocols.errors import Outcome
from outbox_world import Worker, World, cancel, order

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

Say = Callable[[str, int], None]


class Killer(sqlite3.Connection):
    """Counts statements and kills the process at the chosen one: even numbers before, odd numbers after it ran."""

    at = -1
    count = 0

    def _step(self, run: Callable[[], Any]) -> Any:
        cls = type(self)
        if cls.count * 2 == cls.at:
            os.kill(os.getpid(), signal.SIGKILL)
        result = run()
        if cls.count * 2 + 1 == cls.at:
            os.kill(os.getpid(), signal.SIGKILL)
        cls.count += 1
        return result

    def execute(self, *args: Any) -> Any:
        return self._step(lambda: super(Killer, self).execute(*args))

    def executemany(self, sql: str, rows: Any) -> Any:
        def each() -> None:
            for row in rows:
                self._step(lambda row=row: super(Killer, self).execute(sql, row))

        each()


def script(box: Outbox, say: Say, world: World) -> None:
    """Every kind of write: direct, batch, queue, sent, put back, answers, acks, evidence, hold, expiry, compaction."""

    def begin(number: int, **changes: Any) -> int:
        admitted = box.begin(order(number, symbol=f"S{number}", **changes))
        assert isinstance(admitted, Admitted)
        say("sent", admitted.seq)
        return admitted.seq

    def enqueue(number: int, **changes: Any) -> int:
        accepted = box.enqueue(order(number, symbol=f"S{number}", **changes))
        assert isinstance(accepted, Accepted)
        say("accepted", accepted.seq)
        return accepted.seq

    def flush(*seqs: int) -> None:
        box.flush()
        for seq in seqs:
            say("flushed", seq)

    first, second = begin(1), begin(2)
    box.finish(first, Outcome.OK, status=200, reply=b"{}")
    flush(first)
    batch = box.begin_batch([order(n, symbol=f"S{n}") for n in (3, 4)])
    assert isinstance(batch, tuple)
    for one in batch:
        say("sent", one.seq)
        box.finish(one.seq, Outcome.REJECTED)
    queued, kept, dropped = enqueue(5), enqueue(6), enqueue(7)
    old = enqueue(8, ttl_s=5.0)
    assert isinstance(box.mark_in_flight(queued), Admitted)
    say("marked", queued)
    box.put_back(queued)
    flush(*(one.seq for one in batch))
    assert isinstance(box.mark_in_flight(queued), Admitted)
    say("sent", queued)
    box.finish(queued, Outcome.OK)
    box.hold(kept)
    box.drop(dropped, who="me", why="test")
    world.pass_time(5.0)
    box.tick()
    flush(queued, dropped, old)
    box.finish(second, Outcome.UNKNOWN)
    box.resolve(second, Evidence(Source.OPERATOR, Finding.NOT_FOUND, who="me", why="test"))
    flush(second)
    say("collecting", first)
    box.ack("bot", [first])
    box.flush()
    say("collected", first)
    away = box.begin(cancel(9))
    assert isinstance(away, Admitted)
    say("sent", away.seq)
    box.checkpoint()
    if world.worker is not None:  # the sync of the WAL is done, the worker is about to work: the loop goes on
        world.worker.step()
    begin(10)
    late = enqueue(11)
    assert isinstance(box.mark_in_flight(late), Admitted)
    say("sent", late)
    box.finish(late, Outcome.OK)
    if world.worker is not None:
        world.worker.drain()
    flush(late)
    world.pass_time(1_000.0)
    box.checkpoint()
    if world.worker is not None:
        world.worker.drain()
    begin(12)
    box.close()
    say("closed", 0)


def run_child(folder: Path, at: int, settings: dict[str, Any]) -> tuple[dict[int, list[str]], bool]:
    """What the child was promised, and whether it lived to the end."""
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(out)
            Killer.at, Killer.count = at, 0
            world = World(folder, **settings)
            world.connect = lambda *a, **k: sqlite3.connect(*a, factory=Killer, **k)
            worker = Worker() if settings["durability"] == "process" else None
            script(world.open(worker), lambda what, seq: os.write(into, f"{what} {seq}\n".encode()) and None, world)
            os._exit(0)
        except BaseException as error:
            sys.__stderr__.write(f"{type(error).__name__}: {error}\n")
            os._exit(3)
    os.close(into)
    with os.fdopen(out) as said:
        promised: dict[int, list[str]] = defaultdict(list)
        for line in said:
            what, seq = line.split()
            promised[int(seq)].append(what)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "the script itself failed"
    return promised, not os.WIFSIGNALED(status)


def check(folder: Path, promised: dict[int, list[str]]) -> None:
    """Open what the dead process left, and compare."""
    world = World(folder)
    world.pass_time(1_006.0)
    box = world.open()
    assert world.said("outbox.set_aside") == []
    assert world.said("outbox.row_damaged") == []
    opened = {o.seq: o.state for o in box.open_intents()}
    waiting = {u.seq: u.ending.state for u in box.uncollected("bot", 1_000)}
    assert State.IN_FLIGHT not in opened.values()
    for seq, said in promised.items():
        if not seq:
            continue
        if "collected" in said:
            assert seq not in opened
            assert seq not in waiting, "what was collected came again"
        elif "collecting" in said:
            assert seq not in opened
        elif "flushed" in said:
            assert seq in waiting, (seq, said)
        elif "sent" in said:
            assert opened.get(seq) is State.UNKNOWN or seq in waiting, (seq, said, opened)
        else:
            # never sent: still queued; or marked, whether or not it was put back; or ended without having been sent
            assert seq in opened or waiting.get(seq) in ("expired", "dropped"), (seq, said)
    while (due := box.next_due()) is not None:
        assert set(promised.get(due.seq, [])) <= {"accepted", "marked"}, "what was sent is due again"
        box.drop(due.seq, who="test", why="checked")
    box.close()


@pytest.mark.parametrize("durability", ["process", "disk"])
def test_at_every_statement_boundary(tmp_path: Path, durability: str) -> None:
    """Killed before and after each SQL statement in turn: every promise holds in the next process."""
    settings = {"durability": durability, "flush_after_s": 60.0}
    at, lived = 0, False
    while not lived:
        folder = tmp_path / str(at)
        folder.mkdir()
        promised, lived = run_child(folder, at, settings)
        check(folder, promised)
        at += 1
    assert 0 in promised, "the last child closed its outbox"
    assert at > 120, "the script has many statements"


def test_at_every_statement_of_the_recovery(tmp_path: Path) -> None:
    """Killed in the middle of starting, again and again, a statement later each time: the last start has it all."""
    promised, lived = run_child(tmp_path, 90, {"durability": "process", "flush_after_s": 60.0})
    assert not lived
    for at in range(40):
        child = os.fork()
        if child == 0:
            Killer.at, Killer.count = at, 0
            world = World(tmp_path)
            world.pass_time(1_006.0)
            world.connect = lambda *a, **k: sqlite3.connect(*a, factory=Killer, **k)
            world.open()
            os._exit(0)
        os.waitpid(child, 0)
    check(tmp_path, promised)
