"""`jackstay doctor` of a real agent and of faults put there one by one: each is named, with the way to mend it."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from e2e_bot import RESOLVING, routed
from harness import AgentProcess, child_env
from jackstay_agent.cli import main
from jackstay_agent.doctor.host import unit_findings
from jackstay_agent.sandbox import SandboxProcess

CHECKS = {
    "versions",
    "config",
    "credentials",
    "sockets",
    "agent",
    "disk",
    "limits",
    "unit",
    "dns",
    "tls",
    "clock",
    "keys",
}
QUIET = RESOLVING.replace("live = false", "live = false\nuser_stream = false")


@dataclass
class Clinic:
    exchange: SandboxProcess
    agent: AgentProcess
    env: dict[str, str] = field(default_factory=child_env)

    def run(self, *words: str, config: str | None = None) -> Result:
        path = self.agent.config_path
        if config is not None:
            path = path.with_name("other.toml")
            path.unlink(missing_ok=True)
            path.write_text(config, encoding="utf-8")
            path.chmod(0o644)
        env = self.env | {"JACKSTAY_RUNTIME_DIR": str(self.agent.runtime_dir)}
        return CliRunner().invoke(main, ["doctor", self.agent.name, "-c", str(path), *words], env=env)

    def found(self, *words: str, config: str | None = None) -> dict[str, list[dict[str, Any]]]:
        """Check -> its findings."""
        facts = json.loads(self.run(*words, "--json", config=config).stdout)
        rows: dict[str, list[dict[str, Any]]] = {}
        for each in facts["findings"]:
            rows.setdefault(each["check"], []).append(each)
        return rows


@pytest.fixture(scope="module")
def clinic() -> Iterator[Clinic]:
    with SandboxProcess(seed=1) as exchange, AgentProcess(routed(exchange.url, QUIET)) as agent:
        yield Clinic(exchange, agent)


def test_every_check_is_made_of_an_agent_that_is_well(clinic: Clinic) -> None:
    """All rooms are looked at, nothing fails, exit 0; what nobody can tell here is skipped or warned of, not passed."""
    done = clinic.run("--json")
    facts = json.loads(done.stdout)
    assert done.exit_code == 0, done.stdout
    assert {each["check"] for each in facts["findings"]} == CHECKS
    assert facts["healthy"] is True
    assert facts["fail"] == 0
    assert all(each["mend"] for each in facts["findings"] if each["state"] in ("warn", "fail"))


def test_people_are_told_how_to_mend(clinic: Clinic) -> None:
    """A broken line: its place, the nearest name, the command to check it again; exit 1."""
    done = clinic.run("--offline", config="[agnt]\nlog_level = 'info'\n")
    assert done.exit_code == 1
    assert "did you mean 'agent'" in done.stdout
    assert "mend: mend the line, then: jackstay config check" in done.stdout
    assert "not looked at: the configuration is broken" in done.stdout


def test_offline_asks_nobody_and_says_so(clinic: Clinic) -> None:
    """The venue's ledger is empty, and what only it can tell is called unknown."""
    clinic.exchange.admin.reset()
    found = clinic.found("--offline")
    assert found["venues"][0]["state"] == "skip"
    assert "unknown" in found["venues"][0]["what"]
    assert not {"dns", "tls", "clock", "keys"} & set(found)
    assert clinic.exchange.admin.ledger(path="/api/v3/time") == []


def test_a_clock_that_is_off_fails_with_the_offset(clinic: Clinic) -> None:
    """Three seconds: every signature would be refused."""
    clinic.exchange.admin.clock(3000)
    try:
        (clock,) = clinic.found()["clock"]
    finally:
        clinic.exchange.admin.clock(0)
    assert clock["state"] == "fail"
    assert "behind" in clock["what"]
    assert "set-ntp" in clock["mend"]
    (clock,) = clinic.found()["clock"]
    assert clock["state"] == "ok"


def test_a_venue_that_is_not_there(clinic: Clinic) -> None:
    """A closed port fails TLS; clock and keys are then not asked instead of being called fine."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        found = clinic.found(config=routed(f"http://127.0.0.1:{closed.getsockname()[1]}", QUIET))
    assert [found[check][0]["state"] for check in ("dns", "tls", "clock", "keys")] == ["ok", "fail", "skip", "skip"]


def test_a_name_that_does_not_resolve(clinic: Clinic) -> None:
    """DNS fails, and nothing behind it is claimed."""
    found = clinic.found(config=routed("http://nowhere.invalid", QUIET))
    assert [found[check][0]["state"] for check in ("dns", "tls", "clock")] == ["fail", "skip", "skip"]
    assert "resolvectl" in found["dns"][0]["mend"]


def test_a_certificate_nobody_trusts() -> None:
    """TLS under an unknown CA fails with what to look at; with ca_file it is well and says for how long."""
    with SandboxProcess(seed=1, extra_args=("--tls",)) as exchange, AgentProcess() as agent:
        clinic = Clinic(exchange, agent)
        (tls,) = clinic.found(config=routed(exchange.url, QUIET))["tls"]
        assert tls["state"] == "fail"
        assert "not trusted" in tls["what"]
        trusted = f'[upstreams."api.binance.com"]\nto = "{exchange.url}"\nca_file = "{exchange.ca_file}"\n{QUIET}'
        (tls,) = clinic.found(config=trusted)["tls"]
        assert tls["state"] in ("ok", "warn")  # a throw-away certificate may end soon, and that is told
        assert "TLSv1" in tls["what"]


@pytest.mark.parametrize(
    ("mode", "state", "mend"), [(0o600, "ok", ""), (0o644, "fail", "chmod 600"), (None, "fail", "keys add")]
)
def test_credentials_that_others_can_read(
    clinic: Clinic, tmp_path: Path, mode: int | None, state: str, mend: str
) -> None:
    """A key file is 0600 or a failure; one that is missing is told with the command that makes it."""
    path = tmp_path / "k.key"
    if mode is not None:
        path.write_text("key = a\nsecret = b\n", encoding="utf-8")
        path.chmod(mode)
    config = f'[venues.binance]\nlive = false\n[venues.binance.keys]\nfile = "{path}"\n'
    (found,) = clinic.found("--offline", config=config)["credentials"]
    assert found["state"] == state
    assert mend in found["mend"]


def test_a_configuration_that_others_can_write(clinic: Clinic) -> None:
    """Who can write it can lead the agent elsewhere."""
    clinic.run("--offline", config="")
    path = clinic.agent.config_path.with_name("other.toml")
    path.chmod(0o666)
    env = clinic.env | {"JACKSTAY_RUNTIME_DIR": str(clinic.agent.runtime_dir)}
    done = CliRunner().invoke(main, ["doctor", clinic.agent.name, "-c", str(path), "--offline"], env=env)
    assert done.exit_code == 1
    assert f"chmod go-w {path}" in done.stdout


def test_a_folder_open_to_others_and_a_dead_agent() -> None:
    """Sockets and agent fail, each with its mending; the rest is still looked at."""
    with AgentProcess() as agent:
        agent.kill()
        (agent.runtime_dir / agent.name).chmod(0o777)
        clinic = Clinic(None, agent)  # type: ignore[arg-type]
        found = clinic.found("--offline")
        assert found["sockets"][0]["state"] == "fail"
        assert "chmod" in found["sockets"][0]["mend"]
        assert found["agent"][0]["state"] == "fail"
        assert "leftover" in found["agent"][0]["what"]
        assert found["disk"][0]["state"] in ("ok", "warn")


def test_an_agent_that_never_ran_can_be_looked_at(tmp_path: Path) -> None:
    """Before the first start: no agent, and everything else checked; without a name it asks which."""
    env = child_env() | {"JACKSTAY_RUNTIME_DIR": str(tmp_path)}
    done = CliRunner().invoke(main, ["doctor", "fresh", "--offline"], env=env)
    assert done.exit_code == 1
    assert "it can be made" in done.stdout
    assert "fail  agent" in done.stdout
    assert CliRunner().invoke(main, ["doctor"], env=env).exit_code == 2


SHOWN = {
    "LoadState": "loaded",
    "ActiveState": "active",
    "SubState": "running",
    "UnitFileState": "enabled",
    "NRestarts": "2",
    "Restart": "always",
    "StartLimitIntervalUSec": "0",
}


@pytest.mark.parametrize(
    ("changed", "state", "says"),
    [
        ({}, "ok", "started again 2 times"),
        ({"LoadState": "not-found"}, "warn", "not installed"),
        ({"UnitFileState": "disabled"}, "warn", "does not start with the machine"),
        ({"Restart": "on-failure"}, "warn", "Restart=on-failure"),
        ({"StartLimitIntervalUSec": "10s"}, "warn", "stays dead"),
        ({"ActiveState": "failed", "SubState": "failed"}, "fail", "is failed"),
    ],
)
def test_what_systemd_says_of_the_unit(changed: dict[str, str], state: str, says: str) -> None:
    """Each property that would leave an agent dead is a finding with its mending."""
    shown = "\n".join(f"{key}={value}" for key, value in (SHOWN | changed).items())
    (found,) = unit_findings("m", shown)
    assert found.state == state
    assert says in found.what
    assert found.mend or state == "ok"
