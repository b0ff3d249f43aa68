"""A fake agent in a folder of its own, and clients that know where it is and are closed afterwards."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import jackstay
from client.fake_agent import FakeAgent


@pytest.fixture(autouse=True)
def _no_agent_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("JACKSTAY", "JACKSTAY_AGENT", "JACKSTAY_BOT", "JACKSTAY_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def runtime() -> Iterator[Path]:
    """A short path: sockets have 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="js-") as folder:
        yield Path(folder)


@pytest.fixture
def agent(runtime: Path) -> Iterator[FakeAgent]:
    with FakeAgent(runtime) as running:
        yield running


@pytest.fixture
def connect(runtime: Path) -> Iterator[Callable[..., jackstay.Client]]:
    made: list[jackstay.Client] = []

    def make(**options: object) -> jackstay.Client:
        client = jackstay.Client(**{"agent": "fake", "runtime_dir": runtime, "bot_id": "bot", **options})  # type: ignore[arg-type]
        made.append(client)
        return client

    yield make
    for client in made:
        client.close()
