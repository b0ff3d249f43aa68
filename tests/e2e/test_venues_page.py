"""docs/VENUES.md, "Add a venue in 15 minutes", followed literally: its commands, in their order, in an empty folder."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

from harness import child_env

PAGE = Path(__file__).resolve().parents[2] / "docs" / "VENUES.md"
STEP = re.compile(r"<!-- step -->\n```sh\n(.*?)```", re.DOTALL)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_venue_is_added_by_following_the_page(tmp_path: Path) -> None:
    """The config is fine, both orders arrive once, the lost answer is resolved. Only the sandbox's port is our own."""
    steps = STEP.findall(PAGE.read_text(encoding="utf-8"))
    assert len(steps) == 3
    port = free_port()
    commands = tmp_path / "bin"
    commands.mkdir()
    for name, words in {"jackstay": "-m jackstay_agent.cli", "python": ""}.items():
        (commands / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
        (commands / name).chmod(0o755)
    script = "\n".join(steps).replace("127.0.0.1:8787", f"127.0.0.1:{port}")
    script = script.replace("jackstay sandbox --quiet", f"jackstay sandbox --quiet --port {port}")
    for verb in ("fault reset_after", "checks"):
        script = script.replace(f"jackstay sandbox {verb}", f"jackstay sandbox {verb} --url http://127.0.0.1:{port}")
    done = subprocess.run(
        ["bash", "-euc", script],
        cwd=tmp_path,
        env=child_env() | {"PATH": f"{commands}:{os.environ['PATH']}", "XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert "mybot.toml: ok" in lines
    assert sorted(line for line in lines if line.startswith("200 ok")) == ["200 ok ok NEW", "200 ok resolved NEW"]
