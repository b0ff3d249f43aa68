"""The audit log on real files: batches, rotation, retention, a full disk, the agent's death, the key, alerts' sinks."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jackstay_agent.alert_settings import AlertSettings
from jackstay_agent.alerts import Alerts, CommandSink, WebhookSink
from jackstay_agent.audit.anchors import Anchors, anchors_in
from jackstay_agent.audit.key import own_key, read_key
from jackstay_agent.audit.log import EVENTS_PER_S_MAX, AuditLog
from jackstay_agent.audit.reading import records_of, verify
from jackstay_agent.audit.shelf import files_of
from jackstay_agent.audit_settings import AuditSettings
from jackstay_agent.core.audit_chain import Anchor
from jackstay_agent.core.audit_verify import Fault
from jackstay_agent.transport.http import HttpAnswer, HttpFailure
from jackstay_protocols.errors import SecurityError, ValidationError

START_S = 1_800_000_000.0


class Timer:
    def __init__(self, at: float, act: Any) -> None:
        self.at, self.act, self.cancelled = at, act, False

    def cancel(self) -> None:
        self.cancelled = True


class World:
    """A clock that is a number, timers that run when it is moved, writes that happen at once."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.now = 0.0
        self.folder, self.key_path = folder / "audit", folder / "audit.key"
        self.settings = AuditSettings(**settings)
        self.timers: list[Timer] = []
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.anchors: list[Anchor] = []
        self.audit = self.opened()

    def opened(self) -> AuditLog:
        audit = AuditLog(
            self.settings,
            folder=self.folder,
            key_path=self.key_path,
            agent="t",
            version="1",
            boot_id="b",
            pid=1,
            wall=lambda: START_S + self.now,
            clock=lambda: self.now,
            call_later=self.later,
            runner=lambda executor: self.run,
            on_event=lambda name, fields: self.events.append((name, fields)),
            on_anchor=self.anchors.append,
        )
        audit.open()
        return audit

    def later(self, delay_s: float, act: Any) -> Timer:
        timer = Timer(self.now + delay_s, act)
        self.timers.append(timer)
        return timer

    @staticmethod
    def run(work: Any, done: Any) -> None:
        try:
            work()
        except BaseException as error:
            done(error)
        else:
            done(None)

    def pass_s(self, seconds: float) -> None:
        until = self.now + seconds
        while True:
            due = sorted((t for t in self.timers if not t.cancelled and t.at <= until), key=lambda t: t.at)
            if not due:
                break
            self.timers.remove(due[0])
            self.now = max(self.now, due[0].at)
            due[0].act()
        self.now = until

    def happen(self, count: int, name: str = "mode.held") -> None:
        for number in range(count):
            self.audit.happened(f"{name}.{number}", {"uid": 1000, "n": number}, int((START_S + self.now) * 1e6))

    def records(self, kind: str = "") -> list[dict[str, Any]]:
        return [each for each in records_of(self.folder) if not kind or each["kind"] == kind]

    def verify(self) -> Any:
        return verify(self.folder, read_key(self.key_path), self.anchors)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.audit.close()


def test_what_is_heard_is_written_sealed_and_anchored(world: World) -> None:
    """Within the flush time, in files for the agent's uid alone; an anchor a minute, none while nothing is new."""
    world.happen(50)
    assert not world.records("event")
    world.pass_s(world.settings.flush_after_s)
    assert [each["fields"]["n"] for each in world.records("event")] == list(range(50))
    assert world.records("event")[0]["uid"] == 1000
    world.pass_s(200)
    assert [each.seq for each in world.anchors] == [52]
    assert world.verify().unanchored == 0
    (path,) = files_of(world.folder)
    assert path.stat().st_mode & 0o777 == world.key_path.stat().st_mode & 0o777 == 0o600
    assert world.folder.stat().st_mode & 0o777 == 0o700


def test_the_log_goes_on_where_it_ended(world: World) -> None:
    """A restart chains to the last line; the end of each life is anchored."""
    world.happen(3)
    world.audit.close()
    world.audit = world.opened()
    world.happen(3)
    world.audit.close()
    assert len(world.records("audit.started")) == 2
    report = world.verify()
    assert report.ok
    assert report.unanchored == 0
    assert len(world.anchors) == 2


@pytest.mark.parametrize("cut", [1, 7, 100, 200])
def test_a_line_torn_by_a_death_is_noted_and_the_log_verifies(world: World, cut: int) -> None:
    """However much of the last line reached the disk; what was cut off wholly shows as nothing at all."""
    world.happen(5)
    world.audit.close()
    (path,) = files_of(world.folder)
    path.write_bytes(path.read_bytes()[:-cut])
    assert verify(world.folder, read_key(world.key_path)).ok, "while it is down, an unfinished line is not judged"
    world.audit = world.opened()
    world.happen(2)
    world.audit.close()
    report = verify(world.folder, read_key(world.key_path))
    assert report.ok, report.found
    assert len(world.records("audit.recovered")) == (0 if cut == 1 else 1)


@pytest.mark.parametrize("kept", [0, 1, 60, 200])
def test_a_death_right_after_a_rotation_is_noted_and_the_log_goes_on(tmp_path: Path, kept: int) -> None:
    """The newest file holds part of its first line, or nothing: it leaves the row, and retention goes on too."""
    world = World(tmp_path, rotate_bytes=8192, retention_bytes=40_000)
    while len(files_of(world.folder)) < 2:
        world.happen(1)
        world.pass_s(1)
    first, torn = files_of(world.folder)
    torn.write_bytes(torn.read_bytes()[:kept])
    world.audit = world.opened()  # the one before it died
    world.pass_s(1)
    report = verify(world.folder, read_key(world.key_path))
    assert report.ok, report.found
    noted = world.records("audit.recovered")
    assert [(each["torn_bytes"], each["file"]) for each in noted] == ([(kept, torn.name + ".torn")] if kept else [])
    assert sum("put aside" in note for note in report.notes) == len(noted)
    for _ in range(60):
        world.happen(20)
        world.pass_s(1)
    assert first not in files_of(world.folder), "retention goes on"
    assert not list(world.folder.glob("*.torn"))
    world.audit.close()
    report = world.verify()
    assert report.ok, report.found


def test_the_very_first_line_may_be_torn(tmp_path: Path) -> None:
    """A new log begins, and says what it found."""
    world = World(tmp_path)
    world.pass_s(1)
    (path,) = files_of(world.folder)
    path.write_bytes(path.read_bytes()[:100])
    world.audit = world.opened()
    world.audit.close()
    report = verify(world.folder, read_key(world.key_path))
    assert (report.ok, report.first) == (True, 1), report.found
    assert world.records("audit.recovered")[0]["file"] == path.name + ".torn"


def test_a_damaged_file_is_a_finding_and_does_not_keep_the_rest_for_ever(tmp_path: Path) -> None:
    """What somebody wrote into the row is no torn line: `verify` tells of it until retention has it."""
    world = World(tmp_path, rotate_bytes=8192, retention_bytes=40_000)
    while len(files_of(world.folder)) < 2:
        world.happen(1)
        world.pass_s(1)
    world.audit.close()
    damaged = files_of(world.folder)[-1]
    damaged.write_bytes(b"scribble\nscribble\n")
    world.audit = world.opened()
    world.pass_s(1)
    assert damaged in files_of(world.folder)
    assert {each.fault for each in verify(world.folder, read_key(world.key_path)).found} == {Fault.UNREADABLE}
    for _ in range(60):
        world.happen(20)
        world.pass_s(1)
    assert damaged not in files_of(world.folder)
    world.audit.close()
    report = verify(world.folder, read_key(world.key_path))
    assert report.ok, report.found


def test_files_are_rotated_and_retention_deletes(tmp_path: Path) -> None:
    """By bytes and by days; what is deleted is recorded before it is gone, and the rest still verifies."""
    world = World(tmp_path, rotate_bytes=8192, retention_bytes=40_000, retention_days=2.0)
    for _ in range(40):
        world.happen(20)
        world.pass_s(1)
    kept = files_of(world.folder)
    assert sum(path.stat().st_size for path in kept) <= 40_000 + 2 * 8192
    assert world.records()[0]["seq"] > 1
    assert world.records("audit.retired")
    report = world.verify()
    assert report.ok, report.found
    assert any("retention" in note for note in report.notes)
    world.pass_s(3 * 86_400)
    world.happen(1)
    world.pass_s(2 * 3600)
    assert len(files_of(world.folder)) < len(kept), "what is older than two days is gone"
    world.audit.close()
    assert world.verify().ok
    assert len(files_of(world.folder)) > 1
    files_of(world.folder)[0].unlink()
    assert Fault.HEAD_CUT in {each.fault for each in world.verify().found}


def test_a_full_disk_refuses_entries_and_loses_nothing_within_the_bound(small_disk: Path) -> None:
    """Lines wait in memory and are written when there is room; beyond the bound they are lost, and the log says so."""
    world = World(small_disk, waiting_lines_max=100)
    assert world.audit.refusal() is None
    for _ in range(20):
        world.happen(30)
        world.pass_s(1)
    refusal = world.audit.refusal()
    assert refusal is not None
    assert "No space left" in refusal
    assert world.events[-1][0] == "audit.degraded"
    lost = world.audit.counters["lost"]
    assert lost > 0
    subprocess.run(["mount", "-o", "remount,size=1m", str(small_disk)], check=True)
    world.pass_s(3)
    assert world.audit.refusal() is None
    assert world.events[-1][0] == "audit.healed"
    world.happen(1)
    world.pass_s(1)
    world.audit.close()
    report = world.verify()
    assert report.ok, report.found
    assert len(world.records("event")) == 20 * 30 + 1 - lost
    assert sum(each["lines"] for each in world.records("audit.lost")) == lost


def test_on_full_continue_says_so_and_holds_nothing(small_disk: Path) -> None:
    """The operator's other word."""
    world = World(small_disk, on_full="continue")
    for _ in range(20):
        world.happen(30)
        world.pass_s(1)
    assert world.audit.status()["state"].startswith("degraded")
    assert world.audit.refusal() is None
    world.audit.close()


def test_a_storm_of_one_event_becomes_a_count(world: World) -> None:
    """Fifty of a name in a second, then how many more there were."""
    for _ in range(1000):
        world.audit.happened("frame.refused", {}, int(START_S * 1e6))
    world.audit.happened("frame.refused", {}, int((START_S + 1) * 1e6))
    world.pass_s(1)
    assert len(world.records("event")) == EVENTS_PER_S_MAX + 1
    assert world.records("event.collapsed")[0]["more"] == 1000 - EVENTS_PER_S_MAX


@pytest.mark.parametrize("end", ["time", "close", "names"])
def test_the_count_of_a_storm_is_told_when_nothing_of_its_name_follows(world: World, end: str) -> None:
    """A second later, at the log's end, and before a name makes room for others."""
    for _ in range(200):
        world.audit.happened("frame.refused", {}, int(START_S * 1e6))
    if end == "time":
        world.pass_s(2)
    elif end == "names":
        world.happen(1000)
        world.pass_s(0.9)
    else:
        world.audit.close()
    assert [each["more"] for each in world.records("event.collapsed")] == [200 - EVENTS_PER_S_MAX]


def test_secrets_in_events_are_not_written(world: World) -> None:
    """Events are built without; if one is not, the last net holds."""
    world.audit.happened("bot.error", {"message": "POST x?signature=abcdef0123", "api_secret": "hush"}, 1)
    world.pass_s(1)
    text = files_of(world.folder)[0].read_text()
    assert "abcdef0123" not in text
    assert "hush" not in text


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """Nothing is sealed with it; a file of another size is none."""
    path = tmp_path / "audit.key"
    assert own_key(path) == own_key(path) == read_key(path)
    path.chmod(0o640)
    with pytest.raises(SecurityError, match="chmod 600"):
        read_key(path)
    path.chmod(0o600)
    path.write_bytes(b"short")
    with pytest.raises(ValidationError, match="32 bytes"):
        read_key(path)


def test_verifying_nothing_is_an_error(tmp_path: Path) -> None:
    """An empty folder is no intact log."""
    with pytest.raises(ValidationError, match="holds no audit log"):
        verify(tmp_path, None)


def test_anchors_go_to_the_journals_socket_and_come_back_from_any_lines(tmp_path: Path) -> None:
    """The native protocol's fields; journalctl's JSON, an agent's log and webhook bodies are all read again."""
    path = tmp_path / "journal"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(path))
        events: list[tuple[str, dict[str, Any]]] = []
        posted: list[dict[str, Any]] = []
        anchor = Anchor("log", 7, "a" * 64, 123)
        anchors = Anchors("t", journal=path, on_event=lambda *each: events.append(each), webhook=posted.append)
        anchors.tell(anchor)
        fields = dict(line.split("=", 1) for line in journal.recv(4096).decode().splitlines())
    assert fields["JACKSTAY_AUDIT_HASH"] == "a" * 64
    assert events == [
        ("audit.anchor", {"log": "log", "seq": 7, "hash": "a" * 64, "anchor_at_us": 123, "journal": True})
    ]
    lines = [
        json.dumps(fields),
        json.dumps({"event": "audit.anchor", **events[0][1], "level": "info"}),
        "2026-11-28 host jackstay[1]: " + json.dumps(posted[0]),
        json.dumps({"event": "bot.hello"}),
    ]
    assert anchors_in(lines, "x", "t") == [anchor] * 3
    assert anchors_in(lines[::2], "x", "other") == []
    with pytest.raises(ValidationError, match="line 1"):
        anchors_in(['{"event":"audit.anchor","log":"x"}'], "x")
    anchors = Anchors("t", journal=tmp_path / "nowhere", on_event=lambda *each: events.append(each))
    anchors.tell(anchor)
    assert events[-1][1]["journal"] is False


# ---- alerts


class Receiver:
    """A webhook that answers as told."""

    def __init__(self, *answers: int) -> None:
        self.answers = list(answers)
        self.got: list[dict[str, Any]] = []
        self.timers: list[tuple[float, Any]] = []
        self.events: list[str] = []

    def post(self, url: str, headers: Any, body: bytes, done: Any) -> None:
        status = self.answers.pop(0) if self.answers else 200
        if status == 0:
            done(HttpFailure("not_sent", sent=False, detail="refused", connection_id=None, elapsed_s=0.0))
            return
        if status < 300:
            self.got.append(json.loads(body))
        done(HttpAnswer(status, b"", [], b"", 1, 0.0, 0.0))

    def sink(self, **more: Any) -> WebhookSink:
        return WebhookSink(
            "http://x.test/hook",
            self.post,
            call_later=lambda delay, act: self.timers.append((delay, act)),
            on_event=lambda name, _fields: self.events.append(name),
            **more,
        )


def test_only_chosen_events_become_alerts() -> None:
    """By name or shell pattern; any event can be one, and the sinks' own troubles never are."""
    receiver = Receiver()
    alerts = Alerts("t", AlertSettings(events=["state.*", "x.y"]), [receiver.sink()])
    for name in ("state.diverged", "x.y", "x.z", "alert.given_up", "bot.hello"):
        alerts.happened(name, {"component": "orders"}, 5)
    assert [each["event"] for each in receiver.got] == ["state.diverged", "x.y"]
    assert receiver.got[0] == {"agent": "t", "event": "state.diverged", "at_us": 5, "fields": {"component": "orders"}}


def test_an_alert_is_tried_again_and_at_last_given_up() -> None:
    """With growing pauses; the next one is not held up for ever."""
    receiver = Receiver(503, 0, 200, 500, 500, 500)
    sink = receiver.sink(attempts_max=3)
    for n in range(3):
        sink.put({"n": n})
    while receiver.timers:
        receiver.timers.pop(0)[1]()
    assert [each["n"] for each in receiver.got] == [0, 2]
    assert sink.counters == {"posted": 2, "retried": 4, "dropped": 0, "given_up": 1}
    assert receiver.events == ["alert.given_up"]


def test_a_dead_receiver_costs_a_bounded_queue() -> None:
    """The oldest that is not under way is dropped, and counted."""
    receiver = Receiver(*[0] * 100)
    sink = receiver.sink(waiting_max=5)
    for n in range(20):
        sink.put({"n": n})
    assert sink.status()["waiting"] == 5
    assert sink.counters["dropped"] == 15
    receiver.answers = []
    receiver.timers.pop(0)[1]()
    assert [each["n"] for each in receiver.got] == [0, 16, 17, 18, 19]


def test_a_command_gets_each_alert_on_its_standard_input(tmp_path: Path) -> None:
    """One after the other; a failing and a hanging one are told, and killed."""
    out, events = tmp_path / "got", []

    async def run(command: list[str], alerts: int) -> CommandSink:
        sink = CommandSink(command, timeout_s=0.3, on_event=lambda name, fields: events.append(fields["why"]))
        for n in range(alerts):
            sink.put({"n": n})
        for _ in range(500):
            if sum(sink.counters.values()) == alerts:
                break
            await asyncio.sleep(0.01)
        await sink.close()
        return sink

    asyncio.run(run(["sh", "-c", f"cat >> {out}; echo >> {out}"], 3))
    assert [json.loads(line)["n"] for line in out.read_text().split()] == [0, 1, 2]
    asyncio.run(run(["sh", "-c", "exit 3"], 1))
    asyncio.run(run(["sleep", "60"], 1))
    asyncio.run(run([str(tmp_path / "nowhere")], 1))
    assert events[0] == "exit code 3"
    assert "it was killed" in events[1]
    assert "No such file" in events[2]


def test_wrong_settings_are_named() -> None:
    """What was found and what is expected."""
    for wrong in ({"on_full": "stop"}, {"fsync": "maybe"}, {"anchor_webhook": "ftp://x"}, {"retention_days": 0}):
        with pytest.raises(ValidationError, match=next(iter(wrong))):
            AuditSettings(**wrong)  # type: ignore[arg-type]
    for wrong in ({"webhook": "x"}, {"webhook_header": "token"}, {"waiting_max": 0}):
        with pytest.raises(ValidationError, match=next(iter(wrong))):
            AlertSettings(**wrong)  # type: ignore[arg-type]


def test_the_kernels_word_on_the_clock() -> None:
    """An offset only from a clock that something disciplines."""
    from jackstay_agent.clock_quality import kernel_offset

    offset, source = kernel_offset()
    assert source in ("kernel", "unsynchronised", "unknown")
    assert (offset is not None) == (source == "kernel")
