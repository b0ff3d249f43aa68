"""What a check found, and of whom: the words that every check of the doctor shares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from jackstay_protocols.endpoints import AgentPaths

from ..config import Config


class State(StrEnum):
    OK = "ok"
    WARN = "warn"  # it works, and will bite
    FAIL = "fail"  # it does not work, or nobody may rely on it
    SKIP = "skip"  # could not be looked at from here


@dataclass(frozen=True, slots=True)
class Finding:
    """``mend``: what to do about it, a command where there is one; "" where there is nothing to do."""

    check: str
    state: State
    what: str
    mend: str = ""


@dataclass(frozen=True, slots=True)
class Patient:
    """One agent, running or not. ``config``: None where its file is broken. ``facts``: its status, or {}."""

    name: str
    paths: AgentPaths
    state_folder: Path
    config_path: Path | None
    config: Config | None
    problems: list[str]
    facts: Mapping[str, Any]
    absence: str  # why it gives no status
    environ: Mapping[str, str]
    version: str


def ok(check: str, what: str) -> Finding:
    return Finding(check, State.OK, what)


def warn(check: str, what: str, mend: str) -> Finding:
    return Finding(check, State.WARN, what, mend)


def fail(check: str, what: str, mend: str) -> Finding:
    return Finding(check, State.FAIL, what, mend)


def skip(check: str, what: str) -> Finding:
    return Finding(check, State.SKIP, what)
