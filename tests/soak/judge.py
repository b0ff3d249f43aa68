"""What must hold, whatever the weather: the venue's ledger against what the bot was told (DESIGN §3 rules 1, 2, 8)."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from intended import ORDER
from jackstay_agent.sandbox import SandboxProcess

DECIDED_AFTER_S = 20.0  # a row is read when nothing can happen to it any more; a stalled answer takes longest


class Ledger:
    """The venue's rows of orders, read as they come: an hour has more of them than a venue keeps."""

    def __init__(self, venue: SandboxProcess) -> None:
        self._venue = venue
        self._since = 0
        self.received: Counter[str] = Counter()
        self.executed: Counter[str] = Counter()
        self.rows = 0
        self.faulted: Counter[str] = Counter()

    def read(self, *, to_the_end: bool = False) -> None:
        rows = self._venue.admin.ledger(since=self._since)
        newest = rows[-1]["at"] if rows else 0.0
        for row in rows:
            if not to_the_end and row["at"] > newest - DECIDED_AFTER_S:
                break
            self._since = row["seq"]
            self.rows += 1
            if row["fault"]:
                self.faulted[str(row["fault"])] += 1
            if (row["method"], row["path"]) == ("POST", ORDER):
                self.received[row["client_order_id"]] += 1
                self.executed[row["client_order_id"]] += bool(row["executed"])


def lines(folder: Path, pattern: str) -> list[list[str]]:
    found = []
    for path in sorted(folder.glob(pattern)):
        text = path.read_text(encoding="utf-8")
        found += [line.split() for line in text[: text.rfind("\n") + 1].splitlines()]
    return found


def violations(ledger: Ledger, said: list[list[str]], late: dict[str, str]) -> list[str]:
    """Every breach in words; empty means that all held. ``late``: intent -> outcome, collected after the run."""
    found: list[str] = []
    intended = {words[1] for words in said if words[0] == "intends"}
    executed = {name for name, count in ledger.executed.items() if count}
    found += [f"sent twice: {name} {count} times" for name, count in ledger.received.items() if count > 1]
    found += [f"nobody intended {name}" for name in ledger.received if name not in intended]
    news = {words[1]: words[2] for words in said if words[0] == "late"} | late
    for words in said:
        match words:
            case ["told", name, outcome] if outcome != "unknown" and (outcome == "ok") != (name in executed):
                found.append(f"told {outcome}, and it {'was' if name in executed else 'was not'} executed: {name}")
            case ["accepted" | "unknown", name, intent]:
                outcome = news.get(intent, "")
                if not outcome:
                    found.append(f"{words[0]} and never told of: {name} (intent {intent})")
                elif (outcome == "ok") != (name in executed):
                    found.append(f"late {outcome} of {name}, executed {name in executed}")
            case ["hung", *rest]:
                found.append(f"hung: {' '.join(rest)}")
    return found


def told_twice(said: list[list[str]]) -> int:
    """Outcomes told more often than once a life, over all lives; each life's lines begin with ``life``."""
    twice, heard = 0, set[str]()
    for words in said:
        if words[0] == "life":
            heard.clear()
        elif words[0] == "late":
            twice += words[1] in heard
            heard.add(words[1])
    return twice
