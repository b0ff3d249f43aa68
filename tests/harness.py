"""Real processes for end-to-end tests: an agent, started and stopped as a user would, judged by its sockets."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

READY_S = 20.0


def freeze(pid: int) -> None:
    """SIGSTOP a child, until it stands still: its threads run on until the one that takes it has a processor."""
    os.kill(pid, signal.SIGSTOP)
    os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)


class AgentProcess:
    """``jackstay run`` as a child. ``config`` is TOML text; the runtime folder is short, sockets have 107 bytes."""

    def __init__(self, config: str = "", *, name: str = "t", runtime_dir: Path | None = None) -> None:
        self.name = name
        self._own_dir = None if runtime_dir else tempfile.TemporaryDirectory(prefix="js-")
        self.runtime_dir = runtime_dir or Path(self._own_dir.name)  # type: ignore[union-attr]
        self.config_path = self.runtime_dir / f"{name}.toml"
        self.config_path.write_text(config, encoding="utf-8")
        self.log_path = self.runtime_dir / f"{name}.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.source: Path | None = None  # another checkout whose agent is started instead of this one's
        self.python = sys.executable
        self.program: tuple[str, ...] = ("-m", "jackstay_agent.cli")  # what is run by Python, as `jackstay`
        self.more_env: dict[str, str] = {}

    def __enter__(self) -> AgentProcess:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if self._own_dir is not None:
            self._own_dir.cleanup()

    def start(self) -> float:
        """Start and wait for ready; returns the seconds it took."""
        read_fd, write_fd = os.pipe()
        began = time.monotonic()
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    self.python,
                    *self.program,
                    "run",
                    self.name,
                    "--config",
                    str(self.config_path),
                    "--runtime-dir",
                    str(self.runtime_dir),
                    "--ready-fd",
                    str(write_fd),
                ],
                pass_fds=(write_fd,),
                stderr=log,
                env=child_env(self.source) | self.more_env,
            )
        os.close(write_fd)
        with os.fdopen(read_fd, "rb") as ready:
            if ready.readline() != b"ready\n":  # EOF: the agent ended
                raise RuntimeError(f"the agent did not start:\n{self.log()}")
        return time.monotonic() - began

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def env(self) -> dict[str, str]:
        """What a bot needs to find this agent."""
        return child_env() | {"JACKSTAY_AGENT": self.name, "JACKSTAY_RUNTIME_DIR": str(self.runtime_dir)}

    def signal(self, number: int) -> None:
        """Send it; of SIGSTOP until it stands still."""
        freeze(self.pid) if number == signal.SIGSTOP else os.kill(self.pid, number)

    def kill(self) -> None:
        """kill -9, reaped."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> int:
        """SIGTERM and wait; its exit code."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)
                raise RuntimeError(f"the agent did not stop:\n{self.log()}") from None
        return int(self.process.returncode)

    def rss_mb(self) -> float:
        return psutil.Process(self.pid).memory_info().rss / 1e6

    def log(self) -> str:
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def events(self, name: str) -> list[dict[str, Any]]:
        """Logged events of this name (the log is JSON lines when stderr is no terminal)."""
        found = []
        for line in self.log().splitlines():
            if not line.startswith("{"):
                continue
            event = json.loads(line)
            if event.get("event") == name:
                found.append(event)
        return found

    def event(self, name: str, within_s: float = 8.0, **fields: str) -> dict[str, Any]:
        """The latest event of this name with these fields, once there is one."""
        until = time.monotonic() + within_s
        while True:
            for each in reversed(self.events(name)):
                if fields.items() <= each.items():
                    return each
            assert time.monotonic() < until, f"no {name} {fields}:\n{self.log()[-6000:]}"
            time.sleep(0.02)

    def status(self) -> dict[str, Any]:
        done = cli("status", self.name, "--json", runtime_dir=self.runtime_dir)
        if done.returncode not in (0, 1):  # 1: it answers, and something asks for attention
            raise RuntimeError(done.stderr)
        return dict(json.loads(done.stdout))


def child_env(source: Path | None = None) -> dict[str, str]:
    """The environment for children: this (or another) checkout's rooms on the path, no settings of the caller's."""
    root = source or Path(__file__).resolve().parents[1]
    path = os.pathsep.join(str(root / room) for room in ("agent", "client", "protocols"))
    env = {key: value for key, value in os.environ.items() if not key.startswith("JACKSTAY")}
    env |= {
        "SANDBOX_KEY": "sandbox-key",
        "SANDBOX_SECRET": "sandbox-secret",
        "SANDBOX_PASSPHRASE": "sandbox-passphrase",
        "KRAKEN_KEY": "agent-key",  # of its own: a venue's nonces rise per key
        "KRAKEN_SECRET": "c2FuZGJveC1zZWNyZXQ=",
    }  # for `keys.env = "SANDBOX"`
    return env | {"PYTHONPATH": os.pathsep.join(filter(None, (path, env.get("PYTHONPATH", ""))))}


def compiled_env(folder: Path) -> dict[str, str]:
    """For an agent that is measured: byte code as an installation has it, kept below ``folder``."""
    return {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(folder)}


def cli(
    *args: str, runtime_dir: Path | None = None, timeout_s: float = 60.0, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user would; ``env`` on top."""
    env = child_env() | (env or {})
    if runtime_dir is not None:
        env["JACKSTAY_RUNTIME_DIR"] = str(runtime_dir)
    return subprocess.run(
        [sys.executable, "-m", "jackstay_agent.cli", *args],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        env=env,
        check=False,
    )
