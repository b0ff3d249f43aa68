"""`make fuzz`: each target in turn for a while, mutating what it was given; prints executions and findings.

With ``--atheris`` a target runs under libFuzzer, guided by coverage, where atheris is installed. Without it the bytes
are mutated blindly, which is quicker per execution and finds the shallow things.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from contextlib import suppress
from random import Random

from .targets import TARGETS, Target

SLOW_S = 1.0  # of work: a machine with other things to do is no finding
HUNG_S = 60.0  # of anything
GROWTH_MB = 200.0
WARM = 1_000  # executions after which a target holds what it needs
INTERESTING = [b"", b"\0", b"\xff" * 8, b"9" * 40, b"{" * 300, b"[" * 300, b"\r\n\r\n", b"\x80", b'"', b"-1", b"1e999"]


def mutated(chance: Random, corpus: list[bytes]) -> bytes:
    data = bytearray(chance.choice(corpus))
    for _ in range(chance.choice((1, 1, 2, 4, 8))):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(6):
            case 0 if data:
                data[at % len(data)] ^= 1 << chance.randrange(8)
            case 1 if data:
                data[at % len(data)] = chance.randrange(256)
            case 2:
                data[at:at] = chance.choice(INTERESTING)
            case 3:
                del data[at : at + chance.randrange(1, 9)]
            case 4:
                data[at:at] = chance.randbytes(chance.randrange(1, 9))
            case _:
                other = chance.choice(corpus)
                data[at:] = other[chance.randrange(len(other) + 1) :]
    return bytes(data[:4096])


def fuzz(name: str, seconds: float, executions: int, seed: str) -> tuple[int, list[str]]:
    """How many executions, and what was found."""
    target, corpus = TARGETS[name]
    chance = Random(f"{seed}-{name}")
    found: list[str] = []
    with suppress(Exception):
        target(corpus[0])  # what it loads and builds once
    until, done, least_mb = time.perf_counter() + seconds, 0, most_mb()
    while done < executions and (began := time.perf_counter()) < until and len(found) < 5:
        data = mutated(chance, corpus) if done >= len(corpus) else corpus[done]
        done += 1
        worked = time.process_time()
        try:
            target(data)
        except Exception as error:
            found.append(f"{name}: {type(error).__name__}: {str(error)[:200]} for {data!r}")
        work_s, took_s = time.process_time() - worked, time.perf_counter() - began
        if work_s > SLOW_S or took_s > HUNG_S:
            found.append(f"{name}: {work_s:.1f} s of work, {took_s:.1f} s in all, for {data!r}")
        if done == WARM:
            least_mb = most_mb()
    if most_mb() - least_mb > GROWTH_MB:
        found.append(f"{name}: grew from {least_mb:.0f} to {most_mb():.0f} MB in {done} executions")
    return done, found


def most_mb() -> float:
    """The most memory this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def guided(name: str, target: Target, seconds: int) -> None:
    import atheris  # its process ends with the run: one target each

    atheris.instrument_all()
    atheris.Setup([sys.argv[0], f"-max_total_time={seconds}", "-timeout=2", "-rss_limit_mb=2048"], target)
    print(f"{name}: guided, {seconds} s", flush=True)
    atheris.Fuzz()


def main() -> int:
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="per target")
    parser.add_argument("--executions", type=int, default=10**9, help="per target, at most")
    parser.add_argument("--seed", default=f"{time.time_ns():x}")
    parser.add_argument("--only", default="", help="one target")
    parser.add_argument("--atheris", action="store_true", help="with --only: guided by coverage")
    given = parser.parse_args()
    names = [given.only] if given.only else list(TARGETS)
    if given.atheris:
        guided(names[0], TARGETS[names[0]][0], int(given.seconds))
        return 0
    print(f"fuzz: seed {given.seed}")
    total, findings = 0, []
    for name in names:
        began = time.perf_counter()
        done, found = fuzz(name, given.seconds, given.executions, given.seed)
        total, findings = total + done, findings + found
        print(f"  {name:16} {done:10} executions, {done / (time.perf_counter() - began):9.0f}/s, {len(found)} findings")
        for each in found:
            print(f"    {each}", flush=True)
    print(f"fuzz: {total} executions, {len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
