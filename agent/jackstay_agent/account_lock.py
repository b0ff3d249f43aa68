"""One agent per exclusive account on this host: a lock per account id, held for the agent's life.

`[account] exclusive = true` allows what touches the whole account (a switch that cancels everything, balance checks).
Two agents that both believe so would cancel each other's orders. The kernel drops the lock with the process. Two agents
on two machines are not prevented; the README says so.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from jackstay_protocols.endpoints import AgentPaths, state_folder
from jackstay_protocols.errors import ValidationError


def shared_folder(paths: AgentPaths, env: Mapping[str, str]) -> Path:
    """Where all agents of this user on the host have their state folders."""
    folder = state_folder(paths, env)
    return paths.runtime.parent if folder.is_relative_to(paths.runtime) else folder.parent


def lock_folder(paths: AgentPaths, env: Mapping[str, str]) -> Path:
    return shared_folder(paths, env) / ".host"


class AccountLock:
    """``folder``: one for all agents of this user on the host."""

    def __init__(self, folder: Path, account_id: str) -> None:
        name = hashlib.blake2b(account_id.encode(), digest_size=8).hexdigest()
        self.path = folder / f"account-{name}.lock"
        self._account_id = account_id
        self._handle: int | None = None

    def take(self, agent: str) -> None:
        """Raises ValidationError naming the agent that has it."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            other = os.read(handle, 256).decode("utf-8", "replace").strip()
            os.close(handle)
            raise ValidationError(
                f"[account] id = {self._account_id!r} is exclusive, and agent {other or 'another one'} on this host"
                " claims it: one agent for an exclusive account; stop that one, or set exclusive = false in both"
            ) from None
        os.ftruncate(handle, 0)
        os.write(handle, agent.encode())
        self._handle = handle

    def owner(self) -> str:
        """The agent that has it now, "" if nobody has."""
        try:
            handle = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return ""
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return os.read(handle, 256).decode("utf-8", "replace").strip() or "another agent"
        finally:
            os.close(handle)
        return ""

    def release(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
