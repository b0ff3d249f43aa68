"""One agent per name: a lock on the runtime folder, taken before any socket is bound.

A second bind on an ipc path would steal it in silence (reference: measured); flock ends with its process, so a crash
leaves no stale lock.
"""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path

from jackstay_protocols.endpoints import FOLDER_MODE, AgentPaths
from jackstay_protocols.errors import SecurityError, ValidationError


class InstanceLock:
    """Holds the folder of one agent; `take` raises when another living agent has it."""

    def __init__(self, paths: AgentPaths) -> None:
        self._paths = paths
        self._fd = -1

    def take(self, *, group_id: int | None = None) -> None:
        self._paths.check()
        _make_folder(self._paths.runtime, group_id)
        try:
            fd = os.open(self._paths.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ValidationError(
                f"cannot write {self._paths.lock}: {error.strerror}; use another --runtime-dir"
            ) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip()
            os.close(fd)
            raise ValidationError(
                f"an agent named {self._paths.name!r} already runs here (pid {holder or 'unknown'}, folder"
                f" {self._paths.runtime}); stop it or choose another name"
            ) from error
        os.ftruncate(fd, 0)
        os.pwrite(fd, str(os.getpid()).encode(), 0)
        self._fd = fd

    def release(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)  # closing ends the flock; the file stays, so that no two lockers see different inodes
            self._fd = -1


def _make_folder(folder: Path, group_id: int | None) -> None:
    mode = FOLDER_MODE if group_id is None else 0o750
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=mode, exist_ok=True)
        facts = folder.stat()
        if facts.st_uid not in (os.getuid(), 0):
            raise SecurityError(f"{folder} belongs to uid {facts.st_uid}, not to this agent's {os.getuid()}")
        if stat.S_IMODE(facts.st_mode) != mode:
            os.chmod(folder, mode)
        if group_id is not None and facts.st_gid != group_id:
            os.chown(folder, -1, group_id)
    except OSError as error:
        raise ValidationError(
            f"cannot make the runtime folder {folder}: {error.strerror}; use --runtime-dir or mend its permissions"
        ) from error
