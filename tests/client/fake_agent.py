"""A small scripted agent for the client's tests: two ROUTERs that speak the real wire and remember what they heard.

In a thread: ``with FakeAgent(tmp_path) as agent``. As a process of its own, to be stopped and killed for real:
``python fake_agent.py RUNTIME_DIR MODE LEDGER`` (MODE echo or silent).
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import zmq

from jackstay_protocols import messages as m
from jackstay_protocols.clock import boot_us
from jackstay_protocols.codec import Header, decode, encode
from jackstay_protocols.endpoints import AgentPaths, ipc
from jackstay_protocols.errors import Outcome, Reason
from jackstay_protocols.limits import TO_AGENT_FRAME_BYTES_MAX

NAME = "fake"


@dataclass(frozen=True)
class Heard:
    """One message as it came in."""

    door: str
    peer: bytes
    header: Header
    message: m.Message


Answer = m.Message | bytes | None | Iterable[m.Message]
Script = Callable[["FakeAgent", Heard], Answer]


def ok(body: bytes = b'{"ok":true}', status: int = 200, headers: m.Headers | None = None, **more: object) -> m.Response:
    pairs = [(b"Content-Type", b"application/json")] if headers is None else headers
    return m.Response(status, b"OK", pairs, body, more.pop("outcome", Outcome.OK), **more)  # type: ignore[arg-type]


def echo(agent: FakeAgent, heard: Heard) -> Answer:
    """The default script: a request's body comes back."""
    return ok(heard.message.body)  # type: ignore[attr-defined]


def turning_away(times: int) -> Script:
    """Agents that are about to stop, one after the other, and one that stays."""
    left = [times]

    def script(_agent: FakeAgent, _heard: Heard) -> Answer:
        left[0] -= 1
        return m.Refusal(Reason.DRAINING, "the agent is stopping", 2.0) if left[0] >= 0 else ok(b"")

    return script


def welcome_after(seconds: float) -> Script:
    """An agent that has only just bound its sockets, on a busy machine."""

    def script(agent: FakeAgent, _heard: Heard) -> Answer:
        time.sleep(seconds)  # its loop is elsewhere
        return agent.welcome()

    return script


class FakeAgent:
    """Answers HELLO, BEAT, STATUS and the like by itself; requests and posts as the script says."""

    def __init__(
        self,
        runtime: Path,
        script: Script = echo,
        *,
        hello: Script | None = None,
        other: Script | None = None,
        beat_within_s: float = 3.0,
        name: str = NAME,
    ) -> None:
        self.runtime = runtime
        self.paths = AgentPaths(name, runtime / name)
        self.script = script
        self.hello_script = hello
        self.other_script = other
        self.beat_within_s = beat_within_s
        self.heard: list[Heard] = []
        self.changed = threading.Condition()
        self.lives = 0
        self._thread: threading.Thread | None = None

    # ------------------------------------------------------------------ life

    def start(self) -> FakeAgent:
        self.paths.runtime.mkdir(parents=True, exist_ok=True)
        self._todo: queue.SimpleQueue[tuple[str, bytes, bytes] | None] = queue.SimpleQueue()
        self._wake_read, self._wake_write = os.pipe()
        bound = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(bound,), daemon=True)
        self._thread.start()
        assert bound.wait(5)
        self.lives += 1
        return self

    def stop(self) -> None:
        """Die: the sockets close at once, nothing more is answered. The socket files stay, as after a crash."""
        if self._thread is None:
            return
        self._todo.put(None)
        os.write(self._wake_write, b"x")
        self._thread.join(5)
        assert not self._thread.is_alive()
        self._thread = None
        os.close(self._wake_read)
        os.close(self._wake_write)

    def __enter__(self) -> FakeAgent:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    # ------------------------------------------------------------------ what tests do

    def tell(self, peer: bytes, message: m.Message | bytes, *, id: int = 0, when: int = 0, door: str = "bot") -> None:
        frame = message if isinstance(message, bytes) else encode(message, id=id, when=when)
        self._todo.put((door, peer, frame))
        os.write(self._wake_write, b"x")

    def of(self, kind: type[m.Message]) -> list[Heard]:
        with self.changed:
            return [each for each in self.heard if type(each.message) is kind]

    def wait_for(self, kind: type[m.Message], count: int = 1, within_s: float = 5.0) -> list[Heard]:
        until = time.monotonic() + within_s
        with self.changed:
            while True:
                found = [each for each in self.heard if type(each.message) is kind]
                if len(found) >= count:
                    return found
                left = until - time.monotonic()
                assert left > 0, f"heard {len(found)} of {count} {kind.__name__} in {within_s} s"
                self.changed.wait(left)

    # ------------------------------------------------------------------ inside

    def _run(self, bound: threading.Event) -> None:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        doors: dict[str, zmq.Socket[bytes]] = {}
        for door, path in (("bot", self.paths.bot), ("feed", self.paths.feed)):
            socket = doors[door] = context.socket(zmq.ROUTER)
            socket.setsockopt(zmq.LINGER, 0)
            socket.setsockopt(zmq.MAXMSGSIZE, TO_AGENT_FRAME_BYTES_MAX)
            path.unlink(missing_ok=True)
            socket.bind(ipc(path))
        greeted: set[bytes] = set()
        poller = zmq.Poller()
        for socket in doors.values():
            poller.register(socket, zmq.POLLIN)
        poller.register(self._wake_read, zmq.POLLIN)
        bound.set()
        try:
            while True:
                ready = dict(poller.poll())
                if self._wake_read in ready:
                    os.read(self._wake_read, 4096)
                    while not self._todo.empty():
                        item = self._todo.get()
                        if item is None:
                            return
                        doors[item[0]].send_multipart([item[1], item[2]])
                for door, socket in doors.items():
                    if socket in ready:
                        peer, frame = socket.recv_multipart()
                        self._take(door, peer, frame, greeted, socket)
        finally:
            for socket in doors.values():
                socket.close(0)
            context.term()

    def _take(self, door: str, peer: bytes, frame: bytes, greeted: set[bytes], socket: zmq.Socket[bytes]) -> None:
        header, message = decode(frame, m.TO_AGENT, bytes_max=TO_AGENT_FRAME_BYTES_MAX)
        heard = Heard(door, peer, header, message)
        if type(message) is m.Hello:
            answer = self.hello_script(self, heard) if self.hello_script else self.welcome()
            if isinstance(answer, m.Welcome):
                greeted.add(peer)
        elif peer not in greeted:
            answer = m.Refusal(Reason.UNKNOWN_PEER, "say hello first")
        elif header.when and boot_us() > header.when:
            answer = m.Refusal(Reason.EXPIRED, "the deadline is over; nothing was sent")
        else:
            with self.changed:
                self.heard.append(heard)
                self.changed.notify_all()
            answer = self._answer(heard)
            self._reply(socket, heard, answer)
            return
        self._reply(socket, heard, answer)
        with self.changed:
            self.heard.append(heard)
            self.changed.notify_all()

    def _answer(self, heard: Heard) -> Answer:
        message = heard.message
        if self.other_script is not None and not isinstance(message, (m.Request, m.Post)):
            answer = self.other_script(self, heard)
            if answer is not None:
                return answer
        if isinstance(message, (m.Request, m.Post)):
            return self.script(self, heard)
        if isinstance(message, (m.Abandon, m.Ack)) or heard.header.id == 0:
            return None
        if isinstance(message, m.StatusQuery):
            return m.Done({"agent": self.paths.name, "lives": self.lives})
        return m.Done({})

    def _reply(self, socket: zmq.Socket[bytes], heard: Heard, answer: Answer) -> None:
        if answer is None:
            return
        for each in [answer] if isinstance(answer, (m.Message, bytes)) else answer:
            frame = each if isinstance(each, bytes) else encode(each, id=heard.header.id)
            socket.send_multipart([heard.peer, frame])

    def welcome(self, **more: object) -> m.Welcome:
        fields: dict[str, object] = {
            "agent": self.paths.name,
            "agent_version": "0",
            "session": f"s{self.lives}",
            "wire_version": 1,
            "resume": f"token-{self.lives}",
            "beat_within_s": self.beat_within_s,
            "beat_within_s_max": 3600.0,
            "frame_bytes_max": TO_AGENT_FRAME_BYTES_MAX,
            "agent_pid": os.getpid(),
        }
        return m.Welcome(**{**fields, **more})  # type: ignore[arg-type]


def main(runtime: str, mode: str, ledger: str) -> None:
    """A process: writes one line per executed request, then answers (echo) or does not (silent)."""

    def run(agent: FakeAgent, heard: Heard) -> Answer:
        with open(ledger, "a", encoding="utf-8") as book:
            book.write(heard.message.tag + "\n")  # type: ignore[attr-defined]
        return echo(agent, heard) if mode == "echo" else None

    FakeAgent(Path(runtime), run).start()
    print("ready", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:4])
