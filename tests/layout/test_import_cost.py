"""What a bot pays for the client: `import jackstay` next to nothing, `jackstay.Client` its three libraries.

And what an agent costs its host. What is imported is checked strictly, for it never varies; time and memory as the best
of several fresh processes, for a loaded machine shows more, never less.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from harness import AgentProcess, compiled_env

ROOT = Path(__file__).resolve().parents[2]
IMPORT_MS_MAX = 60.0
IMPORT_MB_MAX = 12.0
CLIENT_MB_MAX = 14.0  # with pyzmq, msgpack and msgspec
IDLE_MB_MAX = 51.0  # 49.3 with Python 3.11 here; the first start compiles and shows more
IDLE_TRIES_MAX = 4
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
TRIES_MAX = 15

SCRIPT = """
import json, sys, time
def rss_mb():  # not ru_maxrss: a child inherits its parent's
    try:
        with open("/proc/self/statm") as pages:
            return int(pages.read().split()[1]) * 4096 / 1e6
    except OSError:
        return 0.0
before_mb, began = rss_mb(), time.perf_counter()
{statement}
took_ms = (time.perf_counter() - began) * 1000
print(json.dumps([took_ms, rss_mb() - before_mb, sorted(sys.modules)]))
"""


def cost(statement: str) -> tuple[float, float, set[str]]:
    """Milliseconds, megabytes, and the modules that were loaded, in a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(statement=statement)], capture_output=True, text=True, check=True
    )
    took_ms, grown_mb, modules = json.loads(done.stdout)
    return took_ms, grown_mb, {name.partition(".")[0] for name in modules}


def agent_packages() -> set[str]:
    """Import names of what only the agent, the sandbox or the developer need."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    names = {each.split(">")[0].split(";")[0].split("[")[0].strip() for extra in extras.values() for each in extra}
    return {name.replace("-", "_") for name in names - {"jackstay"}} | {"jackstay_agent", "binance"}


@pytest.mark.parametrize("statement", ["import jackstay", "import jackstay; jackstay.Client; jackstay.AsyncClient"])
def test_the_client_loads_nothing_of_the_agents(statement: str) -> None:
    """Neither the agent nor any library that only the agent needs."""
    _took_ms, _grown_mb, modules = cost(statement)
    assert not modules & agent_packages()


@pytest.mark.serial
def test_the_bare_import_is_quick_and_small() -> None:
    """At most 60 ms and 12 MB over bare Python, in the best of up to fifteen tries."""
    seen = []
    for _ in range(TRIES_MAX):
        took_ms, grown_mb, _modules = cost("import jackstay")
        seen.append((round(took_ms, 1), round(grown_mb, 1)))
        if took_ms <= IMPORT_MS_MAX and grown_mb <= IMPORT_MB_MAX:
            return
    raise AssertionError(f"import jackstay costs (ms, MB): {seen}")


@on_linux
@pytest.mark.serial
def test_the_client_is_small() -> None:
    """The blocking client with its libraries stays within its megabytes."""
    grown_mb = min(cost("import jackstay; jackstay.Client")[1] for _ in range(3))
    assert 1.0 < grown_mb <= CLIENT_MB_MAX  # below one it measured nothing


def test_an_agent_loads_nothing_it_does_not_need() -> None:
    """Neither what draws tables for people, nor what talks to processes or reads mail: its memory is the host's."""
    _took_ms, _grown_mb, modules = cost("import jackstay_agent.cli, jackstay_agent.app, jackstay_agent.cli.run")
    tools = {"rich", "pygments", "aiohttp", "requests", "jmespath", "ccxt", "hypothesis"}
    websockets = {"picows", "aiofastnet", "python_socks", "multidict"}  # with the first dial
    assert not modules & (
        tools | websockets | {"email", "zipfile", "tempfile", "zoneinfo", "difflib", "typing_extensions"}
    )


@on_linux
@pytest.mark.serial
def test_an_idle_agent_is_small(tmp_path: Path) -> None:
    """As a package that is installed: its byte code compiled, no venue yet; the least of several processes."""
    seen = []
    for _ in range(IDLE_TRIES_MAX):
        agent = AgentProcess()
        agent.more_env = compiled_env(tmp_path)
        with agent:
            agent.status()  # it serves
            seen.append(round(agent.rss_mb(), 1))
        if seen[-1] <= IDLE_MB_MAX:
            return
    raise AssertionError(f"an idle agent takes (MB): {seen}")
