"""Budget headers."""

import pytest

from jackstay_agent.core.rate_headers import HeaderReader, HeaderRule
from jackstay_protocols.errors import ValidationError

READER = HeaderReader(
    [
        HeaderRule(b"x-mbx-used-weight-1m", "weight_1m"),
        HeaderRule(b"x-bapi-limit-status", "uid", "remaining"),
        HeaderRule(b"x-ratelimit-remaining", "unknown", "remaining"),
    ]
)


def read(*headers):
    return READER.read(headers, {"uid": 10.0})


def test_used_and_remaining_become_used():
    """Names compare without case; remaining is turned by the limit, if it is known."""
    assert read((b"X-MBX-USED-WEIGHT-1M", b"37"), (b"Date", b"x")) == [("weight_1m", 37.0)]
    assert read((b"X-Bapi-Limit-Status", b"8")) == [("uid", 2.0)]
    assert read((b"X-Bapi-Limit-Status", b"80")) == [("uid", 0.0)]
    assert read((b"x-ratelimit-remaining", b"8")) == []


@pytest.mark.parametrize("value", [b"", b"many", b"-1", b"nan", b"inf", b"1e999", b"\xff"])
def test_nonsense_is_passed_over(value):
    """A header that is no number says nothing; one of the same length but another name neither."""
    assert read((b"x-mbx-used-weight-1m", value), (b"x-mbx-used-weight-1h", b"5")) == []


@pytest.mark.parametrize("rule", [(b"X-Upper", "b"), (b"", "b"), (b"x", "b", "reset")])
def test_bad_rules_are_refused(rule):
    """Lower-case names and known kinds only."""
    with pytest.raises(ValidationError, match="header rule"):
        HeaderRule(*rule)
