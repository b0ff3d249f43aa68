"""Style that is run, not remembered: purity of the core, sizes, names, docstrings, forbidden texts."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(path for folder in ("agent", "client", "protocols") for path in (ROOT / folder).rglob("*.py"))
CORE = [path for path in SOURCES if "/core/" in path.as_posix()]

# What the core may import of the standard library: nothing that waits, reads a clock, draws, or touches the system.
PURE = {
    "__future__", "abc", "array", "bisect", "collections", "contextlib", "dataclasses", "datetime", "decimal", "email",
    "enum", "fractions", "functools", "hashlib", "heapq", "itertools", "json", "math", "operator", "re", "statistics",
    "string", "struct", "tomllib", "types", "typing", "zlib", "weakref", "urllib",
}  # fmt: skip
PURE_LIBRARIES = {"msgspec", "jackstay_protocols"}
BANNED_CALLS = {
    "now": "hand `now` in",
    "utcnow": "hand `now` in",
    "today": "hand `now` in",
    "open": "the core touches no file",
    "print": "events are values",
    "input": "the core asks nobody",
}
FORBIDDEN_NAMES = {"utils", "helpers", "common", "misc"}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", CORE, ids=name_of)
def test_the_core_is_pure(path: Path) -> None:
    """Time, chance and I/O are arguments of the core (DESIGN §3 rule 13)."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            roots = [alias.name.partition(".")[0] for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            roots = [(node.module or "").partition(".")[0]]
        else:
            roots = []
        for root in roots:
            assert root in PURE | PURE_LIBRARIES, f"{name_of(path)}:{node.lineno} imports {root}"  # type: ignore[attr-defined]
        if isinstance(node, ast.ImportFrom) and node.level >= 2:
            raise AssertionError(f"{name_of(path)}:{node.lineno} reaches out of the core")
        if isinstance(node, ast.ImportFrom) and node.module == "urllib":
            assert {alias.name for alias in node.names} <= {"parse"}
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            owner = node.func.value if isinstance(node.func, ast.Attribute) else None
            is_clock = isinstance(owner, ast.Name) and owner.id in ("datetime", "date", "time")
            if called in BANNED_CALLS and (owner is None or is_clock):
                raise AssertionError(f"{name_of(path)}:{node.lineno} calls {called}: {BANNED_CALLS[called]}")


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_sizes_names_and_docstrings(path: Path) -> None:
    """Core modules ≤ 250 lines, others ≤ 600; functions ≤ 70; no utils; every module says why it exists."""
    text = path.read_text(encoding="utf-8")
    lines = text.count("\n")
    limit = 250 if path in CORE else 600
    assert lines <= limit, f"{name_of(path)} has {lines} lines; {limit} is the limit: split it by noun"
    assert path.stem not in FORBIDDEN_NAMES, f"{name_of(path)}: name the noun instead"
    tree = parsed(path)
    assert ast.get_docstring(tree), f"{name_of(path)} opens without its reason"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            size = (node.end_lineno or node.lineno) - node.lineno + 1
            assert size <= 70, f"{name_of(path)}:{node.lineno} {node.name} has {size} lines; 70 is the limit"


def test_no_path_of_a_developers_machine() -> None:
    """Nothing that is checked in names a home folder or a build machine."""
    pattern = re.compile("/(" + "|".join(("ro" + "ot", "ho" + "me/[a-z]+", "wo" + "rk", "Us" + "ers/[a-z]+")) + ")/")
    checked = [path for folder in ("agent", "client", "protocols", "tests", "docs", "systemd") for path in
               (ROOT / folder).rglob("*") if path.suffix in (".py", ".md", ".toml", ".service")]  # fmt: skip
    found = [
        f"{name_of(path)}:{number}"
        for path in [*checked, ROOT / "README.md", ROOT / "Makefile", ROOT / "pyproject.toml"]
        if path.exists()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if pattern.search(line)
    ]
    assert not found, found


def test_packages_are_typed() -> None:
    """Each distribution package carries py.typed."""
    for package in ("agent/jackstay_agent", "client/jackstay", "protocols/jackstay_protocols"):
        assert (ROOT / package / "py.typed").exists()
