"""Where an agent's sockets live (DESIGN §4), how a client finds them, and with which permissions they are made.

    override    --runtime-dir or $JACKSTAY_RUNTIME_DIR      DIR/NAME
    system      /run/jackstay/NAME                          state /var/lib/jackstay/NAME   /etc/jackstay/NAME.toml
    user        $XDG_RUNTIME_DIR/jackstay/NAME              XDG state and config folders

Configurations are looked for in $JACKSTAY_CONFIG_DIR alone where it is set. A name is the bot's: the same word is the
file NAME.toml, the folder NAME, the instance jackstay@NAME and the label in logs and metrics.

A client looks in that order. It never uses its own $RUNTIME_DIRECTORY: under systemd that is the *bot's* folder.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .errors import ValidationError
from .limits import AGENT_NAME_BYTES_MAX, SOCKET_PATH_BYTES_MAX

BOT_SOCKET = "bot.sock"
FEED_SOCKET = "feed.sock"
CONTROL_SOCKET = "control.sock"
HTTP_SOCKET = "http.sock"
LOCK_FILE = "agent.lock"

FOLDER_MODE = 0o700  # 0o750 when a group is configured
SYSTEM_RUNTIME = Path("/run/jackstay")
SYSTEM_STATE = Path("/var/lib/jackstay")
SYSTEM_CONFIG = Path("/etc/jackstay")

#: Files of the config folder that are no agent's, and words that mean something else on the command line.
RESERVED_NAMES = frozenset({"defaults", "all"})

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")


def check_agent_name(name: str) -> str:
    """The name itself when it can be a folder and a systemd instance name, else ValidationError."""
    if not _NAME.match(name) or len(name.encode()) > AGENT_NAME_BYTES_MAX:
        raise ValidationError(
            f"agent name {name!r}; 1 to {AGENT_NAME_BYTES_MAX} letters, digits, '.', '_' or '-' are expected,"
            " starting with a letter or digit"
        )
    if name.lower() in RESERVED_NAMES:
        raise ValidationError(
            f"agent name {name!r} is reserved: defaults.toml holds what all agents share, --all means every agent;"
            " use the bot's name"
        )
    return name


@dataclass(frozen=True, slots=True)
class AgentPaths:
    """One agent's folder of sockets."""

    name: str
    runtime: Path

    @property
    def bot(self) -> Path:
        return self.runtime / BOT_SOCKET

    @property
    def feed(self) -> Path:
        return self.runtime / FEED_SOCKET

    @property
    def control(self) -> Path:
        return self.runtime / CONTROL_SOCKET

    @property
    def http(self) -> Path:
        return self.runtime / HTTP_SOCKET

    @property
    def lock(self) -> Path:
        return self.runtime / LOCK_FILE

    def check(self) -> None:
        """Raises ValidationError when a socket path is longer than the system can bind (unix(7): 107 bytes)."""
        longest = max((self.bot, self.feed, self.control), key=lambda path: len(os.fsencode(path)))
        size = len(os.fsencode(longest))
        if size > SOCKET_PATH_BYTES_MAX:
            raise ValidationError(
                f"socket path {longest} has {size} bytes; {SOCKET_PATH_BYTES_MAX} at most can be bound:"
                " use a shorter --runtime-dir or agent name"
            )


def ipc(path: Path) -> str:
    """The ZeroMQ address of a socket file."""
    return f"ipc://{path}"


def user_runtime(env: Mapping[str, str]) -> Path:
    """$XDG_RUNTIME_DIR/jackstay, or a folder of this uid under the system's temporary folder."""
    xdg = env.get("XDG_RUNTIME_DIR")
    if xdg:
        return Path(xdg) / "jackstay"
    import tempfile  # 6 ms of a bot's start that hardly any system needs

    return Path(tempfile.gettempdir()) / f"jackstay-{os.getuid() if hasattr(os, 'getuid') else 'user'}"


def user_state(env: Mapping[str, str]) -> Path:
    return Path(env.get("XDG_STATE_HOME") or Path(env.get("HOME", "~")).expanduser() / ".local/state") / "jackstay"


def user_config(env: Mapping[str, str]) -> Path:
    return Path(env.get("XDG_CONFIG_HOME") or Path(env.get("HOME", "~")).expanduser() / ".config") / "jackstay"


def config_folders(env: Mapping[str, str]) -> list[Path]:
    """Folders that hold NAME.toml and defaults.toml, in the order they are looked in."""
    override = env.get("JACKSTAY_CONFIG_DIR")
    return [Path(override)] if override else [SYSTEM_CONFIG, user_config(env)]


def state_folder(paths: AgentPaths, env: Mapping[str, str]) -> Path:
    """Where an agent keeps what must outlive it: systemd's folder, the system's or the user's; below an overridden
    runtime folder otherwise.
    """
    if given := [Path(each) for each in env.get("STATE_DIRECTORY", "").split(":") if each]:
        # several of them come in systemd's order, which is not the unit's (measured: sorted by name)
        return next((each for each in given if each.name == paths.name), given[0])
    if paths.runtime.parent == SYSTEM_RUNTIME:
        return SYSTEM_STATE / paths.name
    if paths.runtime.parent == user_runtime(env):
        return user_state(env) / paths.name
    return paths.runtime / "state"


def runtime_roots(env: Mapping[str, str], runtime_dir: str | os.PathLike[str] | None = None) -> list[Path]:
    """Folders that hold agents' folders, in the order a client searches them."""
    override = runtime_dir or env.get("JACKSTAY_RUNTIME_DIR")
    if override:
        return [Path(override)]
    return [SYSTEM_RUNTIME, user_runtime(env)]


def agent_names(root: Path) -> list[str]:
    """Names of the agents that have sockets below ``root``, sorted."""
    try:
        return sorted(entry.name for entry in root.iterdir() if _is_there(entry / BOT_SOCKET))
    except OSError:
        return []


def _is_there(path: Path, *, closed: bool = False) -> bool:
    """``closed``: what to say of a folder that this user may not enter (another user's agent, or one that starts)."""
    try:
        return path.exists()
    except PermissionError:
        return closed
    except OSError:
        return False


def find_agent(
    name: str | None = None,
    *,
    runtime_dir: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
) -> AgentPaths:
    """The agent a client means: by argument, $JACKSTAY_AGENT, or the only one there is.

    A named agent that is not up yet resolves to where it would be (so that waiting for it works). Raises
    ValidationError when no name is given and none or several are there.
    """
    env = os.environ if env is None else env
    roots = runtime_roots(env, runtime_dir)
    wanted = name or env.get("JACKSTAY_AGENT")
    if wanted:
        check_agent_name(wanted)
        for root in roots:
            # a service manager makes the folder for the agent alone; the agent opens it to its group when it is up
            if _is_there(root / wanted / BOT_SOCKET, closed=True):
                return AgentPaths(wanted, root / wanted)
        return AgentPaths(wanted, roots[-1] / wanted)
    found = [AgentPaths(each, root / each) for root in roots for each in agent_names(root)]
    if len(found) == 1:
        return found[0]
    where = ", ".join(str(root) for root in roots)
    if not found:
        raise ValidationError(
            f"no agent found in {where}; start one with 'jackstay run NAME', or name it:"
            " Client(agent=...) or JACKSTAY_AGENT"
        )
    names = ", ".join(sorted({paths.name for paths in found}))
    raise ValidationError(f"several agents found ({names}) in {where}; say which: Client(agent=...) or JACKSTAY_AGENT")
