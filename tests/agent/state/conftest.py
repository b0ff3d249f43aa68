"""One quiet sandbox per test module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from jackstay_agent.sandbox import SandboxProcess


@pytest.fixture(scope="module")
def process() -> Iterator[SandboxProcess]:
    with SandboxProcess(seed=1, quiet=True) as running:
        yield running


@pytest.fixture
def sandbox(process: SandboxProcess) -> SandboxProcess:
    process.admin.reset()
    return process
