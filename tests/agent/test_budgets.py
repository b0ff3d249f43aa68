"""Budgets of a host: the book's rules, and four real processes that share one budget."""

import json
import os
import sqlite3
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

import jackstay_agent
from jackstay_agent.budget_book import LEASE_SHARE, BudgetBook, Order
from jackstay_agent.budgets import SharedBudgets
from jackstay_agent.core.rate_lease import Leased
from jackstay_agent.core.rate_limit import Admit, Ask, BudgetRule, Limiter, Wait
from jackstay_protocols.errors import Lane

RULE = BudgetRule("weight", 100, 10.0, "leased", reserved=0.0)


class Clock:
    def __init__(self, now=1000.0):
        self.now = now

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def book(tmp_path, clock):
    """Opens the book under a name; all are closed at the end."""
    opened = []

    def open_as(agent, boot="this"):
        opened.append(BudgetBook(tmp_path / "budgets.db", agent, clock=clock, boot=boot))
        return opened[-1]

    yield open_as
    for each in opened:
        each.close()


def ask(book, want, **more):
    return book.exchange([Order("w", more.pop("rule", RULE), want, **more)])[0]


# -- the book -------------------------------------------------------------------------------------------------------


def test_leases_never_add_up_to_more_than_the_usable_limit(book):
    """Two agents, one budget: what one got is not there for the other; the reserved share is for nobody."""
    a, b = book("a"), book("b")
    rule = BudgetRule("weight", 100, 10.0, "leased", reserved=0.2)
    assert ask(a, 70, rule=rule).weight == 70.0
    assert ask(b, 70, rule=rule).weight == 10.0
    assert ask(a, 1, rule=rule).weight == 0.0


def test_a_lease_counts_until_a_window_after_its_last_possible_use(book, clock):
    """Granted at 0 to be spent within 1 s: free again at 11 s, not before; the refusal names an instant."""
    a, b = book("a"), book("b")
    lease = ask(a, 100)
    assert lease.ends_at == clock.now + 10.0 * LEASE_SHARE
    clock.now = lease.ends_at + 9.99
    no = ask(b, 1)
    assert no.weight == 0.0
    assert clock.now < no.ask_at <= clock.now + 0.011
    clock.now = lease.ends_at + 10.0
    assert ask(b, 1).weight == 1.0


def test_what_was_not_spent_is_free_at_once_and_what_was_counts_from_now(book, clock):
    """A finished lease is booked with what it really spent."""
    a, b = book("a"), book("b")
    lease = ask(a, 100)
    ask(a, 0, finished=[(lease.number, 40.0)])
    assert sum(ask(b, 60).weight for _ in range(20)) == 60.0
    clock.now += 10.0
    assert ask(b, 40).weight > 0.0


def test_only_ones_own_leases_can_be_finished(book):
    """Another agent's number changes nothing."""
    a, b = book("a"), book("b")
    lease = ask(a, 100)
    ask(b, 0, finished=[(lease.number, 0.0)])
    assert ask(b, 10).weight == 0.0


def test_a_dead_agents_lease_returns_by_itself(book, clock):
    """Nobody says anything for it; after its window it is free."""
    ask(book("dead"), 100)
    clock.now += 11.0
    assert ask(book("b"), 50).weight == 50.0


def test_spending_without_a_lease_is_booked(book):
    """The de-risking lane's overdraft is everybody's."""
    a, b = book("a"), book("b")
    ask(a, 0, overdrawn=95.0)
    assert ask(b, 50).weight == 5.0


def test_the_venues_count_makes_room_for_strangers(book):
    """A header says 90 although our agents took 10: ten are left."""
    a = book("a")
    ask(a, 10)
    assert ask(a, 50, venue_used=90.0).weight == 10.0
    assert ask(a, 0, venue_used=5.0).weight == 0.0


def test_who_holds_less_than_his_part_is_not_starved(book):
    """One agent took everything first; when its leases end, the other's want comes before its greed."""
    a, b = book("a"), book("b")
    lease = ask(a, 100)
    assert ask(b, 30).weight == 0.0
    ask(a, 0, finished=[(lease.number, 70.0)])
    assert ask(a, 30).weight == 0.0, "thirty are free and thirty are wanted by one who has nothing"
    assert ask(b, 30).weight == 5.0


def test_another_boot_starts_empty(book):
    """Times of another boot mean nothing."""
    ask(book("a"), 100)
    assert ask(book("a", boot="next"), 100).weight == 100.0


def test_the_file_is_private_and_a_damaged_one_is_set_aside(tmp_path, clock):
    """Mode 0600; what is no database is renamed, and the book begins anew."""
    path = tmp_path / "budgets.db"
    path.write_bytes(b"no database at all, " * 100)
    book = BudgetBook(path, "a", clock=clock, boot="x")
    try:
        assert book.set_aside is not None
        assert book.set_aside.read_bytes().startswith(b"no database")
        assert ask(book, 5).weight == 5.0
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    finally:
        book.close()


def test_a_failed_exchange_leaves_nothing_half_done(book):
    """An error inside rolls back and the book works on."""
    a = book("a")
    with pytest.raises(AttributeError):
        a.exchange([Order("w", RULE, 10), None])
    assert ask(a, 100).weight == 100.0


# -- the go-between ---------------------------------------------------------------------------------------------------


def wait_for(shared, condition, timeout_s=10.0):
    """Tick until something is true; the worker thread's answers come in milliseconds."""
    ends = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < ends, "the book did not answer"
        shared.tick()
        time.sleep(0.001)


@pytest.fixture
def shared(tmp_path):
    """Makes started go-betweens; all are stopped at the end."""
    made = []

    def make(**more):
        more.setdefault("agent", f"agent-{len(made)}")
        path = more.pop("path", tmp_path / "budgets.db")
        s = SharedBudgets(path, **more)
        made.append(s)
        s.start()
        return s

    yield make
    for s in made:
        s.stop()


def test_a_waiting_request_gets_its_lease(shared):
    """The limiter says wait, the tick orders, the worker answers and wakes, the request goes."""
    woken = []
    s = shared(wake=lambda: woken.append(1))
    limiter = Limiter([RULE])
    budget = limiter.leased("weight", "ip")
    s.share("venue/ip/weight", budget)
    question = Ask(Lane.QUERY, (("weight", "ip", 5),))
    wait = limiter.admit(s._clock(), question)
    assert isinstance(wait, Wait)
    wait_for(s, lambda: budget.left(s._clock()) >= 5.0)
    assert isinstance(limiter.admit(s._clock(), question, ticket=wait), Admit)
    assert woken
    assert s.degraded is None


def test_while_active_a_little_is_kept_ready(shared):
    """After a first spend the next request need not wait."""
    s, budget = shared(), Leased(RULE)
    s.share("w", budget)
    now = s._clock()
    budget.fits_at(now, 1, 0.0)
    wait_for(s, lambda: budget.left(s._clock()) >= 1.0)
    budget.take(s._clock(), 1)
    wait_for(s, lambda: budget.left(s._clock()) >= 1.0)
    assert s.tick() <= s._clock() + 1.0


def test_stopping_returns_what_is_not_spent(shared, tmp_path):
    """The other agent can have it at once."""
    s, budget = shared(), Leased(RULE)
    s.share("w", budget)
    budget.fits_at(s._clock(), 90, 0.0)
    wait_for(s, lambda: budget.left(s._clock()) >= 90.0)
    budget.take(s._clock(), 20)
    s.stop()
    s.stop()
    book = BudgetBook(tmp_path / "budgets.db", "other")
    try:
        assert ask(book, 80).weight == 80.0
    finally:
        book.close()


def test_a_headers_count_reaches_the_book(shared, tmp_path):
    """Strangers on the same address are everybody's loss; nonsense and unknown names are passed over."""
    s, budget = shared(), Leased(RULE)
    s.share("w", budget)
    s.correct("nobody", 5.0)
    s.correct("w", -1.0)
    s.correct("w", 97.0)
    budget.fits_at(s._clock(), 3, 0.0)
    wait_for(s, lambda: budget.left(s._clock()) > 0.0)
    assert budget.left(s._clock()) == 3.0
    book = BudgetBook(tmp_path / "budgets.db", "other")
    try:
        assert ask(book, 5).weight == 0.0
    finally:
        book.close()


def test_without_a_book_an_agent_takes_its_fair_part_and_says_so(shared, tmp_path):
    """Neither nothing nor everything: a quarter of the budget's pace, marked as degraded; back when the book is."""
    broken = [True]

    def open_book(*args, **kwargs):
        if broken[0]:
            raise sqlite3.OperationalError("disk I/O error")
        return BudgetBook(*args, **kwargs)

    s, budget = shared(open_book=open_book), Leased(RULE)
    s.share("w", budget)
    budget.fits_at(s._clock(), 50, 0.0)
    wait_for(s, lambda: budget.left(s._clock()) > 0.0)
    assert "disk I/O error" in s.degraded
    assert budget.left(s._clock()) == 2.0
    budget.take(s._clock(), 2)
    broken[0] = False
    budget.fits_at(s._clock(), 50, 0.0)
    wait_for(s, lambda: s.degraded is None)
    s.stop()
    book = BudgetBook(tmp_path / "budgets.db", "other")
    try:
        assert ask(book, 100).weight == 98.0, "what was spent meanwhile is in the book"
    finally:
        book.close()


def test_a_book_that_breaks_in_use_is_opened_anew(shared, tmp_path):
    """A damaged file costs a moment, not the budget."""
    made = []

    class Breaking(BudgetBook):
        def exchange(self, orders):
            if len(made) == 1:
                raise sqlite3.DatabaseError("database disk image is malformed")
            return super().exchange(orders)

    def open_book(*args, **kwargs):
        made.append(Breaking(*args, **kwargs))
        return made[-1]

    s, budget = shared(open_book=open_book), Leased(RULE)
    s.share("w", budget)
    budget.fits_at(s._clock(), 1, 0.0)
    wait_for(s, lambda: s.degraded is not None)
    assert "malformed" in s.degraded

    def again():
        budget.fits_at(s._clock(), 50, 0.0)
        return s.degraded is None

    wait_for(s, again)
    assert len(made) == 2


# -- real processes ---------------------------------------------------------------------------------------------------

_AGENT = """
import json, sys, time
from pathlib import Path
from jackstay_agent.budgets import SharedBudgets
from jackstay_agent.core.rate_limit import Admit, Ask, BudgetRule, Limiter
from jackstay_protocols.clock import boot_s
from jackstay_protocols.errors import Lane

path, name, limit, per_s, until = sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4]), float(sys.argv[5])
limiter = Limiter([BudgetRule("w", limit, per_s, "leased", reserved=0.0)])
shared = SharedBudgets(Path(path), agent=name)
shared.share("w", limiter.leased("w", "ip"))
shared.start()
ask, spent, ticket = Ask(Lane.QUERY, (("w", "ip", 1),)), [], None
while (now := boot_s()) < until:
    answer = limiter.admit(now, ask, ticket=ticket)
    shared.tick()
    if isinstance(answer, Admit):
        spent.append(now)
        ticket = None
    else:
        ticket = answer
        time.sleep(0.002)
shared.stop()
print(json.dumps({"spent": spent, "degraded": shared.degraded}))
"""


def run_agents(tmp_path, count, limit, per_s, seconds):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    until = time.clock_gettime(time.CLOCK_BOOTTIME) + seconds
    arguments = [str(limit), str(per_s), str(until)]
    agents = [
        subprocess.Popen(
            [sys.executable, "-c", _AGENT, str(tmp_path / "budgets.db"), f"agent-{n}", *arguments],
            stdout=subprocess.PIPE,
            env=env,
        )
        for n in range(count)
    ]
    return agents, [json.loads(agent.communicate(timeout=60)[0]) for agent in agents]


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="the book's clock is Linux's boot time")
def test_four_agents_never_exceed_one_budget_and_reach_95_percent_of_it(tmp_path):
    """Four real processes as greedy as they can: no window holds more than the limit, nearly all of it is used, and
    nobody starves.
    """
    limit, per_s = 300, 1.5
    _, results = run_agents(tmp_path, 4, limit, per_s, 7.5)
    assert all(r["degraded"] is None for r in results)
    spent = sorted(at for r in results for at in r["spent"])
    first = 0
    for n, at in enumerate(spent):
        while spent[first] <= at - per_s:
            first += 1
        assert n - first + 1 <= limit
    began = spent[0]
    windows = int((spent[-1] - began) // per_s)
    assert windows >= 3
    used = len([at for at in spent if at < began + windows * per_s])
    print(f"{used / (windows * limit):.3f} of the budget over {windows} windows")
    assert used >= 0.95 * windows * limit
    assert min(len(r["spent"]) for r in results) >= 0.5 * len(spent) / 4


def test_the_package_under_test_is_this_one():
    """The processes above import what this test imports."""
    assert Path(jackstay_agent.__file__).parts[-3:-1] == ("agent", "jackstay_agent")
