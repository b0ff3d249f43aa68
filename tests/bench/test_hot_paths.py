"""The hot paths execute no more than was recorded: `hot_paths.py` counts, so a busy machine changes nothing."""

from __future__ import annotations

import json
import sys

import pytest

from bench.hot_paths import RECORDED, instructions, measured

MORE_MAX, LESS_MAX = 1.05, 0.85
FACTS = json.loads(RECORDED.read_text())


@pytest.mark.skipif(
    f"{sys.version_info.major}.{sys.version_info.minor}" != FACTS["python"],
    reason=f"recorded with Python {FACTS['python']}: another one has other instructions",
)
def test_no_hot_path_grew_unseen() -> None:
    """Within five per cent of what is recorded; what became much less is recorded, so that it stays so."""
    found = measured()
    assert found.keys() == FACTS["instructions"].keys()
    ratios = {name: found[name] / known for name, known in FACTS["instructions"].items()}
    off = {name: f"{ratio:.3f} x recorded" for name, ratio in ratios.items() if not LESS_MAX <= ratio <= MORE_MAX}
    assert not off, f"{off}: mend it, or record it with `python tests/bench/hot_paths.py --record` and say why"


def test_the_count_counts() -> None:
    """Nothing costs nothing, more costs more, and what is not ours is not counted."""
    from jackstay_protocols.endpoints import check_agent_name

    once = instructions(lambda: check_agent_name("bot"))
    assert once > 0
    assert instructions(lambda: [check_agent_name("bot"), check_agent_name("bot")]) == 2 * once
    assert instructions(lambda: json.dumps({"a": [1, 2, 3]})) == 0
