"""What was found, told once, again when it has doubled, and when it is over."""

from jackstay_agent.core.findings import FOUND, GREW, Finding, Findings
from jackstay_protocols.errors import ErrorSeverity


def finding(frequency=5, *, at=100.0, name="f", component="c", part_of=""):
    return Finding(
        name,
        "burst",
        component,
        "E",
        at,
        at,
        frequency,
        ErrorSeverity.HIGH,
        0.9,
        "look",
        {"n": frequency},
        part_of=part_of,
    )


def book(**more):
    return Findings(**{"quiet_s": 60.0, "retention_s": 600.0, "findings_max": 3, **more})


def test_it_is_told_when_found_and_when_doubled():
    """What is known in between is counted as suppressed."""
    kept = book()
    assert [kept.note(finding(n)) for n in (5, 6, 9, 10, 19, 20)] == [FOUND, "", "", GREW, "", GREW]
    assert kept.suppressed == 3
    assert (kept.get("f").frequency, kept.get("f").evidence) == (20, {"n": 20})
    assert kept.is_open("f")
    assert not kept.is_open("other")
    assert kept.get("other") is None


def test_a_change_is_told_and_keeps_the_root_it_follows_from():
    """Its component and type may turn out to be others."""
    kept = book()
    kept.note(finding(part_of="root"))
    assert kept.note(finding(component="d"), changed=True) == GREW
    assert (kept.get("f").component, kept.get("f").part_of) == ("d", "root")


def test_who_knows_of_it_is_not_told_again():
    """An operator's word, for as long as it lasts."""
    kept = book()
    assert not kept.acknowledge("f")
    kept.note(finding())
    assert kept.acknowledge("f")
    assert kept.note(finding(50)) == ""


def test_it_is_over_when_it_was_quiet_for_long_and_then_forgotten():
    """Each end is told once; the same again is a new one."""
    kept = book()
    kept.note(finding())
    kept.touch("f", 130.0)
    kept.touch("nobody", 130.0)
    assert kept.sweep(190.0) == []
    assert [each.id for each in kept.sweep(191.0)] == ["f"]
    assert kept.sweep(192.0) == []
    kept.touch("f", 500.0)
    assert kept.get("f").last_at == 130.0
    assert kept.note(finding(at=300.0)) == FOUND
    kept.sweep(400.0)
    kept.sweep(1000.0)
    assert kept.all() == []


def test_the_oldest_make_room():
    """Memory is bounded."""
    kept = book()
    for number in range(5):
        kept.note(finding(name=str(number)))
    assert [each.id for each in kept.all()] == ["2", "3", "4"]
