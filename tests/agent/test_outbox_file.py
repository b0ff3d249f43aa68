"""Bad days of the file: full, read-only, corrupt, truncated, of another version, taken."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jackstay_agent.core.evidence import Evidence, Finding, Source
from jackstay_agent.core.intent import State
from jackstay_agent.outbox import Admitted, OutboxTaken, OutboxTooNew, Refusal, schema
from jackstay_protocols.errors import Outcome, Reason
from outbox_world import Worker, World, cancel, order, seq_of


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def fill(world: World) -> None:
    """Let the file grow to its last page: SQLite then says what a full disk says."""
    pages = world.connection.execute("PRAGMA page_count").fetchone()[0]
    world.connection.execute(f"PRAGMA max_page_count={pages}")


def make_room(world: World) -> None:
    world.connection.execute("PRAGMA max_page_count=1000000")


def big(number: int, **changes: Any) -> Any:
    return order(number, body=b"x" * 5_000, **changes)


# -- full ----------------------------------------------------------------------------------------------------------


def test_on_a_full_disk_orders_are_refused_and_cancels_go_on(world: World) -> None:
    """Refused with DISK and a retry time, visible once as degraded; a cancel is admitted in memory; nothing is lost."""
    box = world.open()
    done = seq_of(box.begin(order(1)))
    fill(world)
    for attempt in (box.begin, box.enqueue):
        refused = attempt(big(2))
        assert isinstance(refused, Refusal)
        assert (refused.reason, refused.retry_after_s) == (Reason.DISK, 2.0)
    assert len(world.said("outbox.degraded")) == 1
    assert "disk full" in box.stats()["degraded"]
    admitted = box.begin(cancel(3))
    assert isinstance(admitted, Admitted)
    assert not admitted.journaled
    queued = box.enqueue(cancel(4))
    assert seq_of(queued)
    assert isinstance(box.mark_in_flight(seq_of(queued)), Admitted)
    box.finish(seq_of(queued), Outcome.OK)
    box.finish(admitted.seq, Outcome.OK)
    box.finish(done, Outcome.OK)
    assert [u.seq for u in box.uncollected("bot")] == [done, admitted.seq, seq_of(queued)]
    assert box.ack("bot", [admitted.seq]) == 1


def test_when_there_is_room_again_what_was_kept_in_memory_is_written(world: World) -> None:
    """Tried again every two seconds; healed is said; a restart finds all of it."""
    box = world.open()
    seq = seq_of(box.begin(order(1)))
    fill(world)
    assert isinstance(box.begin(big(2)), Refusal)
    kept = seq_of(box.begin(cancel(3, body=b"x" * 9_000)))
    box.finish(seq, Outcome.OK)
    world.pass_time(2.0)
    box.tick()
    assert world.said("outbox.healed") == []
    make_room(world)
    world.pass_time(1.9)
    box.tick()
    assert world.said("outbox.healed") == []
    world.pass_time(0.1)
    box.tick()
    assert world.said("outbox.healed") == [{"was": "disk full"}]
    assert world.freed == 1
    seq_of(box.begin(order(5)))
    world.kill()
    box = world.open()
    assert {u.seq for u in box.unknowns()} >= {kept}
    assert [u.seq for u in box.uncollected("bot")] == [seq]


def test_answers_that_cannot_be_written_are_kept_and_written_later(world: World) -> None:
    """A flush that fails degrades; unknown orders stay known; a restart meanwhile is doubt, not loss."""
    box = world.open()
    seq = seq_of(box.begin(order(1)))
    fill(world)
    box.finish(seq, Outcome.OK, reply=b"x" * 20_000)
    box.flush()
    assert len(world.said("outbox.degraded")) == 1
    assert [u.ending.state for u in box.uncollected("bot")] == ["done"]
    world.kill()
    assert [u.seq for u in world.open().unknowns()] == [seq]


def test_a_queued_order_stays_queued_while_the_disk_is_full(world: World) -> None:
    """Not due, not sent; its cancel is; healed, it leaves."""
    box = world.open()
    seq = seq_of(box.enqueue(order(1)))
    fill(world)
    assert isinstance(box.begin(big(2)), Refusal)
    assert box.next_due() is None
    refused = box.mark_in_flight(seq)
    assert isinstance(refused, Refusal)
    assert refused.reason is Reason.DISK
    make_room(world)
    world.pass_time(2.0)
    box.tick()
    due = box.next_due()
    assert due is not None
    assert due.seq == seq


def test_marking_in_flight_on_a_disk_that_just_filled_puts_it_back(tmp_path: Path) -> None:
    """The order that could not be written as under way is not sent and stays in its place."""
    world = World(tmp_path)
    box = world.open()
    seq = seq_of(box.enqueue(order(1)))
    other = seq_of(box.begin(order(2, symbol="ETHUSDT")))
    fill(world)
    box.finish(other, Outcome.OK, reply=b"x" * 20_000)
    refused = box.mark_in_flight(seq)
    assert isinstance(refused, Refusal)
    assert refused.reason is Reason.DISK
    assert [o.state for o in box.open_intents()] == [State.RECORDED]


def test_a_cancel_marked_in_flight_on_a_full_disk_leaves(world: World) -> None:
    """The write fails, the cancel goes all the same, and degraded is said."""
    box = world.open()
    seq = seq_of(box.enqueue(cancel(1)))
    other = seq_of(box.begin(order(2)))
    fill(world)
    box.finish(other, Outcome.OK, reply=b"x" * 20_000)
    assert isinstance(admitted := box.mark_in_flight(seq), Admitted)
    assert not admitted.journaled
    assert len(world.said("outbox.degraded")) == 1


def test_with_durability_disk_a_failed_commit_refuses_through_the_callback(tmp_path: Path) -> None:
    """on_durable gets the fault: nothing was recorded, the key is free, and the order is never sent or delivered."""
    world = World(tmp_path, durability="disk")
    worker = Worker()
    box = world.open(worker)
    queued = seq_of(box.enqueue(order(7, symbol="ETHUSDT")))
    worker.drain()
    fill(world)
    told: list[Any] = []
    box.begin(big(1), told.append)
    worker.drain()
    assert [fault.fault.value for fault in told] == ["disk full"]
    assert box.find_duplicate("bot", "key-1") is None
    assert [o.seq for o in box.open_intents()] == [queued]
    make_room(world)
    world.pass_time(2.0)
    box.tick()
    worker.drain()
    assert world.said("outbox.healed")
    seq_of(box.begin(big(1), told.append))
    worker.drain()
    assert told[1:] == [None]
    fill(world)
    box.finish(box.open_intents()[-1].seq, Outcome.OK, reply=b"x" * 50_000)
    box.mark_in_flight(queued, told.append)
    worker.drain()
    assert told[2].fault.value == "disk full"
    assert box.open_intents()[0].state is State.RECORDED
    world.kill()
    box = world.open(Worker())
    assert box.uncollected("bot") == []


def test_memory_stays_bounded_while_degraded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that cannot be written are kept up to a bound; what had to be forgotten is counted; cancels still pass."""
    monkeypatch.setattr("jackstay_agent.outbox.journal.UNWRITTEN_MAX", 3)
    box = world.open()
    fill(world)
    assert isinstance(box.begin(big(0)), Refusal)
    seqs = []
    for number in range(1, 6):
        seqs.append(seq_of(box.begin(cancel(number))))
        if number == 2:
            box.finish(seqs[-1], Outcome.OK)
    assert box.stats()["unjournaled"] == 2
    assert box.stats()["unwritten"] == 3


def test_a_checkpoint_that_fails_degrades_and_loses_nothing(world: World) -> None:
    """Compaction on a sick disk: what was in the batch is there afterwards."""
    worker = Worker()
    box = world.open(worker)
    seq = seq_of(box.begin(order(1)))
    box.checkpoint()
    world.connection.execute("PRAGMA query_only=ON")
    box.finish(seq, Outcome.OK)
    worker.drain()
    assert "read-only" in box.stats()["degraded"]
    assert not box.checkpoint()
    world.connection.execute("PRAGMA query_only=OFF")
    world.pass_time(2.0)
    box.tick()
    assert box.stats()["degraded"] is None
    assert box.stats()["unwritten"] == 0


def test_what_cannot_be_written_at_close_is_said(world: World) -> None:
    """close does not raise: it names the fault and how many rows are left."""
    box = world.open()
    seq = seq_of(box.begin(order(1)))
    fill(world)
    box.finish(seq, Outcome.OK, reply=b"x" * 20_000)
    box.close()
    (said,) = world.said("outbox.unwritten")
    assert said["rows"] == 1
    assert "disk full" in said["why"]


@contextlib.contextmanager
def small_tmpfs(folder: Path, size: str) -> Iterator[Path]:
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"mounting a tmpfs is not permitted here: {mounted.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


needs_root = pytest.mark.skipif(
    shutil.which("mount") is None or os.geteuid() != 0, reason="mounting a small file system needs root"
)


@needs_root
def test_on_a_really_full_file_system(tmp_path: Path) -> None:
    """ENOSPC from the kernel: the same behaviour, and healed when the file that filled it is gone."""
    with small_tmpfs(tmp_path / "small", "1M") as folder:
        world = World(folder)
        box = world.open()
        (folder / "ballast").write_bytes(b"x" * 300_000)
        admitted = []
        for number in range(2_000):
            result = box.begin(order(number, symbol=f"S{number}"))
            if isinstance(result, Refusal):
                break
            admitted.append(result.seq)  # type: ignore[union-attr]
        assert isinstance(result, Refusal)
        assert result.reason is Reason.DISK
        assert isinstance(box.begin(cancel(1)), Admitted)
        (folder / "ballast").unlink()
        world.pass_time(2.0)
        box.tick()
        assert world.said("outbox.healed")
        last = seq_of(box.begin(order(9_999, symbol="LAST")))
        world.kill()
        found = {u.seq for u in world.open().unknowns()}
        assert found >= {*admitted, last}
        world.box.close()


@needs_root
def test_a_copy_that_would_fill_the_disk_is_not_begun(tmp_path: Path) -> None:
    """An upgrade's check takes no room from the orders of the agent that runs; the words say what is there."""
    with small_tmpfs(tmp_path / "small", "4M") as folder, contextlib.closing(sqlite3.connect(tmp_path / "j")) as conn:
        conn.execute("CREATE TABLE t (x)")
        with pytest.raises(OSError, match="MiB are free, 8 MiB are expected"):
            schema.copy_file(conn, folder / "copy")
        assert list(folder.iterdir()) == []
        schema.copy_file(conn, tmp_path / "copy")
        assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o600


# -- read-only, missing, taken -------------------------------------------------------------------------------------


@needs_root
def test_on_a_read_only_file_system_the_outbox_opens_degraded_and_heals(tmp_path: Path) -> None:
    """Orders refused, cancels in memory; when it can be written again what the file held is taken over."""
    with small_tmpfs(tmp_path / "ro", "4M") as folder:
        world = World(folder)
        seq = seq_of(world.open().begin(order(1)))
        world.box.close()
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        box = world.open()
        assert "read-only" in box.stats()["degraded"]
        assert isinstance(box.begin(order(2)), Refusal)
        assert isinstance(box.begin(cancel(3)), Admitted)
        world.pass_time(2.0)
        box.tick()
        assert box.unknowns() == []
        subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)
        world.pass_time(2.0)
        box.tick()
        assert world.said("outbox.healed") == [{"was": "read-only"}]
        assert [u.seq for u in box.unknowns()] == [seq]
        assert isinstance(box.begin(order(4, fields=order(1).fields)), Refusal)
        seq_of(box.begin(order(5, symbol="ETHUSDT")))
        box.close()
        assert len(world.open().open_intents()) == 3
        world.box.close()


def test_a_folder_that_is_not_there_is_a_degraded_start(tmp_path: Path) -> None:
    """No file, no orders; cancels go on; when the folder comes the outbox is there, with what it kept."""
    world = World(tmp_path / "missing")
    box = world.open()
    assert box.stats()["degraded"] is not None
    kept = seq_of(box.begin(cancel(1)))
    box.finish(kept, Outcome.OK)
    assert box.story(999) is None
    assert box.export() == []
    assert not box.checkpoint()
    assert [u.seq for u in box.uncollected("bot")] == [kept]
    (tmp_path / "missing").mkdir()
    world.pass_time(2.0)
    box.tick()
    assert box.stats()["degraded"] is None
    seq_of(box.begin(order(2)))
    assert [u.seq for u in world.reopen().uncollected("bot")] == [kept]


def test_a_file_held_by_another_agent_is_a_clear_error(world: World) -> None:
    """Not corrupt, not degraded: two agents on one file is a person's mistake."""
    world.open()
    with pytest.raises(OutboxTaken, match="another process"):
        World(world.path.parent).open()


def test_a_stranger_with_the_file_open_cannot_stall_the_loop(world: World) -> None:
    """While the agent lives another connection can neither read nor lock it."""
    world.open().begin(order())
    stranger = sqlite3.connect(world.path, timeout=0)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        stranger.execute("SELECT * FROM intents")
    stranger.close()


# -- corrupt, truncated, of another kind -----------------------------------------------------------------------------


def written(world: World) -> int:
    """A closed file with an unknown order in it."""
    box = world.open()
    for number in range(50):
        box.finish(seq_of(box.begin(big(number, symbol=f"S{number}"))), Outcome.UNKNOWN)
    box.close()
    return world.path.stat().st_size


@pytest.mark.parametrize("damage", ["truncated", "garbage", "header", "middle", "text"])
def test_a_damaged_file_is_set_aside_and_said(world: World, damage: str) -> None:
    """Renamed with the time, reported, and a new one takes its place; numbers go on above the old ones."""
    size = written(world)
    with world.path.open("r+b") as file:
        if damage == "truncated":
            file.truncate(size // 3)
        elif damage == "garbage":
            file.write(b"\xff" * size)
        elif damage == "header":
            file.write(b"not a database at all")
        elif damage == "middle":
            file.seek(4096)
            file.write(b"\xff" * 4096 * 3)
        else:
            file.truncate(0)
            file.write(b"hello, I am a text file\n" * 100)
    world.pass_time(10.0)
    box = world.open()
    (said,) = world.said("outbox.set_aside")
    moved = Path(said["moved_to"])
    assert moved.exists()
    assert moved.name.startswith("outbox.db.damaged-20231114T2213")
    assert box.stats()["degraded"] is None
    assert box.unknowns() == []
    seq_of(box.begin(order(1)))
    assert len(world.reopen().unknowns()) == 1


def test_a_second_damaged_file_does_not_overwrite_the_first(world: World) -> None:
    """In the same second even."""
    for _ in range(3):
        world.path.write_bytes(b"rubbish" * 1_000)
        world.open().close()
    assert len({said["moved_to"] for said in world.said("outbox.set_aside")}) == 3


@pytest.mark.parametrize("version", [-1, 0, 16_711_682])
def test_a_file_whose_version_is_damaged_is_set_aside(world: World, version: int) -> None:
    """No release ever had that number: the agent starts, and the file can be looked at (found by the fuzz)."""
    world.open().begin(order(1))
    world.box.close()
    with sqlite3.connect(world.path) as conn:
        conn.execute(f"PRAGMA user_version={version}")
    conn.close()
    seq_of(world.open().begin(order(2)))
    assert len(world.said("outbox.set_aside")) == 1
    assert world.said("outbox.degraded") == []


def test_an_sqlite_file_of_something_else_is_set_aside(world: World) -> None:
    """With or without tables of ours by name."""
    for kind in ("foreign", "application"):
        conn = sqlite3.connect(world.path)
        conn.execute("CREATE TABLE intents (a)")
        if kind == "application":
            conn.execute("PRAGMA application_id=7")
            conn.execute("PRAGMA user_version=1")
        conn.commit()
        conn.close()
        world.open().close()
        world.path.unlink()
    assert len(world.said("outbox.set_aside")) == 2


def test_a_damaged_file_that_cannot_be_moved_leaves_the_outbox_degraded(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancels go on all the same."""
    world.path.write_bytes(b"rubbish" * 1_000)

    def no(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(schema.os, "rename", no)
    box = world.open()
    assert box.stats()["degraded"] is not None
    assert isinstance(box.begin(cancel(1)), Admitted)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE intents SET state=10 WHERE seq=?",
        "UPDATE intents SET payload=x'00' WHERE seq=?",
        "UPDATE intents SET outcome=x'ff' WHERE seq=?",
        "UPDATE intents SET bot_id='other' WHERE seq=?",
        "UPDATE intents SET finished=1.0 WHERE seq=?",
        "UPDATE intents SET held=1 WHERE seq=?",
        "UPDATE intents SET attempts=3 WHERE seq=?",
        "UPDATE intents SET sum=sum+1 WHERE seq=?",
        "UPDATE intents SET state='text' WHERE seq=?",
        "UPDATE intents SET payload=17 WHERE seq=?",
    ],
)
def test_a_row_whose_bits_changed_is_put_aside_and_the_others_live(world: World, change: str) -> None:
    """The checksum finds it; it is moved to a table of its own, counted, said, and never acted upon."""
    box = world.open()
    good, bad = (seq_of(box.begin(order(n, symbol=f"S{n}"))) for n in (1, 2))
    box.close()
    with sqlite3.connect(world.path) as conn:
        conn.execute(change, (bad,))
    conn.close()
    box = world.open()
    assert [u.seq for u in box.unknowns()] == [good]
    assert [said["seq"] for said in world.said("outbox.row_damaged")] == [bad]
    assert box.stats()["totals"]["damaged_rows"] == 1
    box.close()
    with sqlite3.connect(world.path) as conn:
        assert conn.execute("SELECT seq FROM damaged").fetchall() == [(bad,)]
    conn.close()
    world.events.clear()
    world.open()
    assert world.said("outbox.row_damaged") == []


def test_a_flipped_acknowledgement_is_not_an_acknowledgement(world: World) -> None:
    """Any value but the row's own checksum leaves the outcome uncollected."""
    box = world.open()
    seq = seq_of(box.begin(order()))
    box.finish(seq, Outcome.OK)
    box.close()
    with sqlite3.connect(world.path) as conn:
        conn.execute("UPDATE intents SET acked=1")
    conn.close()
    assert [u.seq for u in world.open().uncollected("bot")] == [seq]


def test_a_file_that_breaks_under_our_hands_degrades_until_a_restart(world: World) -> None:
    """No healing by trying: only a start checks it and sets it aside."""
    box = world.open()
    seq_of(box.begin(order(1)))

    class Broken:
        in_transaction = False

        def execute(self, *_: object) -> None:
            error = sqlite3.DatabaseError("database disk image is malformed")
            error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise error

        def close(self) -> None:
            world.connection.close()

    box._journal._store._conn = Broken()  # type: ignore[union-attr,assignment]
    assert isinstance(box.begin(order(2, symbol="ETHUSDT")), Refusal)
    world.pass_time(60.0)
    box.tick()
    assert world.said("outbox.healed") == []
    assert isinstance(box.begin(cancel(3)), Admitted)
    found = box.find_duplicate("bot", "key-1")
    assert found is not None
    box.close()


# -- versions --------------------------------------------------------------------------------------------------------

SCHEMA_1 = """CREATE TABLE intents (seq INTEGER PRIMARY KEY, state INTEGER NOT NULL, acked INTEGER NOT NULL,
    sum INTEGER NOT NULL, finished REAL NOT NULL, held INTEGER NOT NULL, bot_id TEXT NOT NULL, payload BLOB NOT NULL,
    outcome BLOB);
CREATE TABLE damaged (seq INTEGER PRIMARY KEY, found_wall REAL NOT NULL, why TEXT NOT NULL, row BLOB);
CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;"""


def test_a_file_of_schema_1_is_migrated_with_all_that_is_in_it(world: World) -> None:
    """Rows written before attempts were kept are valid, open and settled alike, and work goes on."""
    box = world.open()
    flying, queued = seq_of(box.begin(order(1))), seq_of(box.enqueue(order(2, symbol="ETHUSDT")))
    done = seq_of(box.begin(order(3, symbol="XRPUSDT")))
    box.finish(done, Outcome.OK)
    box.close()
    old = sqlite3.connect(world.path.with_name("old.db"))
    old.executescript(SCHEMA_1)
    old.execute("ATTACH ? AS new", (str(world.path),))
    columns = "seq, state, acked, sum, finished, held, bot_id, payload, outcome"
    old.execute(f"INSERT INTO main.intents SELECT {columns} FROM new.intents")
    old.commit()
    old.execute(f"PRAGMA main.application_id={schema.APPLICATION_ID}")
    old.execute("PRAGMA main.user_version=1")
    old.close()
    world.path.with_name("old.db").rename(world.path)
    box = world.open()
    assert world.said("outbox.row_damaged") == []
    assert [u.seq for u in box.unknowns()] == [flying]
    assert [u.seq for u in box.uncollected("bot")] == [done]
    due = box.next_due()
    assert due is not None
    assert due.seq == queued
    seq_of(box.mark_in_flight(queued))
    box.put_back(queued)
    due = world.reopen().next_due()
    assert due is not None
    assert due.attempts == 1


def test_a_later_schema_is_refused_and_the_file_left_alone(world: World) -> None:
    """The message names both versions and what to do; nothing was changed."""
    world.open().close()
    with sqlite3.connect(world.path) as conn:
        conn.execute("PRAGMA user_version=99")
    conn.close()
    before = world.path.read_bytes()
    with pytest.raises(OutboxTooNew, match=r"schema 99.*up to 2"):
        world.open()
    assert world.path.read_bytes() == before
    assert world.said("outbox.set_aside") == []


def test_a_migration_that_fails_changes_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """All statements of all steps, or none; the fault is said and the outbox degraded."""
    world.open().close()
    monkeypatch.setattr(schema.migrate, "__defaults__", ({2: ("CREATE TABLE extra (a)", "NONSENSE")}, 3))
    assert world.open().stats()["degraded"] is not None
    monkeypatch.undo()
    world.box.close()
    with sqlite3.connect(world.path) as conn:
        assert conn.execute("PRAGMA user_version").fetchone() == (2,)
        assert conn.execute("SELECT count(*) FROM sqlite_master WHERE name='extra'").fetchone() == (0,)
    conn.close()


def test_an_empty_file_is_a_new_outbox(world: World) -> None:
    """As after a crash between making and filling it."""
    world.path.touch()
    seq_of(world.open().begin(order()))
    assert world.said("outbox.set_aside") == []


def test_a_big_file_is_opened_without_the_page_check(tmp_path: Path) -> None:
    """Start time over certainty: damage then shows while reading, and the file is set aside all the same."""
    world = World(tmp_path, check_bytes_max=1)
    written(world)
    with world.path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 4096 * 3)
    world.open()
    assert len(world.said("outbox.set_aside")) == 1
    assert world.box.stats()["degraded"] is None


def test_late_news_after_healing_is_not_lost(world: World) -> None:
    """What evidence settled while the disk was full is in the file after it healed."""
    box = world.open()
    seq = seq_of(box.begin(order(1)))
    box.finish(seq, Outcome.UNKNOWN)
    box.flush()
    fill(world)
    assert isinstance(box.begin(big(2, symbol="ETHUSDT")), Refusal)
    box.resolve(seq, Evidence(Source.STREAM, Finding.EXISTS))
    make_room(world)
    world.pass_time(2.0)
    box.tick()
    world.kill()
    box = world.open()
    assert box.unknowns() == []
    assert [u.ending.state for u in box.uncollected("bot")] == ["done"]
