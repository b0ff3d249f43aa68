"""control.sock judged frame by frame: who may ask, what is answered at once and what later."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from jackstay_agent.flight import Reply
from jackstay_agent.gateway.control_door import UNDER_WAY_MAX, ControlDoor
from jackstay_agent.gateway.door import PeerCredentials, Sent
from jackstay_protocols.codec import decode, encode
from jackstay_protocols.errors import ValidationError
from jackstay_protocols.limits import TO_CLIENT_FRAME_BYTES_MAX
from jackstay_protocols.messages import TO_CLIENT, Beat, Command, Done, Message, Refusal


class ListDoor:
    """Keeps what is sent."""

    def __init__(self, uid: int = 1000) -> None:
        self.path = Path("control.sock")
        self.frames_in = self.frames_out = self.bad_parts = 0
        self.sent: dict[int, Message] = {}
        self.uid = uid

    def open(self) -> None: ...

    def close(self) -> None: ...

    def send(self, identity: bytes, frame: bytes) -> Sent:
        header, message = decode(frame, TO_CLIENT, bytes_max=TO_CLIENT_FRAME_BYTES_MAX)
        self.sent[header.id] = message
        return Sent.OK

    def send_together(self, identity: bytes, frames: Sequence[bytes]) -> Sent:
        return [self.send(identity, frame) for frame in frames][-1]

    def credentials(self, identity: bytes) -> PeerCredentials | None:
        return PeerCredentials(self.uid, self.uid, 42)


class World:
    def __init__(self, uid: int = 1000) -> None:
        self.door = ListDoor(uid)
        self.replies: list[Reply[dict[str, Any]]] = []
        self.control = ControlDoor(
            {"now": lambda args, _who: args, "later": self.later, "wrong": self.wrong, "broken": self.broken},
            allow_uids=frozenset(),
            own_uid=1000,
        )
        self.control.attach(self.door)

    async def later(self, args: dict[str, Any], _who: PeerCredentials | None) -> dict[str, Any]:
        if "refuse" in args:
            raise ValidationError("no; say yes")
        reply: Reply[dict[str, Any]] = Reply()
        self.replies.append(reply)
        return await reply

    def wrong(self, _args: dict[str, Any], _who: PeerCredentials | None) -> dict[str, Any]:
        raise ValidationError("what was found; what was expected", details={"seq": 3})

    async def broken(self, _args: dict[str, Any], _who: PeerCredentials | None) -> dict[str, Any]:
        raise ZeroDivisionError

    def send(self, message: Message, number: int) -> Any:
        self.control.on_frame(b"p", encode(message, id=number))
        return self.door.sent.get(number)


def test_a_verb_answers_at_once_or_later_and_others_go_on_meanwhile() -> None:
    """A command that waits for a venue does not hold up `status`."""
    world = World()
    assert world.send(Command("later", {}), 1) is None
    assert world.send(Command("now", {"a": 1}), 2) == Done({"a": 1})
    world.replies[0].set({"b": 2})
    assert world.door.sent[1] == Done({"b": 2})


def test_what_a_verb_refuses_is_told_with_its_facts() -> None:
    """At once or later, the words and details of the error travel."""
    world = World()
    refused = world.send(Command("wrong", {}), 1)
    assert isinstance(refused, Refusal)
    assert (refused.message, refused.details) == ("what was found; what was expected", {"seq": 3})
    assert world.send(Command("later", {"refuse": True}), 2).message == "no; say yes"
    fault = world.send(Command("broken", {}), 3)
    assert fault.reason == "internal"
    assert "ZeroDivisionError" in fault.message


def test_commands_under_way_are_bounded() -> None:
    """Full means a refusal at once; an answered one makes room."""
    world = World()
    for number in range(1, UNDER_WAY_MAX + 1):
        assert world.send(Command("later", {}), number) is None
    assert world.send(Command("later", {}), 900).reason == "queue_full"
    assert isinstance(world.send(Command("now", {}), 901), Done)
    world.replies[0].set({})
    assert world.send(Command("later", {}), 902) is None


@pytest.mark.parametrize(
    ("message", "reason"), [(Command("nonsense", {}), "bad_request"), (Beat(), "unknown_kind")], ids=["verb", "kind"]
)
def test_what_has_no_place_here_is_refused(message: Message, reason: str) -> None:
    """Unknown verbs are told the known ones."""
    assert World().send(message, 1).reason == reason


def test_a_stranger_is_refused_whatever_it_asks() -> None:
    """The kernel's word on the uid decides."""
    world = World(uid=1001)
    assert world.send(Command("now", {}), 1).reason == "not_permitted"
    assert world.send(Command("later", {}), 2).reason == "not_permitted"
    assert not world.replies


def test_garbage_gets_a_typed_refusal() -> None:
    """And the door goes on."""
    world = World()
    world.control.on_frame(b"p", b"\x01\x0d")
    assert isinstance(world.door.sent[0], Refusal)
    assert isinstance(world.send(Command("now", {}), 1), Done)
