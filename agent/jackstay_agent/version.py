"""The installed version: a look into the package's metadata, once.

As importlib.metadata would find it, without loading that: with its parsers of mail it takes 0.7 MB of every agent and
20 ms of its start.
"""

from __future__ import annotations

import re
import sys
from functools import cache
from pathlib import Path


@cache
def version() -> str:
    for place in sys.path:
        for facts in sorted(Path(place or ".").glob("jackstay-*.dist-info/METADATA")):
            try:
                found = re.search(r"^Version: (\S+)$", facts.read_text(encoding="utf-8"), re.MULTILINE)
            except OSError:
                continue  # removed meanwhile
            if found:
                return found[1]
    return "0+unknown"
