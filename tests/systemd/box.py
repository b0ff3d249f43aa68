"""A real systemd as PID 1 of private namespaces, with jackstay installed in it as an operator would (boot.sh).

Inside: /opt/jackstay/bin/jackstay is this checkout, started with the Python of the tests; a second installation can be
put beside it. Everything is written to a throw-away overlay. Tests that need it skip, with the reason, where the
machine does not allow it.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

BOOT = Path(__file__).with_name("boot.sh")
CHECKOUT = Path(__file__).resolve().parents[2]
JACKSTAY = "/opt/jackstay/bin/jackstay"
WAIT_S = 20.0

WRAPPER = """#!/bin/sh
export LD_LIBRARY_PATH=/opt/py/lib PYTHONDONTWRITEBYTECODE=1
export PYTHONPATH={source}/agent:{source}/client:{source}/protocols:{source}/tests:/opt/site
exec /opt/py/bin/python3 -m jackstay_agent.cli "$@"
"""
PYTHON = """#!/bin/sh
export LD_LIBRARY_PATH=/opt/py/lib PYTHONDONTWRITEBYTECODE=1
export PYTHONPATH={source}/agent:{source}/client:{source}/protocols:{source}/tests:/opt/site
exec /opt/py/bin/python3 "$@"
"""


def missing() -> str:
    """Why no systemd can be booted here; "" if it can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "systemd is booted in namespaces: that needs Linux and root"
    for program in ("/lib/systemd/systemd", "systemctl", "unshare", "nsenter", "setpriv"):
        if not (Path(program).exists() if program.startswith("/") else shutil.which(program)):
            return f"{program} is not installed: systemd cannot be booted here"
    probe = subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "--cgroup", "--propagation", "private", "true"],
        capture_output=True,
        check=False,
    )
    return "" if probe.returncode == 0 else "no mount, pid and cgroup namespaces may be made here"


class Box:
    """`start`, `run` commands inside, `stop`."""

    def __init__(self, *, sources: Mapping[str, Path] | None = None) -> None:
        self._home = tempfile.TemporaryDirectory(prefix="jsbox-", ignore_cleanup_errors=True)
        self.folder = Path(self._home.name)
        self.shared = self.folder / "shared"  # /shared inside, for results and scripts
        self.shared.mkdir()
        self.shared.chmod(0o777)
        (self.folder / "units").mkdir()
        self.sources = {"/opt/src": CHECKOUT, **(sources or {})}
        self.pid = 0

    def __enter__(self) -> Box:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and self.pid:
            print(self.run("journalctl", "--no-pager", "-n", "120", "-o", "short-monotonic", check=False))
        self.stop()

    def start(self) -> None:
        read_only = [f"{sys.base_prefix}:/opt/py", f"{sysconfig.get_paths()['purelib']}:/opt/site"]
        read_only += [f"{source}:{inside}" for inside, source in self.sources.items()]
        env = os.environ | {
            "SD_BIND_RO": " ".join(read_only),
            "SD_BIND_RW": f"{self.shared}:/shared",
            "SD_TTL": "1500",
        }
        done = subprocess.run(
            [str(BOOT), "start", str(self.folder)], capture_output=True, text=True, env=env, check=False
        )
        if done.returncode != 0 or "state=running" not in done.stdout:
            raise RuntimeError(f"systemd did not boot: {done.stdout}{done.stderr}")
        self.pid = int((self.folder / "pid").read_text())
        self.write("/opt/jackstay/bin/jackstay", WRAPPER.format(source="/opt/src"), 0o755)
        self.write("/opt/jackstay/bin/python", PYTHON.format(source="/opt/src"), 0o755)

    def stop(self) -> None:
        if self.pid:
            subprocess.run(
                [str(BOOT), "stop", str(self.folder)],
                env=os.environ | {"SD_KILL": "1"},
                capture_output=True,
                check=False,
            )
            self.pid = 0
        self._home.cleanup()

    # ------------------------------------------------------------ inside

    def inside(self, path: str) -> Path:
        return Path(f"/proc/{self.pid}/root{path}")

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        target = self.inside(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        target.chmod(mode)

    def run(self, *command: str, check: bool = True, timeout_s: float = 60.0) -> str:
        """Standard output (and standard error) of a command inside; raises when it fails, unless told not to."""
        done = self.call(*command, timeout_s=timeout_s)
        if check and done.returncode != 0:
            raise RuntimeError(f"{shlex.join(command)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def call(self, *command: str, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(BOOT), "run", str(self.folder), *command],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def install(self, *names: str, bot_unit: str | None = None) -> None:
        """What docs/OPERATIONS.md tells an operator to do."""
        way = ["--bot-unit", bot_unit] if bot_unit else []
        self.run(JACKSTAY, "systemd", "install", *names, *way, "--program", JACKSTAY, "--yes")
        self.run("systemd-sysusers")
        self.run("systemd-tmpfiles", "--create", "jackstay.conf")
        self.run("systemctl", "daemon-reload")

    def unit(self, name: str, text: str) -> None:
        """A unit file or drop-in below /etc/systemd/system."""
        self.write(f"/etc/systemd/system/{name}", text)

    def config(self, name: str, text: str) -> None:
        self.write(f"/etc/jackstay/{name}.toml", text)

    def systemctl(self, *arguments: str, check: bool = True, timeout_s: float = 90.0) -> str:
        return self.run("systemctl", *arguments, check=check, timeout_s=timeout_s)

    def show(self, unit: str, *properties: str) -> dict[str, str]:
        asked = self.systemctl("show", unit, "-p", ",".join(properties))
        return dict(line.split("=", 1) for line in asked.splitlines() if "=" in line)

    def prop(self, unit: str, name: str) -> str:
        return self.show(unit, name)[name]

    def main_pid(self, unit: str) -> int:
        return int(self.prop(unit, "MainPID"))

    def journal(self, unit: str) -> str:
        return self.run("journalctl", "--no-pager", "-o", "cat", "-u", unit)

    def status(self, name: str) -> dict[str, Any]:
        shown = self.run(JACKSTAY, "status", name, "--json", check=False)  # 1 where something asks for attention
        return dict(json.loads(shown))

    def until(self, what: Callable[[], Any], why: str, limit_s: float = WAIT_S) -> Any:
        """Look again and again until it is so."""
        end = time.monotonic() + limit_s
        while not (found := what()):
            if time.monotonic() > end:
                told = self.run("journalctl", "--no-pager", "-n", "40", "-o", "short-monotonic", check=False)
                raise AssertionError(f"not within {limit_s:g} s: {why}\n{told}")
            time.sleep(0.05)
        return found
