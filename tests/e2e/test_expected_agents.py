"""Which agents should be on a host: configurations, enabled units and runtime folders, a system's and a user's."""

from __future__ import annotations

from pathlib import Path

import pytest

from jackstay_agent.cli import fleet
from jackstay_agent.cli.fleet import Presence, expected, look
from jackstay_protocols import endpoints
from jackstay_protocols.endpoints import check_agent_name
from jackstay_protocols.errors import ValidationError

Env = dict[str, str]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Env:
    """A host with nothing on it: the system's folders and the user's are below tmp_path."""
    monkeypatch.setattr(endpoints, "SYSTEM_RUNTIME", tmp_path / "run")
    monkeypatch.setattr(endpoints, "SYSTEM_CONFIG", tmp_path / "etc")
    monkeypatch.setattr(fleet, "SYSTEM_UNITS", (tmp_path / "units",))
    return {
        "HOME": str(tmp_path / "home"),
        "XDG_RUNTIME_DIR": str(tmp_path / "xdg-run"),
        "XDG_CONFIG_HOME": str(tmp_path / "xdg-config"),
    }


def put(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def names(env: Env) -> list[str]:
    return [each.name for each in expected(env=env)[0]]


def test_each_source_makes_an_agent_expected(home: Env, tmp_path: Path) -> None:
    """Configured, wanted by a unit of the system's or the user's, or with sockets left; each says because of what."""
    put(tmp_path / "etc" / "a.toml")
    put(tmp_path / "etc" / "defaults.toml")
    put(tmp_path / "units" / "multi-user.target.wants" / "jackstay@b.service")
    put(tmp_path / "xdg-config" / "jackstay" / "c.toml")
    put(tmp_path / "xdg-config" / "systemd" / "user" / "default.target.wants" / "jackstay@d.service")
    put(tmp_path / "run" / "e" / "control.sock")
    put(tmp_path / "xdg-run" / "jackstay" / "f" / "control.sock")
    agents, problems = expected(env=home)
    assert [each.name for each in agents] == ["a", "b", "c", "d", "e", "f"]
    assert not problems
    assert all(each.because for each in agents)
    assert {each.name: each.paths.runtime.parent.name for each in agents}["c"] == "jackstay"
    assert {each.presence for each in look(agents)} == {Presence.GONE}


def test_what_was_stopped_in_order_and_is_configured_nowhere_is_over(home: Env, tmp_path: Path) -> None:
    """A lock file without sockets is no expectation; nor is a drop-in of an instance that is not enabled."""
    put(tmp_path / "run" / "old" / "agent.lock")
    put(tmp_path / "units" / "jackstay@other.service.d" / "override.conf")
    assert names(home) == []


def test_one_name_in_two_places_is_one_agent_where_its_sockets_are(home: Env, tmp_path: Path) -> None:
    """A user's agent under a name that the system configures too: asked where it runs, with both reasons."""
    put(tmp_path / "etc" / "a.toml")
    put(tmp_path / "xdg-run" / "jackstay" / "a" / "control.sock")
    (agent,) = expected(env=home)[0]
    assert agent.paths.runtime == tmp_path / "xdg-run" / "jackstay" / "a"
    assert len(agent.because) == 2


def test_files_that_are_no_agents_are_told(home: Env, tmp_path: Path) -> None:
    """A name that no agent can have is a problem in words, not an agent and not a crash."""
    put(tmp_path / "etc" / "no name.toml")
    put(tmp_path / "etc" / "notes.txt")
    agents, problems = expected(env=home)
    assert not agents
    assert "no name.toml" in problems[0]


def test_an_overridden_runtime_folder_stands_alone(home: Env, tmp_path: Path) -> None:
    """A scratch agent's operator hears of no other; with $JACKSTAY_CONFIG_DIR of those configured there."""
    put(tmp_path / "etc" / "a.toml")
    put(tmp_path / "scratch" / "s" / "control.sock")
    put(tmp_path / "conf" / "t.toml")
    scratch = home | {"JACKSTAY_RUNTIME_DIR": str(tmp_path / "scratch")}
    assert names(scratch) == ["s"]
    assert names(scratch | {"JACKSTAY_CONFIG_DIR": str(tmp_path / "conf")}) == ["s", "t"]
    assert [each.name for each in expected(tmp_path / "scratch", env=home)[0]] == ["s"]


@pytest.mark.parametrize("name", ["defaults", "all", "Defaults", "", "-x", "a/b", "x" * 49])
def test_names_that_mean_something_else_are_refused(name: str) -> None:
    """The name is a file, a folder, a unit's instance and a word of the command line at once."""
    with pytest.raises(ValidationError, match="agent name"):
        check_agent_name(name)
