"""The shape of outcome tables."""

from jackstay_agent.core.outcome_table import OutcomeTable, Rule
from jackstay_agent.core.verdict import Cause


def test_a_table_needs_only_a_name():
    """Everything else has a default: such a table reads plain HTTP."""
    table = OutcomeTable(name="mine", codes={"7": (Rule(Cause.OVERLOAD),)})
    assert (table.code_key, table.retry_headers[0][0]) == ("", b"retry-after")
