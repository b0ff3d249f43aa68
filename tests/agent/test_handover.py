"""What another version is told of the running agent."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from jackstay_agent.gateway.control_door import Verb
from jackstay_agent.handover import Handover
from jackstay_agent.ports import Ports
from jackstay_protocols.endpoints import AgentPaths


@pytest.mark.asyncio
async def test_a_relative_configuration_is_told_by_its_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The agent was started with `-c bot.toml`; who asks stands in another folder."""
    monkeypatch.chdir(tmp_path)
    handover = Handover(
        lambda: None,
        name="t",
        config_path=Path("bot.toml"),
        paths=AgentPaths("t", tmp_path / "t"),
        ports=cast(Ports, SimpleNamespace()),
        on_event=lambda *_: None,
    )
    (tmp_path / "t" / "state").mkdir(parents=True)
    verb: Verb = handover.verbs(lambda _target, done: done(None), lambda: "1.0")["upgrade.copy"]
    monkeypatch.chdir("/")
    told: Any = await cast(Any, verb({}, None))
    assert told["config"] == str(tmp_path / "bot.toml")
