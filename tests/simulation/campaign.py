"""Many seeds: run them on all cores, add up what was seen, and make a failing one small and readable.

`python -m simulation --seeds 2000` takes a fresh base each time and prints it; `--seed S` replays one with its trace.
"""

from __future__ import annotations

import argparse
import gc
import os
import shutil
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from random import SystemRandom

from .mutants import MUTANTS
from .run import Result, base_folder, run
from .weather import RATES

#: Situations that a campaign of this many seeds has to have seen, or the simulator has become too quiet to prove much.
EXPECTED_AT = 500
EXPECTED = (
    *(f"fault {kind}" for kind in RATES),
    *("told response ok", "told response unknown", "told response rejected", "told response failed"),
    *("told gone unknown", "told late unknown", "told unsent failed", "told refusal failed"),
    *("refused equal_pending", "refused expired", "refused disk", "refused draining", "refused gated"),
    *("cancel response ok", "news ok", "news failed"),
    *("event outbox.degraded", "event outbox.healed", "event breaker.open", "event breaker.closed"),
    *("event limit.gate_closed", "event loop.lagged", "event answer.strange", "event pool.dial_failed"),
)


def replay_command(seed: str) -> str:
    return f"make sim SEED={seed}"


def _some(seeds: list[str]) -> tuple[list[Result], Counter[str], float, int]:
    """A worker's share: failures, what was seen, virtual seconds, steps."""
    warnings.simplefilter("ignore", RuntimeWarning)  # coroutines of processes that died before their first step
    bad, seen, virtual_s, steps = [], Counter[str](), 0.0, 0
    with strays() as found:
        for seed in seeds:
            result = run(seed)
            seen.update(result.seen)
            virtual_s += result.virtual_s
            steps += result.steps
            if not result.ok:
                result.trace = []
                bad.append(result)
    if found:
        bad.append(
            Result(seeds[0], [f"in {seeds[0]} or one of the {len(seeds) - 1} after it: {found[0]}"], Counter(), 0.0, 0)
        )
    return bad, seen, virtual_s, steps


@contextmanager
def strays() -> Iterator[list[str]]:
    """Errors that nobody was there to get, and that Python only prints ("Exception ignored in ..."): failures too."""
    found: list[str] = []
    before = sys.unraisablehook
    sys.unraisablehook = lambda stray: found.append(f"ignored in {stray.object!r}: {stray.exc_value!r}")
    try:
        yield found
        gc.collect()  # what dead processes left behind is closed here at the latest
    finally:
        sys.unraisablehook = before


def campaign(seeds: list[str], jobs: int) -> tuple[list[Result], Counter[str], float]:
    """All of them, on ``jobs`` processes: failures, what was seen, virtual seconds."""
    shares = [seeds[at : at + 25] for at in range(0, len(seeds), 25)]
    bad, seen, virtual_s = [], Counter[str](), 0.0
    if jobs == 1:
        parts: Iterable[tuple[list[Result], Counter[str], float, int]] = map(_some, shares)
        pool = None
    else:
        pool = ProcessPoolExecutor(jobs, mp_context=get_context("fork"))
        parts = pool.map(_some, shares)
    for some_bad, some_seen, some_s, _steps in parts:
        for each in some_bad:
            print(f"seed {each.seed} FAILED: {each.violations[0]}\n  replay: {replay_command(each.seed)}", flush=True)
        bad += some_bad
        seen.update(some_seen)
        virtual_s += some_s
    if pool is not None:
        pool.shutdown()
    return bad, seen, virtual_s


def shrink(seed: str) -> frozenset[str]:
    """The kinds of trouble without which the seed still fails; what is left is needed."""
    without: frozenset[str] = frozenset()
    for kind in RATES:
        tried = without | {kind}
        if not run(seed, without=tried).ok:
            without = tried
    return without


def show(result: Result, last: int = 20_000) -> None:
    """The trace, as a person reads it."""
    print(f"seed {result.seed}: {result.weather}")
    for at, who, what, detail in result.trace[-last:]:
        print(f"{at:10.4f}  {who:9} {what:16} {detail}"[:240])
    for violation in result.violations:
        print(f"VIOLATION {violation}")
    print("violated" if result.violations else "held", f"after {result.virtual_s:.1f} virtual s")


def mutants(names: list[str]) -> int:
    """Each planted bug, and the seed that found it."""
    missed = 0
    print(f"{'planted bug':34}{'found after':>12}  by")
    for name in names or MUTANTS:
        mutant, within = MUTANTS[name]
        found = next(
            ((n, r) for n in range(within) if not (r := run(f"mutant-{n}", mutant=mutant)).ok),
            None,
        )
        if found is None:
            missed += 1
            print(f"{name:34}{'NOT':>12}  within {within} seeds", flush=True)
        else:
            print(f"{name:34}{found[0] + 1:>6} seeds  {found[1].violations[0][:90]}", flush=True)
    return missed


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many")
    parser.add_argument("--base", default="", help="first part of their names; fresh if not given")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", default="", help="replay this one, with its trace")
    parser.add_argument("--shrink", action="store_true", help="with --seed: leave out the trouble it does not need")
    parser.add_argument("--mutants", nargs="*", help="check that planted bugs are found (all, or those named)")
    given = parser.parse_args(arguments)
    warnings.simplefilter("ignore", RuntimeWarning)
    try:
        if given.mutants is not None:
            return 1 if mutants(given.mutants) else 0
        if given.seed:
            without = shrink(given.seed) if given.shrink else frozenset[str]()
            result = run(given.seed, without=without)
            show(result)
            return 0 if result.ok else 1
        return _many(given.base or f"{SystemRandom().getrandbits(32):08x}", given.seeds, given.jobs)
    finally:
        shutil.rmtree(base_folder(), ignore_errors=True)


def _many(base: str, count: int, jobs: int) -> int:
    base_folder()  # before the fork: one folder for all
    print(f"simulation: {count} seeds from base {base}, {jobs} processes", flush=True)
    began = time.perf_counter()
    bad, seen, virtual_s = campaign([f"{base}-{n}" for n in range(count)], jobs)
    took_s = time.perf_counter() - began
    unseen = [what for what in EXPECTED if not seen[what]] if count >= EXPECTED_AT else []
    for what in sorted(seen):
        print(f"  {seen[what]:8} {what}")
    for what in unseen:
        print(f"NEVER SEEN: {what}")
    print(
        f"simulation: {count - len(bad)} of {count} seeds held in {took_s:.1f} s"
        f" ({1000 * took_s * jobs / count:.1f} ms a seed and core, {virtual_s / 3600 / took_s:.2f} simulated hours/s)"
    )
    return 1 if bad or unseen else 0


if __name__ == "__main__":
    sys.exit(main())
