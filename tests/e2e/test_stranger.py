"""A stranger's path: README's block from nothing to a running bot, typed as it stands into one shell.

On a copy of the tree with a finished .venv (what `make venv` makes is what every CI run makes), in a network of its own
where the system allows that, so that the block's port is nobody else's.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMMANDS_MAX = 10
PORT = 8787
#: What a person waits for after a line that ends with &.
UP = re.compile(r'"ready": true|agent\.started')
WITHIN_S = 90.0


def commands() -> list[str]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(r"<!-- stranger\b[^>]*-->\n```sh\n(.*?)```", text, re.DOTALL)
    assert found, "README.md has no stranger's path"
    return [line.partition("  #")[0].rstrip() for line in found.group(1).splitlines() if line.strip()]


class Shell:
    """bash with its input typed line by line."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        words = ["bash", "--norc", "--noprofile"]
        own_network = subprocess.run(["unshare", "-rn", "true"], capture_output=True, check=False).returncode == 0
        if own_network:
            words = ["unshare", "-rn", "sh", "-c", "ip link set lo up && exec bash --norc --noprofile"]
        else:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", PORT)) == 0:
                    pytest.skip(f"port {PORT} is taken, and no network of its own is permitted here")
        self.process = subprocess.Popen(
            words, cwd=folder, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
        self.said = ""
        self._typed = 0

    def type(self, line: str) -> tuple[int, str]:
        """(exit code, what was printed since); a line that goes on in the background is waited for until it is up."""
        assert self.process.stdin is not None
        self._typed += 1
        mark = f"@@{self._typed}"
        before = len(self.said)
        self.process.stdin.write(f"{line}\necho {mark} $?\n".encode())
        self.process.stdin.flush()
        self._read(re.compile(rf"^{mark} (\d+)$", re.MULTILINE), before)
        if line.endswith("&"):
            self._read(UP, before)
        code = re.search(rf"^{mark} (\d+)$", self.said[before:], re.MULTILINE)
        assert code is not None
        return int(code.group(1)), self.said[before:]

    def _read(self, until: re.Pattern[str], before: int) -> None:
        assert self.process.stdout is not None
        limit_at = time.monotonic() + WITHIN_S
        while not until.search(self.said[before:]):
            ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, limit_at - time.monotonic()))
            assert ready, f"no {until.pattern} in {WITHIN_S:g} s:\n{self.said}"
            data = os.read(self.process.stdout.fileno(), 65536)
            assert data, f"the shell ended:\n{self.said}"
            self.said += data.decode(errors="replace")

    def close(self) -> None:
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.communicate()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The tree as it is cloned, its .venv made."""
    folder = tmp_path / "jackstay"
    folder.mkdir()
    for name in ("agent", "client", "protocols", "docs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Makefile", "pyproject.toml", "README.md"):
        shutil.copy2(ROOT / name, folder / name)
    venv = Path(sys.prefix)
    if not (venv / "bin" / "jackstay").exists():
        pytest.skip(f"{venv} has no jackstay command; make venv")
    made = folder / ".venv"
    made.mkdir()
    for entry in venv.iterdir():
        if entry.name != ".complete":
            (made / entry.name).symlink_to(entry)
    (made / "bin").unlink()
    shutil.copytree(venv / "bin", made / "bin", symlinks=True)
    activate = made / "bin" / "activate"
    activate.write_text(activate.read_text(encoding="utf-8").replace(str(venv), str(made)), encoding="utf-8")
    (made / ".complete").touch()
    return folder


@pytest.mark.slow
@pytest.mark.timeout(300)  # forty processes: a loaded machine takes its time
@pytest.mark.skipif(Path("/etc/jackstay").exists(), reason="a real installation is here: its folders would be used")
def test_the_stranger_arrives(checkout: Path, tmp_path: Path) -> None:
    """At most ten commands, each exit 0; the bot traded through its agent, and nothing is left running."""
    typed = commands()
    assert len(typed) <= COMMANDS_MAX
    home = tmp_path / "home"
    home.mkdir()
    runtime = tempfile.mkdtemp(prefix="js-")  # short: a socket's path has 107 bytes
    env = {"PATH": os.environ["PATH"], "HOME": str(home), "XDG_RUNTIME_DIR": runtime, "LANG": "C.UTF-8"}
    shell = Shell(checkout, env)
    try:
        told = {}
        for line in typed:
            code, told[line] = shell.type(line)
            assert code == 0, shell.said
        bot = next(out for line, out in told.items() if "ccxt_bot.py" in line)
        assert "cancelled canceled" in bot
        status = next(out for line, out in told.items() if line.startswith("jackstay status"))
        assert "mybot running" in status
        assert "api.binance.com" in status
        assert (home / ".config" / "jackstay" / "mybot.toml").exists()
        code, _ = shell.type("wait")  # agent and exchange end
        assert code in (0, 143)
    finally:
        shell.close()
        shutil.rmtree(runtime)
