"""Another configuration under a running agent: what changes at once, what waits, what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from jackstay_agent.config import Config, ConfigError
from jackstay_agent.reloading import Reloader, changed_keys
from jackstay_protocols.errors import ValidationError


class World:
    def __init__(self, text: str = "") -> None:
        self.text = text
        self.adopted: list[Config] = []
        self.said: list[str] = []
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.reloader = Reloader(
            Config.from_toml(text),
            load=lambda: (Config.from_toml(self.text), "a.toml"),
            adopt=self.adopted.append,
            say=lambda words: self.said.append(words) is None,
            clock_us=lambda: 42,
            on_event=lambda name, fields: self.events.append((name, fields)),
        )

    def reload(self, text: str) -> dict[str, Any]:
        self.text = text
        return self.reloader.reload(1000)


def test_a_good_file_changes_what_may_change_and_names_the_rest() -> None:
    """Live keys are adopted, others named; a second reload of the same file changes nothing and names them still."""
    world = World()
    text = '[agent]\nlog_level = "debug"\nupstreams_max = 5\n[groups.g]\nvenues = ["binance", "kraken"]\n'
    told = world.reload(text)
    assert told["changed"] == ["agent.log_level"]
    assert told["needs_restart"] == ["agent.upstreams_max", "groups.g"]
    assert [config.agent.log_level for config in world.adopted] == ["debug"]
    assert world.adopted[0].agent.upstreams_max == Config().agent.upstreams_max
    assert world.reload(text)["changed"] == []
    assert "restart is needed for agent.upstreams_max" in world.reloader.summary()
    assert world.said[:2] == ["RELOADING=1\nMONOTONIC_USEC=42", "READY=1"]
    world.reload("")
    assert world.reloader.summary() == ""


def test_a_bad_file_changes_nothing_and_says_what_is_wrong() -> None:
    """The error names the line, the configuration in force is the old one, systemd hears READY again."""
    world = World()
    with pytest.raises(ValidationError, match=r"line 2.*did you mean 'log_level'.*unchanged"):
        world.reload('[agent]\nlog_levle = "debug"\n')
    assert world.adopted == []
    assert world.reloader.config == Config()
    assert world.said[-1] == "READY=1"
    assert world.events[-1][0] == "config.refused"
    assert "reload refused" in world.reloader.summary()
    world.reload("")
    assert world.reloader.summary() == ""


@pytest.mark.parametrize(
    ("before", "after", "live"),
    [
        ("allow_uids = [1]", "allow_uids = [1, 2]", True),
        ("allow_uids = [1, 2]", "allow_uids = [1]", False),
        ('allow_hosts = ["a"]', 'allow_hosts = ["a", "b"]', True),
        ('allow_hosts = ["a", "b"]', 'allow_hosts = ["a"]', False),
    ],
)
def test_what_is_taken_away_waits_for_a_restart(before: str, after: str, live: bool) -> None:
    """Who is in already, or reached already, is only let go by a restart: it is not pretended otherwise."""
    world = World(f"[agent]\n{before}\n")
    told = world.reload(f"[agent]\n{after}\n")
    key = f"agent.{before.partition(' ')[0]}"
    assert told["changed"] == ([key] if live else [])
    assert told["needs_restart"] == ([] if live else [key])


def test_equal_files_differ_in_nothing() -> None:
    """No key is named without a difference."""
    assert changed_keys(Config(), Config.from_toml('[agent]\nlog_level = "info"\n')) == []
    with pytest.raises(ConfigError):
        Config.from_toml("[nowhere]\n")
