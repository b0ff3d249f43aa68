"""Loops told apart from bad luck."""

from jackstay_agent.core.loop_watch import KEYS_MAX, LoopWatch


def test_equal_refusals_in_a_row_are_a_loop_from_the_nth_on():
    """Another owner, order or reason is another run; an accepted order of the owner ends his."""
    watch = LoopWatch(3)
    assert [watch.refused("a", "order", "no money") for _ in range(4)] == [0, 0, 3, 4]
    assert watch.refused("a", "order", "too small") == 0
    assert watch.refused("b", "order", "no money") == 0
    watch.accepted("a")
    assert watch.refused("a", "order", "no money") == 0
    assert watch.refused("b", "order", "no money") == 0
    assert watch.refused("b", "order", "no money") == 3
    LoopWatch(3).accepted("nobody")


def test_runs_are_bounded():
    """The longest untouched is forgotten."""
    watch = LoopWatch(2)
    watch.refused("a", "first", "r")
    for number in range(KEYS_MAX):
        watch.refused("a", number, "r")
    assert watch.refused("a", "first", "r") == 0
    assert watch.refused("a", KEYS_MAX - 1, "r") == 2
