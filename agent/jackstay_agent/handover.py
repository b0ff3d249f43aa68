"""Become another version without losing anything: this process drains, gives everything back, and executes the other
program in its own place.

The process id, the service manager's view, the credentials, the sandbox and the environment stay what they were, also
under `jackstay exec` and as PID 1 of a container; nothing has to be handed from one process to another but the files,
which a restart hands over every day. Before that the other program is asked whether it could (`upgrade --check`, run
from here, so that a program which this sandbox cannot execute is found out while the old one still works).

Only root and the agent's own uid may say which program: it runs with the agent's keys.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from jackstay_protocols.endpoints import AgentPaths, state_folder
from jackstay_protocols.errors import Reason, SecurityError, ValidationError
from jackstay_protocols.limits import WIRE_VERSION

from .flight import Reply
from .gateway.control_door import Verb
from .gateway.door import PeerCredentials
from .lifeline import own_env_watchdog_s
from .notify import notify
from .outbox.schema import SCHEMA_VERSION
from .ports import Ports

CHECK_S = 60.0
BECOMES_S = 120.0  # until its READY; the lifeline then sets the watchdog's own time again
AFTER_ANSWER_S = 0.1  # a peer that hears of the closing before it has read the answer loses the answer (measured)
COPY_NAME = "upgrade-check.sqlite"
PASSED_ON = "JACKSTAY_HANDOVER"


class Handover:
    def __init__(
        self,
        request_stop: Callable[[], None],
        *,
        name: str,
        config_path: Path | None,
        paths: AgentPaths,
        ports: Ports,
        on_event: Callable[[str, dict[str, Any]], None],
    ) -> None:
        self._request_stop = request_stop
        self._name = name
        # absolute: who asks for a copy stands in another folder
        self._config_path = None if config_path is None else config_path.absolute()
        self._paths = paths
        self._ports = ports
        self._on_event = on_event
        self._version = ""
        self._own_python = _as_it_is_now(Path(sys.executable))
        self._asked = ""  # the program that is being looked at, or has the word
        self._program: Path | None = None
        self._token = ""
        self._left_at = 0.0
        self._last: dict[str, Any] = {}

    @property
    def wanted(self) -> bool:
        return self._program is not None

    def verbs(
        self, copy_outbox: Callable[[Path, Callable[[BaseException | None], None]], None], version: Callable[[], str]
    ) -> dict[str, Verb]:
        self._version = version()

        async def copy() -> dict[str, Any]:
            target = state_folder(self._paths, os.environ) / COPY_NAME
            for left in target.parent.glob(f"{COPY_NAME}*"):  # of a check that was killed, and may be root's
                left.unlink(missing_ok=True)
            made: Reply[tuple[BaseException | None]] = Reply()
            copy_outbox(target, lambda error: made.set((error,)))
            (error,) = await made
            if error is not None:
                raise ValidationError(f"no copy of the journal can be made: {error}")
            return {
                "copy": str(target),
                "config": str(self._config_path or ""),
                "version": self._version,
                "wire": WIRE_VERSION,
                "schema": SCHEMA_VERSION,
            }

        def copy_verb(_args: dict[str, Any], who: PeerCredentials | None) -> Any:
            _only_its_own(who)
            return copy()

        def hand_over(args: dict[str, Any], who: PeerCredentials | None) -> Any:
            _only_its_own(who)
            return self._hand_over(str(args.get("program", "")), str(args.get("token", "")), who)

        return {"upgrade.copy": copy_verb, "handover": hand_over, "handover.last": lambda _args, _who: dict(self._last)}

    async def _hand_over(self, program: str, token: str, who: PeerCredentials | None) -> dict[str, Any]:
        path = Path(program)
        if not _executable(path):
            raise ValidationError(
                f"program {program!r} cannot be executed from here; the absolute path of the other installation's"
                " jackstay is expected, in a place that this agent's service can see (not below a home folder)"
            )
        if self._asked:
            raise ValidationError(f"a handover to {self._asked} is under way; wait for it, then look at the version")
        self._asked = program
        try:
            found = await self._ports.loop.create_task(self._check(path))
            if found.get("ok") is not True:
                raise ValidationError(f"the other version could not take over, nothing was changed: {_reasons(found)}")
        except BaseException:
            self._asked = ""
            raise
        self._program, self._token = path, token
        self._on_event(
            "operator.handover",
            {"uid": who.uid if who else None, "program": str(path), "version": found.get("version", "")},
        )
        self._ports.loop.call_later(AFTER_ANSWER_S, self._leave)
        return {"from_version": self._version, "to_version": found.get("version", ""), "pid": self._ports.pid}

    def _leave(self) -> None:
        self._left_at = self._ports.clock()
        self._request_stop()

    async def _check(self, program: Path) -> dict[str, Any]:
        """What `PROGRAM upgrade NAME --check --json` says; why there is no such word, in the same form."""
        try:
            child = await asyncio.create_subprocess_exec(
                str(program),
                "upgrade",
                self._name,
                "--check",
                "--json",
                *self._way(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        except OSError as error:  # no interpreter, or forbidden by the service's sandbox
            return _no(f"{program} cannot be executed: {error.strerror}")
        try:
            out, err = await asyncio.wait_for(child.communicate(), CHECK_S)
        except TimeoutError:
            return _no(f"its check gave no answer in {CHECK_S:g} s")
        finally:
            if child.returncode is None:
                with suppress(ProcessLookupError):
                    child.kill()
                await child.wait()
        try:
            told = json.loads(out)
        except ValueError:
            told = None
        if isinstance(told, dict) and "ok" in told:
            return told
        last = err.decode("utf-8", "replace").strip().splitlines()[-1:] or [f"exit code {child.returncode}"]
        return _no(f"{program} upgrade --check: {last[0]}")

    def _way(self) -> list[str]:
        way = ["--runtime-dir", str(self._paths.runtime.parent)]
        return way if self._config_path is None else [*way, "--config", str(self._config_path)]

    def become(self) -> None:
        """Execute the other program in this process's place; if that cannot be, this one's own again."""
        assert self._program is not None
        if own_env_watchdog_s():
            # nobody pings until the other program is ready, and its recovery of the journal may take its time
            notify(f"WATCHDOG_USEC={int(BECOMES_S * 1e6)}\nWATCHDOG=1")
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a reload meant for the other program: it reads the file anyway
        arguments = ["run", self._name, *self._way()]
        passed = json.dumps({"from": self._version, "left_at": self._left_at, "token": self._token})
        env = os.environ | {PASSED_ON: passed}
        try:
            os.execve(self._program, [str(self._program), *arguments], env)
        except OSError as error:
            print(f"jackstay: {self._program}: {error.strerror}; starting the old version again", file=sys.stderr)
            own = [str(self._own_python), "-m", "jackstay_agent.cli", *arguments]
            os.execve(self._own_python, own, env)

    def arrived(self) -> None:
        """Called when ready: if an earlier program of this process handed over, say how long nobody was there."""
        passed = os.environ.pop(PASSED_ON, "")
        if not passed:
            return
        try:
            facts = json.loads(passed)
            gap_s = self._ports.clock() - float(facts["left_at"])
        except (ValueError, KeyError, TypeError):
            return
        told = {"from_version": facts.get("from", ""), "version": self._version, "gap_ms": round(gap_s * 1000, 1)}
        self._last = {**told, "token": facts.get("token", "")}
        self._on_event("agent.took_over", told)


def _only_its_own(who: PeerCredentials | None) -> None:
    if who is not None and who.uid not in (0, os.getuid()):
        raise SecurityError(
            f"uid {who.uid} may not choose the program that runs with this agent's keys: be root or the agent's user",
            reason=Reason.NOT_PERMITTED,
        )


def _executable(program: Path) -> bool:
    return program.is_absolute() and program.is_file() and os.access(program, os.X_OK)


def _as_it_is_now(python: Path) -> Path:
    """The interpreter of this installation, also once a link on the way leads to another one; a virtual environment's
    own `python` is a link that must stay.
    """
    return python.parent.resolve() / python.name


def _no(why: str) -> dict[str, Any]:
    return {"ok": False, "checks": [{"ok": False, "what": why}]}


def _reasons(found: dict[str, Any]) -> str:
    """Another version's words are read with care."""
    checks = found.get("checks")
    rows = [each for each in checks if isinstance(each, dict)] if isinstance(checks, list) else []
    return "; ".join(str(each.get("what")) for each in rows if not each.get("ok")) or "it does not say why"
