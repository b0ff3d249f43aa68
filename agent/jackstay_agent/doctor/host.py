"""What the machine has to give: configuration, keys' permissions, sockets, disk, limits, systemd's unit, versions."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from jackstay_protocols import endpoints
from jackstay_protocols.errors import TradingBotError, ValidationError

from ..config_layers import layers_of
from ..core.attention import Level, attention
from .finding import Finding, Patient, fail, ok, skip, warn

DISK_WARN_BYTES = 1_000_000_000  # a busy day's audit log and a journal that cannot be compacted
DISK_FAIL_BYTES = 100_000_000
FILES_WARN = 4096  # each bot socket, reader and venue connection is one
SYSTEMCTL_WITHIN_S = 10.0


def host_checks(patient: Patient) -> Iterator[Finding]:
    yield from _versions(patient)
    yield from _config(patient)
    yield from _credentials(patient)
    yield from _sockets(patient)
    yield from _agent(patient)
    yield from _disk(patient)
    yield from _limits(patient)
    yield from _unit(patient)


def _versions(patient: Patient) -> Iterator[Finding]:
    running = patient.facts.get("version")
    if running and running != patient.version:
        yield warn(
            "versions",
            f"agent {running} runs, {patient.version} is installed",
            f"systemctl restart jackstay@{patient.name}",
        )
    else:
        yield ok("versions", f"jackstay {patient.version}, Python {sys.version.split()[0]}")


def _config(patient: Patient) -> Iterator[Finding]:
    path = patient.config_path
    if path is None:
        folders = " or ".join(str(each) for each in endpoints.config_folders(patient.environ))
        yield warn(
            "config",
            f"no {patient.name}.toml in {folders}: all defaults, no venue",
            f"jackstay init {patient.name} --venue …",
        )
        return
    for problem in patient.problems:
        yield fail("config", f"{path}: {problem}", f"mend the line, then: jackstay config check {path}")
    if not patient.problems:
        yield ok("config", f"{path} is valid")
    for each in layers_of(path, patient.environ):
        yield from _who_can_write(patient, each.path)


def _who_can_write(patient: Patient, path: Path) -> Iterator[Finding]:
    try:
        mode, owner = path.stat().st_mode, path.stat().st_uid
    except OSError as error:
        yield skip("config", f"{path}: its permissions cannot be read ({error.strerror})")
        return
    if stat.S_IMODE(mode) & 0o022:
        yield fail("config", f"{path} can be written by others (mode {stat.S_IMODE(mode):04o})", f"chmod go-w {path}")
    if owner not in (0, os.getuid(), _uid_of(patient.paths.runtime)):
        yield warn("config", f"{path} belongs to uid {owner}, who can change what the agent does", f"chown root {path}")


def _credentials(patient: Patient) -> Iterator[Finding]:
    if patient.config is None:
        yield skip("credentials", "not looked at: the configuration is broken")
        return
    for venue, section in sorted(patient.config.venues.items()):
        keys = section.keys
        if keys is None:
            yield ok("credentials", f"{venue}: no key of the agent's own, so it carries and asks nothing")
        elif keys.credential and "CREDENTIALS_DIRECTORY" not in patient.environ:
            known = patient.facts.get("venues", {}).get(venue, {}).get("key")
            if known:
                yield ok("credentials", f"{venue}: the agent has its credential {keys.credential}")
            else:
                yield skip(
                    "credentials", f"{venue}: credential {keys.credential} is given by systemd to the unit alone"
                )
        else:
            try:
                keys.read(patient.environ)
            except (TradingBotError, OSError) as error:
                mend = f"jackstay keys add {patient.name} --venue {venue}"
                yield fail(
                    "credentials", f"{venue}: {error}", f"chmod 600 {keys.file}" if "mode" in str(error) else mend
                )
            else:
                yield ok("credentials", f"{venue}: readable by the agent alone ({keys.file or f'{keys.env}_*'})")


def _sockets(patient: Patient) -> Iterator[Finding]:
    paths = patient.paths
    try:
        paths.check()
    except ValidationError as error:
        yield fail("sockets", str(error), "a shorter --runtime-dir")
        return
    try:
        found = paths.runtime.stat()
    except FileNotFoundError:
        parent = next((each for each in paths.runtime.parents if each.exists()), Path("/"))
        if os.access(parent, os.W_OK):
            yield ok("sockets", f"{paths.runtime} is not there yet; it can be made")
        else:
            yield warn(
                "sockets", f"{paths.runtime} is not there, and {parent} is not yours to write", "run it by systemd"
            )
        return
    except OSError as error:
        yield skip("sockets", f"{paths.runtime} may not be looked at ({error.strerror}): run as its owner or root")
        return
    mode = stat.S_IMODE(found.st_mode)
    if mode & 0o027:
        yield fail(
            "sockets", f"{paths.runtime} is open to others (mode {mode:04o})", f"chmod o-rwx,g-w {paths.runtime}"
        )
    elif not patient.facts and os.path.exists(paths.control):
        yield warn("sockets", f"{paths.runtime} holds sockets of an agent that gives no answer", "see 'agent' below")
    else:
        yield ok("sockets", f"{paths.runtime} (mode {mode:04o})")


def _agent(patient: Patient) -> Iterator[Finding]:
    if not patient.facts:
        yield fail("agent", f"it does not answer: {patient.absence}", _start(patient.name))
        return
    found = [each for each in attention(patient.facts) if each.level is Level.WARN]
    for each in found:
        yield warn("agent", each.what, each.command(patient.name))
    if not found:
        yield ok("agent", f"pid {patient.facts['pid']}, answers, nothing asks for attention")


def _start(name: str) -> str:
    return f"systemctl start jackstay@{name}" if _systemd() else f"jackstay run {name}"


def _disk(patient: Patient) -> Iterator[Finding]:
    folder = patient.state_folder
    there = next((each for each in (folder, *folder.parents) if os.path.isdir(each)), Path("/"))
    try:
        found = os.statvfs(there)
    except OSError as error:
        yield skip("disk", f"{folder}: {error.strerror}")
        return
    free = found.f_bavail * found.f_frsize
    share = 100 * found.f_bavail / found.f_blocks if found.f_blocks else 100.0
    what = f"{free / 1e9:.1f} GB ({share:.0f} %) free for {folder}"
    mend = "free some; [audit] retention_days and retention_bytes bound the log"
    if free < DISK_FAIL_BYTES:
        yield fail("disk", f"{what}: a full disk refuses orders", mend)
    elif free < DISK_WARN_BYTES:
        yield warn("disk", what, mend)
    else:
        yield ok("disk", what)
    if found.f_files and found.f_favail < 1000:
        yield fail("disk", f"{found.f_favail} inodes free for {folder}", "remove small files")
    if there == folder and not os.access(folder, os.W_OK) and _uid_of(folder) == os.getuid():
        yield fail("disk", f"{folder} cannot be written", f"chmod u+w {folder}; is it mounted read-only?")


def _limits(patient: Patient) -> Iterator[Finding]:
    """Of the running agent where /proc tells, else of what a command started from here would get."""
    pid = patient.facts.get("pid")
    files, whose = _files_of(pid) if pid else None, "the agent"
    if files is None:
        import resource

        files, whose = resource.getrlimit(resource.RLIMIT_NOFILE)[0], "a process started here"
        files = sys.maxsize if files < 0 else files
    if files < FILES_WARN:
        yield warn("limits", f"{whose} may open {files} files", "LimitNOFILE=65536 in the unit, or: ulimit -n 65536")
    else:
        yield ok("limits", f"{whose} may open {files} files" if files < sys.maxsize else f"{whose}: files unlimited")


def _files_of(pid: int) -> int | None:
    try:
        lines = Path(f"/proc/{pid}/limits").read_text(encoding="ascii").splitlines()
        soft = next(line for line in lines if line.startswith("Max open files")).split()[3]
    except (OSError, StopIteration, IndexError):
        return None
    return sys.maxsize if soft == "unlimited" else int(soft)


def _unit(patient: Patient) -> Iterator[Finding]:
    if not _systemd():
        yield skip("unit", "this machine is not run by systemd: something else has to start the agent again")
        return
    unit = f"jackstay@{patient.name}.service"
    wanted = ("LoadState", "ActiveState", "SubState", "UnitFileState", "NRestarts", "Restart", "StartLimitIntervalUSec")
    try:
        done = subprocess.run(
            ["systemctl", "show", unit, *(f"--property={each}" for each in wanted)],
            capture_output=True, text=True, timeout=SYSTEMCTL_WITHIN_S, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        yield skip("unit", f"systemctl gives no answer: {error}")
        return
    yield from unit_findings(patient.name, done.stdout, done.stderr)


def unit_findings(name: str, shown: str, said: str = "") -> Iterator[Finding]:
    """What `systemctl show` tells of the instance."""
    unit = f"jackstay@{name}.service"
    facts = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    if facts.get("LoadState") != "loaded":
        state = facts.get("LoadState") or said.strip() or "not told"
        yield warn("unit", f"{unit} is not installed ({state})", "see systemd/README.md: Install")
        return
    found = []
    if facts.get("UnitFileState") not in ("enabled", "enabled-runtime", "static"):
        found.append(warn("unit", f"{unit} does not start with the machine", f"systemctl enable {unit}"))
    if facts.get("Restart") != "always":
        what = f"{unit} is not always started again (Restart={facts.get('Restart')})"
        found.append(warn("unit", what, "Restart=always in the unit"))
    if facts.get("StartLimitIntervalUSec") not in ("0", None, ""):
        found.append(warn("unit", f"{unit} stays dead after some quick crashes", "StartLimitIntervalSec=0 in the unit"))
    if facts.get("ActiveState") != "active":
        what = f"{unit} is {facts.get('ActiveState')} ({facts.get('SubState')})"
        found.append(fail("unit", what, f"journalctl -u {unit} -n 50"))
    yield from found or [ok("unit", f"{unit} is active, started again {facts.get('NRestarts', '0')} times")]


def _systemd() -> bool:
    return os.path.isdir("/run/systemd/system") and shutil.which("systemctl") is not None


def _uid_of(path: Path) -> int:
    try:
        return path.stat().st_uid
    except OSError:
        return -1
