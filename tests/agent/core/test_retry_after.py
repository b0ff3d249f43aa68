"""Retry-After and its relatives, sane and absurd."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackstay_agent.core.retry_after import RETRY_AFTER_CAP_S, http_date_s, read_instant

NOW = 1_445_412_400.0  # 80 s before Wed, 21 Oct 2015 07:28:00 GMT


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (b"35", "s", 35.0),
        (b" 1.5 ", "s", 1.5),
        ("0", "s", 0.0),
        (b"1500", "ms", 1.5),
        (b"1445412410", "unix_s", 10.0),
        (b"1445412410500", "unix_ms", 10.5),
        (b"Wed, 21 Oct 2015 07:28:00 GMT", "s", 80.0),
        (b"Wednesday, 21-Oct-15 07:28:00 GMT", "s", 80.0),
        (b"Wed Oct 21 07:28:00 2015", "s", 80.0),
        (b"Wed, 21 Oct 2015 07:27:60 GMT", "s", 80.0),
        # absurd
        (b"-5", "s", None),
        (b"", "s", None),
        (b"soon", "s", None),
        (b"nan", "s", None),
        (b"inf", "s", None),
        (b"1e9", "s", None),
        (b"\xff\xfe", "s", None),
        (b"99999999999999999999999", "s", None),
        (b"999999999999", "s", RETRY_AFTER_CAP_S),
        (b"Wed, 21 Oct 3000 07:28:00 GMT", "s", RETRY_AFTER_CAP_S),
        (b"Wed, 21 Oct 1990 07:28:00 GMT", "s", None),
        (b"Wed, 31 Feb 2015 07:28:00 GMT", "s", None),
        (b"Wed, 21 Okt 2015 07:28:00 GMT", "s", None),
        (b"Wed, 21 Oct 2015 25:28:00 GMT", "s", None),
        (b"1445412300", "unix_s", None),
        (b"tomorrow", "unix_s", None),
    ],
)
def test_words_and_non_words(value, unit, expected):
    """Numbers, dates in three forms, venue timestamps; what is negative, past or garbage is no word; far is cut."""
    assert read_instant(value, unit, NOW) == expected


def test_absolute_instants_need_a_wall_clock():
    """Without wall time a date or timestamp says nothing."""
    assert read_instant(b"Wed, 21 Oct 2015 07:28:00 GMT", "s", None) is None
    assert read_instant(b"1445412410", "unix_s", None) is None
    assert read_instant(b"7", "s", None) == 7.0


def test_the_last_second_of_the_calendar_does_not_overflow():
    """Year 9999 ends without an exception."""
    assert http_date_s("Fri, 31 Dec 9999 23:59:60 GMT") is None


@given(st.one_of(st.binary(max_size=60), st.text(max_size=60)), st.sampled_from(["s", "ms", "unix_s", "unix_ms"]))
def test_any_bytes_give_a_bounded_number_or_none(value, unit):
    """Nothing a server can say raises, is negative or lasts longer than the cap."""
    told = read_instant(value, unit, NOW)
    assert told is None or 0.0 <= told <= RETRY_AFTER_CAP_S
