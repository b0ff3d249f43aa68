"""Local sockets: the gateway's doors and the clients' ends of them, in place of ZeroMQ and with its habits.

A send to a stopped client succeeds and is lost if that client dies; a client's frame that an agent had not read when
it died is lost; a client is told of its peer's end a moment later; nothing is sent to an agent that is not there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jackstay_agent.gateway.door import PeerCredentials, Sent

from .loop import Process, Time

HWM = 1000
GONE_AFTER_S = 0.002


class Line:
    """A client's DEALER."""

    def __init__(self, switchboard: Switchboard, owner: Process, on_frame: Callable[[bytes], None]) -> None:
        self.switchboard = switchboard
        self.owner = owner
        self.on_frame = on_frame
        self.on_gone: Callable[[], None] = lambda: None
        self.door: FakeDoor | None = None
        self.identity = b""
        self.under_way = 0
        owner.on_death.append(self.close)

    def connect(self, name: str) -> bool:
        """To the agent's door of that name, if it is open."""
        door = self.switchboard.doors.get(name)
        if door is None or door.process.dead:
            return False
        self.switchboard.serial += 1
        self.identity = b"\0" + self.switchboard.serial.to_bytes(4, "big")
        self.door = door
        door.lines[self.identity] = self
        return True

    def send(self, frame: bytes) -> bool:
        door = self.door
        if door is None:
            return False
        world = self.switchboard.world
        world.at(door.process, world.now + self.switchboard.delay_s(), door.arrived, (self, self.identity, frame))
        return True

    def close(self) -> None:
        if self.door is not None:
            self.door.lines.pop(self.identity, None)
            self.door = None

    def arrived(self, identity: bytes, frame: bytes) -> None:
        self.under_way -= 1
        if identity == self.identity and self.door is not None:
            self.on_frame(frame)

    def lost(self, door: FakeDoor) -> None:
        if self.door is door:
            self.door = None
            self.on_gone()


class FakeDoor:
    """What the gateway holds (`DoorLike`)."""

    def __init__(self, switchboard: Switchboard, process: Process, path: Path, on_frame: Any) -> None:
        self.switchboard = switchboard
        self.process = process
        self.path = path
        self.frames_in = self.frames_out = self.bad_parts = 0
        self.lines: dict[bytes, Line] = {}
        self._on_frame = on_frame
        self._current: tuple[bytes, int] | None = None

    def open(self) -> None:
        self.process.touch()
        self.switchboard.doors[self.path.name] = self
        self.process.on_death.append(self.shut)

    def send(self, identity: bytes, frame: bytes) -> Sent:
        self.process.touch()
        line = self.lines.get(identity)
        if line is None:
            return Sent.GONE
        if line.under_way >= HWM:
            return Sent.SLOW
        line.under_way += 1
        self.frames_out += 1
        world = self.switchboard.world
        world.at(line.owner, world.now + self.switchboard.delay_s(), line.arrived, (identity, frame))
        return Sent.OK

    def send_together(self, identity: bytes, frames: Sequence[bytes]) -> Sent:
        for frame in frames:
            if (sent := self.send(identity, frame)) is not Sent.OK:
                return sent
        return Sent.OK

    def arrived(self, line: Line, identity: bytes, frame: bytes) -> None:
        if self.switchboard.doors.get(self.path.name) is not self:
            return
        self.frames_in += 1
        self._current = (identity, line.owner.pid)
        try:
            self._on_frame(identity, frame)
        finally:
            self._current = None

    def credentials(self, identity: bytes) -> PeerCredentials | None:
        if self._current is None or self._current[0] != identity:
            return None
        return PeerCredentials(os.getuid(), os.getgid(), self._current[1])

    def close(self) -> None:
        if not self.process.dead:
            self.shut()

    def shut(self) -> None:
        if self.switchboard.doors.get(self.path.name) is self:
            del self.switchboard.doors[self.path.name]
        world = self.switchboard.world
        for line in self.lines.values():
            world.at(line.owner, world.now + GONE_AFTER_S, line.lost, (self,))
        self.lines.clear()


class Switchboard:
    """All doors of the machine, by the name of their socket file."""

    def __init__(self, world: Time) -> None:
        self.world = world
        self.doors: dict[str, FakeDoor] = {}
        self.serial = 0
        self._last_at = 0.0

    def delay_s(self) -> float:
        """Never two frames at one instant: ZeroMQ keeps a line's order."""
        self._last_at = max(self._last_at + 1e-7, self.world.now + 3e-5)
        return self._last_at - self.world.now
