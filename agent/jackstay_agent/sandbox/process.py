"""Start a sandbox as a child process and steer it: for tests, demos and rehearsals. Standard library only."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlencode, urlsplit

ADMIN_TIMEOUT_S = 20.0


class SandboxError(RuntimeError):
    """The sandbox did not start, or refused an admin request."""


class SandboxAdmin:
    """The admin API of a running sandbox. Blocking; one connection per call."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port

    def fault(
        self, kind: str, *, route: str | None = None, probability: float = 1.0, count: int | None = None, **params: Any
    ) -> str:
        """Arm a fault; its id. Raises SandboxError naming what is wrong with it."""
        description = {"kind": kind, "route": route or "", "probability": probability, **params}
        if count is not None:
            description["count"] = count
        return str(self._ask("POST", "/admin/faults", description)["id"])

    def clear(self, fault_id: str | None = None) -> int:
        """Disarm one fault, or all."""
        return int(self._ask("DELETE", f"/admin/faults/{fault_id}" if fault_id else "/admin/faults")["cleared"])

    def ledger(self, **filters: Any) -> list[dict[str, Any]]:
        """Rows whose columns equal the filters; ``since`` a sequence number."""
        query = urlencode({key: str(value) for key, value in filters.items()})
        return list(self._ask("GET", f"/admin/ledger?{query}"))

    def checks(self) -> dict[str, Any]:
        return dict(self._ask("GET", "/admin/checks"))

    def orders(self, **filters: Any) -> list[dict[str, Any]]:
        return list(self._ask("GET", f"/admin/orders?{urlencode(filters)}"))

    def balances(self) -> dict[str, Any]:
        return dict(self._ask("GET", "/admin/balances"))

    def reset(self) -> None:
        """A fresh venue: orders, balances, faults, ledger, counters."""
        self._ask("POST", "/admin/reset", {})

    def stream_reset(self) -> int:
        """Cut every stream socket; how many."""
        return int(self._ask("POST", "/admin/stream_reset", {})["closed"])

    def seq(self, symbol: str = "BTCUSDT", per_s: float = 100.0) -> None:
        """Numbered messages on ``<symbol>@seq`` at this rate; 0 stops them."""
        self._ask("POST", "/admin/seq", {"symbol": symbol, "per_s": per_s})

    def save(self) -> None:
        """Write the state file and take no further request."""
        self._ask("POST", "/admin/save", {})

    def streams(self) -> dict[str, Any]:
        return dict(self._ask("GET", "/admin/streams"))

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=ADMIN_TIMEOUT_S)
        try:
            data = json.dumps(body).encode() if body is not None else None
            connection.request(method, path, data, {"Content-Type": "application/json"} if data else {})
            answer = connection.getresponse()
            told = json.loads(answer.read())
        finally:
            connection.close()
        if answer.status != 200:
            raise SandboxError(f"{method} {path}: {told.get('error', answer.status)}")
        return told


class SandboxProcess:
    """A sandbox in its own process, as a context manager. ``extra_args`` go to the command line."""

    def __init__(
        self,
        *,
        seed: int = 1,
        port: int = 0,
        quiet: bool = False,
        weights: bool = False,
        extra_args: tuple[str, ...] = (),
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="sandbox-")
        self._state = Path(self._folder.name) / "state"
        self._args = ["--seed", str(seed), "--state", str(self._state), *extra_args]
        self._args += ["--quiet"] if quiet else []
        self._args += ["--weights"] if weights else []
        self._process: subprocess.Popen[bytes] | None = None
        self.port = port
        self.url = self.ws_url = self.ca = ""

    def start(self) -> SandboxProcess:
        command = [sys.executable, "-m", "jackstay_agent.sandbox", "--port", str(self.port), *self._args]
        rooms = os.pathsep.join(filter(None, (str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", ""))))
        # Made importable from this very checkout or installation, whatever the caller's path is.
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": _with_siblings(rooms)}
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SandboxError(f"the sandbox did not start (exit code {self._process.wait(10)}); its message is above")
        facts = json.loads(line)
        self.port, self.url, self.ws_url = facts["port"], facts["url"], facts["ws_url"]
        self.ca = facts.get("ca", "")
        return self

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def admin(self) -> SandboxAdmin:
        return SandboxAdmin(self.url)

    def kill(self) -> None:
        """kill -9, reaped; what was not saved is lost."""
        self._end(lambda process: process.kill())

    def restart(self, *, keep_state: bool = True) -> None:
        """Down with a kill -9 and up again on the same port."""
        self.go_down(keep_state=keep_state)
        self.start()

    def go_down(self, *, keep_state: bool = True) -> None:
        """As `restart`, but stays down until `start`."""
        if keep_state:
            self.admin.save()
        self.kill()
        if not keep_state:
            self._state.unlink(missing_ok=True)

    def stop(self) -> None:
        """SIGTERM and wait."""
        self._end(lambda process: process.terminate())
        self._folder.cleanup()

    def _end(self, how: Any) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            how(process)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
        if process.stdout is not None:
            process.stdout.close()

    def __enter__(self) -> SandboxProcess:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _with_siblings(path: str) -> str:
    """In a checkout the shared words live beside the agent's folder."""
    sibling = Path(__file__).parents[3] / "protocols"
    return path + (os.pathsep + str(sibling) if sibling.is_dir() else "")
