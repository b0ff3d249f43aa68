"""One quiet sandbox per test module, reset before each test."""

from __future__ import annotations

from collections.abc import Iterator

import hypothesis  # noqa: F401  (its pytest plugin imports it at the very end otherwise, where CPython 3.11 may trip)
import pytest

from jackstay_agent.sandbox import SandboxProcess


@pytest.fixture(scope="module")
def process() -> Iterator[SandboxProcess]:
    with SandboxProcess(quiet=True) as running:
        yield running


@pytest.fixture
def sandbox(process: SandboxProcess) -> SandboxProcess:
    process.admin.reset()
    return process
