"""Installations by pip: wheels of an earlier commit and of this checkout, virtual environments made of them."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
#: An earlier state of this repository that knows handover; in the tests it calls itself OLD, this checkout NEW.
WITH_HANDOVER = "131f58d729fdf45f03e62a4e6e88b876c0730b43"
OLD, NEW = "0.0.9", "9.9.9"
PARTS = ("agent", "client", "protocols", "systemd", "pyproject.toml", "README.md", "LICENSE")


def earlier_source(commit: str, folder: Path, *parts: str) -> Path:
    """The tree of a commit; skips where the history is not here (a shallow clone, a release archive)."""
    packed = subprocess.run(
        ["git", "-C", str(ROOT), "archive", commit, *(parts or PARTS)], capture_output=True, check=False
    )
    if packed.returncode != 0:
        pytest.skip(f"commit {commit} is not in this checkout: {packed.stderr.decode().strip()[:200]}")
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def this_source(folder: Path) -> Path:
    """This checkout as it is, uncommitted changes included."""
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
        else:
            shutil.copy(ROOT / part, folder / part)
    return folder


def wheels(folder: Path) -> Path:
    """Wheels of OLD and NEW and of all they need; skips where no package index is reached."""
    made = folder / "wheels"
    for version, source in (
        (OLD, earlier_source(WITH_HANDOVER, folder / "old")),
        (NEW, this_source(folder / "new")),
    ):
        facts = source / "pyproject.toml"
        facts.write_text(re.sub(r'^version = "[^"]+"', f'version = "{version}"', facts.read_text(), flags=re.MULTILINE))
        done = pip(sys.executable, "wheel", "--wheel-dir", str(made), f"{source}[agent]")
        if done.returncode != 0:
            pytest.skip(f"no wheels can be made here: {done.stderr.strip()[-300:]}")
    return made


def pip(python: str | Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check", *words],
        capture_output=True,
        text=True,
        check=False,
    )


def installed(folder: Path, version: str, found: Path) -> Path:
    """A virtual environment with that version of jackstay[agent]; its folder."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    done = pip(
        folder / "bin" / "python", "install", "--no-index", "--find-links", str(found), f"jackstay[agent]=={version}"
    )
    assert done.returncode == 0, done.stderr
    return folder
