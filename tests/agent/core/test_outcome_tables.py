"""The shipped tables are sound as data."""

import re

import pytest

from jackstay_agent.core.outcome_tables import TABLES
from jackstay_agent.core.verdict import Cause


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda t: t.name)
def test_tables_are_sound(table):
    """Texts are lower case, umbrella rules end with a general one, patterns compile with one group, names match."""
    assert TABLES[table.name] is table
    for rules in [*table.codes.values(), *table.statuses.values(), *[(rule,) for _, rule in table.families]]:
        assert all(rule.text == rule.text.lower() for rule in rules)
        assert all(isinstance(rule.cause, Cause) for rule in rules)
    for code, rules in table.codes.items():
        assert code not in table.ok_codes
        assert rules[-1].text == "", f"code {code} has no general meaning"
    if table.retry_text:
        assert re.compile(table.retry_text).groups == 1
    assert all(name == name.lower() for name, _ in table.retry_headers)
    assert not table.code_required or table.ok_start
