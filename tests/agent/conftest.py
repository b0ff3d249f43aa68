"""What several tests of the agent's parts begin with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from outbox_world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """An open outbox and its clocks."""
    world = World(tmp_path)
    world.open()
    yield world
    world.box.close()
