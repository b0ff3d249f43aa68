"""The installed version: a look into the package's metadata, once."""

from __future__ import annotations

from functools import cache
from importlib import metadata


@cache  # it costs 2 ms
def version() -> str:
    try:
        return metadata.version("jackstay")
    except metadata.PackageNotFoundError:
        return "0+unknown"
