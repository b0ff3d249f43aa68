"""For all tests."""

from collections.abc import Iterator
from pathlib import Path

import hypothesis  # noqa: F401  (its pytest plugin imports it at the very end otherwise, where CPython 3.11 may trip)
import pytest

import disks


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of 128 kB of its own."""
    with disks.small_disk(tmp_path / "disk", "128k") as folder:
        yield folder
