"""What several tests of the agent's parts begin with."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from outbox_world import World


@pytest.fixture(autouse=True, scope="module")
def _structlog_as_it_was() -> Iterator[None]:
    """An agent that is built in this process configures it for all; the next module looks for its lines elsewhere."""
    yield
    if "structlog" in sys.modules:
        import structlog

        structlog.reset_defaults()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """An open outbox and its clocks."""
    world = World(tmp_path)
    world.open()
    yield world
    world.box.close()
