"""What a scenario claims is held by tests: copies of each that claim instead of doing fail some assertion.

A mutant is a copy of a scenario's module, changed in its source. It is judged by the assertions of test_scenarios.py,
which see nothing but the public face: the answer, what the actions were asked, events, the journal.
"""

from __future__ import annotations

import ast
import asyncio
import importlib
import inspect
import itertools
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from agent.recovery import test_scenarios
from jackstay_agent.recovery_scenarios import SCENARIOS

TRUE = ast.parse("return True").body


def source_of(name: str) -> ast.Module:
    return ast.parse(inspect.getsource(importlib.import_module(SCENARIOS[name].__module__)))


def bodies(tree: ast.Module) -> list[tuple[str, ast.AsyncFunctionDef]]:
    """Every coroutine function of a scenario: its steps, what they stand on, each under its own name."""
    found: dict[str, ast.AsyncFunctionDef] = {}
    for each in ast.walk(tree):
        if isinstance(each, ast.AsyncFunctionDef):
            assert each.name not in found, f"two bodies are called {each.name}; which one is it?"
            found[each.name] = each
    return list(found.items())


def built(tree: ast.Module, name: str) -> Any:
    """The scenario's class of a changed copy; the true one is untouched."""
    module = ModuleType(f"mutant_{name}")
    module.__package__ = "jackstay_agent.recovery_scenarios"
    exec(compile(ast.fix_missing_locations(tree), f"mutant of {name}", "exec"), vars(module))
    return getattr(module, SCENARIOS[name].__name__)


def claims_all(name: str) -> Any:
    """A copy whose whole body is `return True`, asked by whoever."""
    tree = source_of(name)
    (kind,) = (each for each in tree.body if isinstance(each, ast.ClassDef) and each.name == SCENARIOS[name].__name__)
    claims = ast.parse(
        "async def execute_recovery(self, context): return True\n"
        "async def carry(self, run):\n    run.state = type(run.state)('recovered')\n    return True\n"
    )
    kind.body += claims.body
    return built(tree, name)


def claims_in(name: str, body: str) -> Any:
    """A copy of which one coroutine function does nothing but `return True`."""
    tree = source_of(name)
    dict(bodies(tree))[body].body = list(TRUE)
    return built(tree, name)


def given(test: Any) -> Iterator[dict[str, Any]]:
    """The arguments of each case of a parametrised test."""
    marks = [each for each in getattr(test, "pytestmark", []) if each.name == "parametrize"]
    cases: list[list[dict[str, Any]]] = []
    for mark in marks:
        names, values = mark.args
        names = [each.strip() for each in names.split(",")] if isinstance(names, str) else list(names)
        cases.append([dict(zip(names, row if len(names) > 1 else (row,), strict=True)) for row in values])
    for chosen in itertools.product(*cases):
        yield {key: value for each in chosen for key, value in each.items()}


def killers(name: str) -> Iterator[str]:
    """The tests that fail for this scenario, as it stands in SCENARIOS now."""
    for title, test in inspect.getmembers(test_scenarios, inspect.isfunction):
        if not title.startswith("test_"):
            continue
        for arguments in given(test):
            if arguments.get("name", name) != name:
                continue
            try:
                found = test(**arguments)
                if inspect.isawaitable(found):
                    asyncio.run(asyncio.wait_for(found, 20))  # type: ignore[arg-type]
            except (Exception, pytest.fail.Exception):
                yield title


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_the_truth_passes_and_a_copy_that_only_returns_true_fails(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its whole body; and more than one test notices."""
    assert list(killers(name)) == []
    monkeypatch.setitem(SCENARIOS, name, claims_all(name))
    failed = set(killers(name))
    assert "test_unbound_it_validates_says_so_and_is_false" in failed
    assert len(failed) >= 5, failed


@pytest.mark.parametrize(
    ("name", "body"), [(name, body) for name in sorted(SCENARIOS) for body, _ in bodies(source_of(name))]
)
def test_a_copy_that_claims_in_one_place_fails(name: str, body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step, and each question a step stands on, replaced by `return True`."""
    monkeypatch.setitem(SCENARIOS, name, claims_in(name, body))
    assert next(killers(name), None) is not None, "nothing tells it from the truth"
