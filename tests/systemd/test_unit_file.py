"""The unit file is valid, restarts for ever, keeps its promises about folders, and its bot never dies with it."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from jackstay_agent.cli.run import run
from jackstay_agent.config import Config
from jackstay_protocols import endpoints

FOLDER = Path(__file__).resolve().parents[2] / "systemd"
UNITS = sorted(FOLDER.glob("*.service"))
AGENT = FOLDER / "jackstay@.service"
EXPOSURE_MAX = 1.5  # of 10; what is left is the agent itself: it talks to venues and looks at its peers

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed: the unit cannot be verified here"
)


def settings(path: Path, section: str) -> dict[str, list[str]]:
    """Every value of every key of a section, in order: systemd allows a key more than once."""
    found: dict[str, list[str]] = {}
    inside = False
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            inside = line == f"[{section}]"
        elif inside and "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def analyze(verb: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", verb, *arguments], capture_output=True, text=True, timeout=30, check=False
    )


def runnable(unit: Path, folder: Path) -> Path:
    """A copy whose programs exist here: verify asks for that, and the installed path is not on this machine."""
    text = re.sub(r"^(Exec\w+)=\S+", r"\1=/bin/true", unit.read_text(encoding="utf-8"), flags=re.MULTILINE)
    copy = folder / unit.name
    copy.write_text(text, encoding="utf-8")
    return copy


@needs_systemd
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_finds_nothing_to_say(unit: Path, tmp_path: Path) -> None:
    """verify ends 0 and writes nothing: unknown keys and bad values are warnings only, so silence is asked for."""
    done = analyze("verify", "--man=no", str(runnable(unit, tmp_path)))
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "")


@needs_systemd
def test_a_misspelt_key_would_be_found(tmp_path: Path) -> None:
    """The test above can fail."""
    unit = runnable(AGENT, tmp_path)
    unit.write_text(unit.read_text(encoding="utf-8").replace("Restart=always", "Restrat=always"), encoding="utf-8")
    assert "Restrat" in analyze("verify", "--man=no", str(unit)).stderr


@needs_systemd
def test_the_agent_is_hardened(tmp_path: Path) -> None:
    """systemd's own exposure figure stays low."""
    done = analyze(
        "security", "--offline=true", f"--threshold={round(EXPOSURE_MAX * 10)}", str(runnable(AGENT, tmp_path))
    )
    if "offline" in done.stderr:
        pytest.skip(f"this systemd knows no offline security review: {done.stderr.strip()}")
    assert done.returncode == 0, done.stdout.splitlines()[-1:]


def test_it_restarts_for_ever() -> None:
    """Any end, soon, without systemd's start limit."""
    service = settings(AGENT, "Service")
    assert service["Restart"] == ["always"]
    assert service["RestartSec"] == ["1"]
    assert settings(AGENT, "Unit")["StartLimitIntervalSec"] == ["0"]


def test_a_stop_leaves_time_to_drain() -> None:
    """SIGTERM, and longer than the agent's own drain."""
    service = settings(AGENT, "Service")
    assert service["KillSignal"] == ["SIGTERM"]
    assert float(service["TimeoutStopSec"][0]) >= Config().agent.drain_timeout_s + 10


def test_the_folders_are_where_a_client_looks() -> None:
    """The unit's runtime folder is the system's in endpoints.py, closed to strangers, and kept over a restart."""
    service = settings(AGENT, "Service")
    root = endpoints.SYSTEM_RUNTIME
    assert service["RuntimeDirectory"] == [f"{root.name}/%i"]
    assert root.parent == Path("/run")
    assert int(service["RuntimeDirectoryMode"][0], 8) == 0o750
    assert service["RuntimeDirectoryPreserve"] == ["restart"]
    state = str(endpoints.SYSTEM_STATE.relative_to("/var/lib"))
    assert service["StateDirectory"] == [f"{state}/%i {state}/.host"]
    assert f"--runtime-dir {root}" in service["ExecStart"][0]


def test_the_command_is_one_that_the_agent_knows() -> None:
    """`jackstay run NAME` with options that exist."""
    _program, verb, name, *options = settings(AGENT, "Service")["ExecStart"][0].split()
    assert (verb, name) == ("run", "%i")
    known = {option for parameter in run.params for option in parameter.opts}
    assert {option for option in options if option.startswith("--")} <= known


def test_it_says_ready_itself_and_leaves_no_core() -> None:
    """Type=notify from the main process alone, and no core file with secrets in it."""
    service = settings(AGENT, "Service")
    assert service["Type"] == ["notify"]
    assert service["NotifyAccess"] == ["main"]
    assert service["LimitCORE"] == ["0"]


def test_nothing_blinds_the_agent() -> None:
    """It sees its peers' uid and processes, and its C libraries get the calls they abort without."""
    service = settings(AGENT, "Service")
    assert not {"PrivateUsers", "ProtectProc", "ProcSubset", "PrivateNetwork", "IPAddressDeny"} & service.keys()
    assert service["SystemCallErrorNumber"] == ["EPERM"]
    assert not any("@resources" in value for value in service["SystemCallFilter"])


def test_the_bot_is_not_bound_to_its_agent() -> None:
    """Wants= and After= only: an agent's restart or death leaves the bot running."""
    unit = settings(FOLDER / "example-bot.service", "Unit")
    assert unit["Wants"] == unit["After"] == ["jackstay@mybot.service"]
    assert not {"BindsTo", "Requires", "PartOf", "Requisite", "PropagatesStopTo"} & unit.keys()


def test_units_are_plain_text_that_parses() -> None:
    """No line continues by accident and no section is misspelt."""
    for unit in UNITS:
        parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",))
        parser.optionxform = str  # type: ignore[assignment, method-assign]
        parser.read(unit, encoding="utf-8")
        assert parser.sections() == ["Unit", "Service", "Install"], unit.name
