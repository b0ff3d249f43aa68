"""jackstay_agent.venues.answers.compiled: paths of plain names say what JMESPath itself says."""

from __future__ import annotations

from typing import Any

import jmespath
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jackstay_agent.venues.answers import Broken, compiled

NAMES = st.sampled_from(["a", "b", "c_1", "E"])
WAYS = st.one_of(st.just("@"), st.lists(NAMES, min_size=1, max_size=3).map(".".join))
PATHS = st.tuples(st.lists(WAYS, min_size=1, max_size=4), st.sampled_from([" || ", "||", "  ||"])).map(
    lambda drawn: drawn[1].join(drawn[0])
)
PLAIN = st.sampled_from([None, True, False, 0, 1, "", "x", "0", 0.0])
VALUES = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=12
)


@settings(max_examples=500, deadline=None)
@given(PATHS, VALUES)
def test_plain_paths_and_their_alternatives_find_what_jmespath_finds(path: str, value: Any) -> None:
    """Whatever stands there, missing, empty and false values included; 0 counts as something."""
    found, expected = compiled(path).search(value), jmespath.search(path, value)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize("path", ["a[0] || b", "(a || b).c", "a || `1`", "a || 'b'", "a && b", "a | b", "a.*", "!a"])
def test_everything_else_is_jmespaths(path: str) -> None:
    """Indices, groups, literals, filters and pipes."""
    value = {"a": [{"c": 1}], "b": {"c": 2}}
    assert compiled(path).search(value) == jmespath.search(path, value)


@pytest.mark.parametrize("path", ["a ||", "|| a", "a || || b", "a..b", ".a", "a b", ""])
def test_what_is_no_path_is_refused(path: str) -> None:
    """When the profile is read, not when the venue answers."""
    with pytest.raises(Broken):
        compiled(path)
