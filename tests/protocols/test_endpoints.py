"""jackstay_protocols.endpoints: where an agent's sockets are, and how a client finds the agent it means."""

from __future__ import annotations

from pathlib import Path

import pytest

from jackstay_protocols import endpoints
from jackstay_protocols.endpoints import (
    AgentPaths,
    agent_names,
    check_agent_name,
    find_agent,
    ipc,
    runtime_roots,
    user_config,
    user_runtime,
    user_state,
)
from jackstay_protocols.errors import ValidationError
from jackstay_protocols.limits import AGENT_NAME_BYTES_MAX, SOCKET_PATH_BYTES_MAX


def up(root: Path, name: str) -> Path:
    (root / name).mkdir(parents=True)
    (root / name / "bot.sock").touch()
    return root / name


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(endpoints, "SYSTEM_RUNTIME", tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.parametrize("name", ["a", "grid-1", "A.b_c", "9", "x" * AGENT_NAME_BYTES_MAX])
def test_usable_names_pass(name: str) -> None:
    """Letters, digits, dots, dashes and underscores."""
    assert check_agent_name(name) == name


@pytest.mark.parametrize(
    "name", ["", ".", "..", "-a", "_a", "a/b", "a b", "a\n", "ä", "x" * (AGENT_NAME_BYTES_MAX + 1), "../../etc"]
)
def test_names_that_are_no_folder_or_no_unit_are_refused(name: str) -> None:
    """Nothing that leaves the folder, breaks a unit name or is too long."""
    with pytest.raises(ValidationError):
        check_agent_name(name)


def test_the_four_files_of_an_agent(tmp_path: Path) -> None:
    """Three sockets and the instance lock in one folder."""
    paths = AgentPaths("x", tmp_path / "x")
    assert [each.name for each in (paths.bot, paths.feed, paths.control, paths.lock)] == [
        "bot.sock",
        "feed.sock",
        "control.sock",
        "agent.lock",
    ]
    assert ipc(paths.bot) == f"ipc://{tmp_path}/x/bot.sock"


def test_the_longest_socket_path_may_have_107_bytes() -> None:
    """At the bound it passes; one more is a clear error before any bind."""
    room = SOCKET_PATH_BYTES_MAX - len("/control.sock")
    AgentPaths("x", Path("/" + "d" * (room - 1))).check()
    with pytest.raises(ValidationError, match="108 bytes; 107"):
        AgentPaths("x", Path("/" + "d" * room)).check()


def test_the_bound_counts_bytes_not_letters() -> None:
    """An umlaut costs two."""
    with pytest.raises(ValidationError):
        AgentPaths("x", Path("/" + "ü" * 50)).check()


def test_an_override_is_the_only_root(tmp_path: Path) -> None:
    """Argument before environment, and nothing beside it."""
    assert runtime_roots({"JACKSTAY_RUNTIME_DIR": "/e"}, tmp_path) == [tmp_path]
    assert runtime_roots({"JACKSTAY_RUNTIME_DIR": "/e"}) == [Path("/e")]


def test_without_an_override_the_system_comes_before_the_user(system: Path) -> None:
    """The order in which a client searches."""
    assert runtime_roots({"XDG_RUNTIME_DIR": "/xdg"}) == [system, Path("/xdg/jackstay")]


def test_a_bots_own_runtime_directory_is_never_looked_at(system: Path, tmp_path: Path) -> None:
    """Under systemd $RUNTIME_DIRECTORY is the bot's folder, not the agent's."""
    up(tmp_path / "bot", "trap")
    with pytest.raises(ValidationError, match="no agent found"):
        find_agent(env={"RUNTIME_DIRECTORY": str(tmp_path / "bot"), "XDG_RUNTIME_DIR": str(tmp_path / "xdg")})


def test_user_folders_follow_xdg_and_have_a_fallback() -> None:
    """XDG variables win, HOME and the temporary folder serve without them."""
    assert user_runtime({"XDG_RUNTIME_DIR": "/r"}) == Path("/r/jackstay")
    assert "jackstay" in user_runtime({}).name
    assert user_state({"XDG_STATE_HOME": "/s"}) == Path("/s/jackstay")
    assert user_state({"HOME": "/h"}) == Path("/h/.local/state/jackstay")
    assert user_config({"XDG_CONFIG_HOME": "/c"}) == Path("/c/jackstay")
    assert user_config({"HOME": "/h"}) == Path("/h/.config/jackstay")


def test_a_folder_without_a_socket_is_no_agent(tmp_path: Path) -> None:
    """Left-over folders and files do not count; a missing root has none."""
    up(tmp_path, "b")
    up(tmp_path, "a")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    assert agent_names(tmp_path) == ["a", "b"]
    assert agent_names(tmp_path / "nowhere") == []


def test_the_only_agent_needs_no_name(tmp_path: Path) -> None:
    """One agent on the host is the one that is meant."""
    folder = up(tmp_path, "only")
    assert find_agent(runtime_dir=tmp_path, env={}) == AgentPaths("only", folder)


def test_several_agents_need_a_name(tmp_path: Path) -> None:
    """The error lists them."""
    up(tmp_path, "one")
    up(tmp_path, "two")
    with pytest.raises(ValidationError, match="one, two"):
        find_agent(runtime_dir=tmp_path, env={})
    assert find_agent("two", runtime_dir=tmp_path, env={}).name == "two"
    assert find_agent(runtime_dir=tmp_path, env={"JACKSTAY_AGENT": "one"}).name == "one"
    assert find_agent("two", runtime_dir=tmp_path, env={"JACKSTAY_AGENT": "one"}).name == "two"


def test_agents_of_system_and_user_are_counted_together(system: Path, tmp_path: Path) -> None:
    """Two roots, one choice; a name that is in both means the system's."""
    env = {"XDG_RUNTIME_DIR": str(tmp_path / "xdg")}
    up(tmp_path / "xdg" / "jackstay", "mine")
    assert find_agent(env=env).runtime == tmp_path / "xdg" / "jackstay" / "mine"
    up(system, "mine")
    with pytest.raises(ValidationError, match="several"):
        find_agent(env=env)
    assert find_agent("mine", env=env).runtime == system / "mine"


def test_a_named_agent_that_is_not_up_is_where_it_would_be(system: Path, tmp_path: Path) -> None:
    """So that a bot may start before its agent."""
    env = {"XDG_RUNTIME_DIR": str(tmp_path / "xdg")}
    assert find_agent("later", env=env).runtime == tmp_path / "xdg" / "jackstay" / "later"
    assert find_agent("later", runtime_dir=tmp_path, env=env).runtime == tmp_path / "later"


def test_a_bad_name_from_the_environment_is_refused(tmp_path: Path) -> None:
    """$JACKSTAY_AGENT is checked like the argument."""
    with pytest.raises(ValidationError):
        find_agent(runtime_dir=tmp_path, env={"JACKSTAY_AGENT": "../x"})
