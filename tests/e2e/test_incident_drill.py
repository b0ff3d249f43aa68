"""The incident drill of OPERATIONS.md, executed: what the page shows is what comes out, ids and times aside."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from incident import Incident

PAGE = Path(__file__).resolve().parents[2] / "docs" / "OPERATIONS.md"
WANTED = ("status", "why", "orders resolve", "cancel --class", "bot hold", "report")
#: What differs from night to night, in the order it is masked.
MASKS = (
    (r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?(Z| UTC)?", "<instant>"),
    (r"\b\d{16}\b", "<id>"),
    (r"\b(pid|process) \d+", r"\1 <pid>"),
    (r"\buid \d+ \([^)]*\)", "uid <uid>"),
    (r"\b\d+(\.\d+)?(s|m|h)( \d+(s|m))?\b", "<span>"),
    (r"\b\d+(\.\d+)? (s|kB)\b", "<amount>"),
    (r"(?<=\s)\d+\.\d+(?=\s)", "<number>"),
    (r"[ \t]+", " "),
)


def steps() -> list[tuple[str, str]]:
    """(command, what the page shows of it, its exit code in the last line)."""
    found = re.search(r"<!-- drill\b[^>]*-->\n```console\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found, "OPERATIONS.md shows no drill"
    parts = re.split(r"^\$ ", found.group(1), flags=re.MULTILINE)[1:]
    return [(part.partition("\n")[0], part.partition("\n")[2].strip("\n")) for part in parts]


def masked(text: str) -> list[str]:
    for pattern, word in MASKS:
        text = re.sub(pattern, word, text)
    return [line.rstrip() for line in text.splitlines() if line.strip()]


@pytest.fixture(scope="module")
def bin_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`jackstay` as an operator has it on the path."""
    folder = tmp_path_factory.mktemp("bin")
    script = folder / "jackstay"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m jackstay_agent.cli "$@"\n', encoding="utf-8")
    script.chmod(0o755)
    return folder


@pytest.mark.slow
@pytest.mark.timeout(300)  # forty processes: a loaded machine takes its time
def test_the_drill_is_what_comes_out(bin_folder: Path, tmp_path: Path) -> None:
    """Every command of the page in turn; output and exit code as shown."""
    shown = steps()
    for words in WANTED:
        assert any(words in command and "--all" in command for command, _ in shown), f"the drill lacks {words}"
    ids: dict[str, str] = {}
    said = []
    with Incident() as night:
        env = night.env | {"PATH": f"{bin_folder}:{night.env['PATH']}", "COLUMNS": "120"}
        for command, expected in shown:
            for on_page, here in ids.items():
                command = command.replace(on_page, here)
            done = subprocess.run(
                ["bash", "-c", command], env=env, cwd=tmp_path, timeout=60,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )  # fmt: skip
            came = done.stdout.replace(str(night.runtime), "/run/jackstay") + f"[exit {done.returncode}]\n"
            said.append(f"$ {command}\n{came}")
            ids |= dict(zip(re.findall(r"\b\d{16}\b", expected), re.findall(r"\b\d{16}\b", came), strict=False))
            assert masked(came) == masked(expected), "\n" + "\n".join(said)
        assert (tmp_path / "incident.html").stat().st_size > 10_000
