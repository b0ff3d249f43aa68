"""More than usual, or not: bursts and levels over rows of counts whose truth is known."""

from jackstay_agent.core.trend_buckets import COARSE_S, FINE_S, Series
from jackstay_agent.core.trend_bursts import burst, compared, elevated

HOUR = 3600
ALPHA = 1e-6


def series(per_second, until):
    """Counts that follow a function of the second."""
    made = Series()
    for second in range(until):
        count = per_second(second)
        if count:
            made.hit(second, count)
    made.settle()
    return made


def quiet(second):
    return int(second % 20 == 0)


def noisy(begin, end, count):
    return lambda second: count if begin <= second < end else quiet(second)


def test_ten_seconds_that_stand_out_are_a_burst_with_its_first_second():
    """Twenty times the usual; the second it began in is known."""
    until = HOUR
    found = burst(series(noisy(until - 6, until, 5), until), None, until // FINE_S, 360, ALPHA)
    assert found is not None
    assert found.errors >= 30
    assert found.began_at == until - 6
    assert found.p < ALPHA


def test_a_single_loud_second_begins_where_it_is():
    """Nothing followed it, so the bin's first error is its beginning; a bin before has no say."""
    until = HOUR
    found = burst(series(noisy(until - 4, until - 3, 40), until), None, until // FINE_S, 360, ALPHA)
    assert found is not None
    assert found.began_at in (until - 10, until - 4)


def test_the_usual_too_few_and_too_little_history_are_no_burst():
    """Neither is a multiple that chance would make."""
    until = HOUR
    assert burst(series(quiet, until), None, until // FINE_S, 360, ALPHA) is None
    assert burst(series(noisy(until - 6, until, 5), until), None, until // FINE_S, 20, ALPHA) is None
    some = series(noisy(until - 6, until, 1), until)
    assert burst(some, None, until // FINE_S, 360, 1e-30) is None


def test_where_the_traffic_is_known_a_busy_time_is_no_finding():
    """As many more requests as errors; traffic that began only now says nothing of before."""
    until = HOUR
    errors = series(noisy(until - 10, until, 5), until)
    busy = series(lambda second: 500 if second >= until - 10 else 5, until)
    assert burst(errors, busy, until // FINE_S, 360, ALPHA) is None
    fresh = series(lambda second: 5 if second >= until - 10 else 0, until)
    assert burst(errors, fresh, until // FINE_S, 360, ALPHA) is not None
    assert burst(errors, Series(), until // FINE_S, 360, ALPHA) is not None


def test_five_minutes_at_a_higher_level():
    """Most of the minutes have to show it; one that is over is not a level."""
    until = 6 * HOUR
    minutes = until // COARSE_S
    found = elevated(
        series(lambda s: int(s % 5 == 0) if s >= until - 300 else int(s % 60 == 0), until), None, minutes, 400, ALPHA
    )
    assert found is not None
    assert (found.errors, found.began_at) == (60, float(until - 300))
    once = series(lambda s: 1 if until - 300 <= s < until - 240 else int(s % 60 == 0), until)
    assert elevated(once, None, minutes, 400, ALPHA) is None
    assert elevated(series(quiet, until), None, minutes, 400, ALPHA) is None
    assert elevated(series(lambda s: int(s % 600 == 0), until), None, minutes, 400, ALPHA) is None
    assert elevated(series(quiet, until), None, minutes, 30, ALPHA) is None


def test_a_row_that_scatters_more_than_chance_is_discounted():
    """The same excess over a restless base is less sure."""
    calm, restless = compared(60, [10] * 30, 1 / 31, 3.0), compared(60, [0, 20] * 15, 1 / 31, 3.0)
    assert calm[0] == restless[0]
    assert calm[1] < restless[1]
    assert compared(12, [10] * 30, 1 / 31, 3.0)[1] == 1.0
