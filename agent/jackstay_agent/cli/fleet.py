"""Which agents should be here, and is each of them? For `jackstay --all`, `doctor` and the status of a dead one.

An agent is expected when something says so: a file NAME.toml in a config folder, an instance jackstay@NAME that a unit
wants, or sockets in a runtime folder (a living agent's, or those a crash left). So a dead agent is GONE with its last
known state instead of missing from the list. What was stopped in order and is neither configured nor wanted by a unit
is over. Asks agents only whether they are there.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from jackstay_protocols import endpoints
from jackstay_protocols.endpoints import CONTROL_SOCKET, AgentPaths
from jackstay_protocols.errors import AgentGone, TradingBotError, ValidationError

from .. import last_seen
from ..control import ask, listening

PROBE_WITHIN_S = 1.0  # twenty times what control.sock needs under a flood; a frozen agent costs no more
PATIENCE = 3.0
PROBES_AT_ONCE = 16
AGENTS_MAX = 500
SYSTEM_UNITS = (Path("/etc/systemd/system"), Path("/run/systemd/system"))


class Presence(StrEnum):
    UP = "up"
    UNRESPONSIVE = "unresponsive"  # its process is there and does not answer
    GONE = "gone"
    REFUSED = "refused"  # it answers, and not to this uid


@dataclass(frozen=True, slots=True)
class Expected:
    """One agent that should be here. ``because``: files that say so."""

    name: str
    paths: AgentPaths
    because: tuple[str, ...]

    def last(self) -> dict[str, Any] | None:
        """Its last known state, where it can be read."""
        env = {key: value for key, value in os.environ.items() if key != "STATE_DIRECTORY"}
        return last_seen.read(endpoints.state_folder(self.paths, env))


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look at one found. ``facts``: its status, when it is up."""

    agent: Expected
    presence: Presence
    why: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


def expected(runtime_dir: Path | None = None, env: Mapping[str, str] | None = None) -> tuple[list[Expected], list[str]]:
    """The agents of this host that this user can know of, by name; and what stands in the way of knowing, in words."""
    env = os.environ if env is None else env
    found: dict[str, tuple[Path, list[str]]] = {}
    problems: list[str] = []
    for root, configs, units in _places(runtime_dir, env):
        reasons: dict[str, list[str]] = {}
        for name, because in [*_configured(configs, problems), *_wanted(units), *_bound(root)]:
            reasons.setdefault(name, []).append(because)
        for name, why in reasons.items():
            before = found.get(name)
            here = _there(root / name / CONTROL_SOCKET)
            if before is None or (here and not _there(before[0] / name / CONTROL_SOCKET)):
                found[name] = (root, [*(before[1] if before else []), *why])
            else:
                before[1].extend(why)
    agents = [
        Expected(name, AgentPaths(name, root / name), tuple(files)) for name, (root, files) in sorted(found.items())
    ]
    if len(agents) > AGENTS_MAX:
        problems.append(f"{len(agents)} agents are expected; the first {AGENTS_MAX} are asked")
    return agents[:AGENTS_MAX], problems


def look(agents: list[Expected], *, verb: str = "status", timeout_s: float = PROBE_WITHIN_S) -> list[Seen]:
    """Is each there, in the order given; asked side by side, so that ten dead ones cost no more than one."""
    if not agents:
        return []
    with ThreadPoolExecutor(min(PROBES_AT_ONCE, len(agents))) as pool:
        return list(pool.map(lambda each: look_at(each, verb=verb, timeout_s=timeout_s), agents))


def look_at(agent: Expected, *, verb: str = "status", timeout_s: float = PROBE_WITHIN_S, patient: bool = True) -> Seen:
    """As `look`. An agent that is slow to answer, and whose process runs, is asked once more with more patience: a busy
    machine is no dead agent."""
    control = agent.paths.control
    began = time.perf_counter()
    try:
        facts = ask(control, verb, timeout_s=timeout_s)
    except AgentGone as error:
        if not (control.exists() and listening(control)):
            return Seen(agent, Presence.GONE, str(error))
        pid, state = _process(agent.paths)
        if patient and state not in ("stopped", "tracing-stop", "zombie"):
            return look_at(agent, verb=verb, timeout_s=timeout_s * PATIENCE, patient=False)
        said = f"; its process {pid} is {state}" if state else ""
        return Seen(agent, Presence.UNRESPONSIVE, f"no answer in {timeout_s:g} s{said}")
    except TradingBotError as error:
        return Seen(agent, Presence.REFUSED, str(error))
    except OSError as error:
        return Seen(agent, Presence.REFUSED, f"{agent.paths.runtime} may not be entered ({error.strerror})")
    facts["answered_ms"] = round((time.perf_counter() - began) * 1000, 3)
    return Seen(agent, Presence.UP, facts=facts)


def _process(paths: AgentPaths) -> tuple[int, str]:
    """The process that holds the name and what the kernel says of it: a stopped one explains the silence."""
    import psutil

    try:
        pid = int(paths.lock.read_text(encoding="ascii").strip() or 0)
        return pid, str(psutil.Process(pid).status())
    except (OSError, ValueError, psutil.Error):
        return 0, ""


def _places(runtime_dir: Path | None, env: Mapping[str, str]) -> Iterator[tuple[Path, list[Path], tuple[Path, ...]]]:
    """(runtime folder, config folders, unit folders) that belong together. An overridden runtime folder stands alone:
    a scratch agent's operator does not hear of the machine's other agents, unless $JACKSTAY_CONFIG_DIR says so."""
    configs = [Path(env["JACKSTAY_CONFIG_DIR"])] if env.get("JACKSTAY_CONFIG_DIR") else None
    override = runtime_dir or env.get("JACKSTAY_RUNTIME_DIR")
    if override:
        yield Path(override), configs or [], ()
        return
    home_units = Path(env.get("XDG_CONFIG_HOME") or Path(env.get("HOME", "~")).expanduser() / ".config")
    yield endpoints.SYSTEM_RUNTIME, [endpoints.SYSTEM_CONFIG] if configs is None else [], SYSTEM_UNITS
    user = [endpoints.user_config(env)] if configs is None else configs
    yield endpoints.user_runtime(env), user, (home_units / "systemd" / "user",)


def _configured(folders: list[Path], problems: list[str]) -> Iterator[tuple[str, str]]:
    for folder in folders:
        try:
            files = sorted(path for path in folder.iterdir() if path.suffix == ".toml")
        except FileNotFoundError:
            continue
        except OSError as error:
            problems.append(f"{folder} cannot be listed ({error.strerror}): agents configured there are not known")
            continue
        for path in files:
            if path.stem == "defaults":
                continue
            try:
                yield endpoints.check_agent_name(path.stem), str(path)
            except ValidationError as error:
                problems.append(f"{path} is no agent's configuration: {error}")


def _wanted(folders: tuple[Path, ...]) -> Iterator[tuple[str, str]]:
    """Instances that are enabled: links in some unit's .wants or .requires folder."""
    for folder in folders:
        for kind in ("wants", "requires"):
            for path in sorted(folder.glob(f"*.{kind}/jackstay@?*.service")):
                yield path.stem.partition("@")[2], str(path)


def _bound(root: Path) -> Iterator[tuple[str, str]]:
    """Folders with sockets, and those that may not be entered: only an agent has one."""
    try:
        folders = sorted(entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    except OSError:
        return
    for folder in folders:
        if _there(folder / CONTROL_SOCKET) or not os.access(folder, os.X_OK):
            yield folder.name, str(folder)


def _there(path: Path) -> bool:
    return os.path.exists(path)
