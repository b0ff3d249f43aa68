"""What decisions remember: stamped parts, elapsed time, damage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jackstay_agent.decision_memory import KEPT_S, PLACES_MAX, DecisionMemory
from jackstay_protocols.errors import ValidationError


class World:
    def __init__(self, folder: Path, *, boot: str = "b1", clock: float = 1000.0, wall: float = 5000.0) -> None:
        self.clock, self.wall = clock, wall
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.memory = DecisionMemory(
            folder,
            clock=lambda: self.clock,
            wall=lambda: self.wall,
            boot_id=boot,
            on_event=lambda name, facts: self.events.append((name, facts)),
        )
        self.memory.read()

    def keep(self, **alive: Any) -> None:
        self.memory.kept.write(self.memory.merged(alive))

    def taken(self, place: str) -> list[Any]:
        found: list[Any] = []
        self.memory.take(place, lambda kept, elapsed_s: found.append((kept, elapsed_s)))
        return found


def test_time_passes_by_the_boot_clock_within_a_boot_and_by_the_wall_clock_across(tmp_path: Path) -> None:
    """A wall clock that was set back counts as no time at all: the careful side."""
    World(tmp_path).keep(a={"x": 1})
    assert World(tmp_path, clock=1007.0, wall=9999.0).taken("a") == [({"x": 1}, 7.0)]
    assert World(tmp_path, boot="b2", clock=3.0, wall=5060.0).taken("a") == [({"x": 1}, 60.0)]
    assert World(tmp_path, boot="b2", clock=3.0, wall=4000.0).taken("a") == [({"x": 1}, 0.0)]


def test_what_nobody_asked_for_is_kept_for_the_next_life_with_its_own_age(tmp_path: Path) -> None:
    """Two restarts later it is as old as it is."""
    World(tmp_path).keep(a=1, b=2)
    second = World(tmp_path, clock=1010.0)
    assert second.taken("a") == [(1, 10.0)]
    second.keep(a=3)
    third = World(tmp_path, clock=1020.0)
    assert dict(third.memory.places()) == {"a": 3, "b": 2}
    assert (third.taken("a"), third.taken("b"), third.taken("b")) == ([(3, 10.0)], [(2, 20.0)], [])


def test_what_is_too_old_means_nothing(tmp_path: Path) -> None:
    """Longer ago than any gate can stand."""
    World(tmp_path).keep(a=1)
    assert World(tmp_path, clock=1000.0 + KEPT_S).taken("a") == [(1, KEPT_S)]
    assert World(tmp_path, clock=1001.0 + KEPT_S).taken("a") == []


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"version":2,"parts":{}}', b'{"version":1,"parts":3}'])
def test_a_damaged_file_is_set_aside_and_told(tmp_path: Path, content: bytes) -> None:
    """The agent then learns anew."""
    (tmp_path / "decisions.json").write_bytes(content)
    world = World(tmp_path)
    assert [name for name, _facts in world.events] == ["decisions.forgot"]
    assert (tmp_path / "decisions.damaged").read_bytes() == content
    world.keep(a=1)
    assert World(tmp_path).taken("a")


def test_a_damaged_part_leaves_the_others(tmp_path: Path) -> None:
    """No stamp, a stamp that is no time, or values that its owner refuses."""
    World(tmp_path).keep(a=1, b=2, c=3, d=4)
    path = tmp_path / "decisions.json"
    file = json.loads(path.read_bytes())
    file["parts"]["a"] = "x"
    file["parts"]["b"]["clock"] = "yesterday"
    del file["parts"]["c"]["kept"]
    path.write_text(json.dumps(file))
    world = World(tmp_path)
    assert dict(world.memory.places()) == {"d": 4}

    def refuse(_kept: Any, _elapsed_s: float) -> None:
        raise ValidationError("start without it")

    assert not world.memory.take("d", refuse)
    assert world.events == [("decisions.forgot", {"place": "d", "why": "start without it"})]


def test_the_file_is_bounded(tmp_path: Path) -> None:
    """The oldest places go first."""
    World(tmp_path).keep(**{f"p{number}": number for number in range(PLACES_MAX)})
    world = World(tmp_path)
    world.keep(new=1)
    assert set(World(tmp_path).memory.places()) == {"new", *(f"p{number}" for number in range(1, PLACES_MAX))}
