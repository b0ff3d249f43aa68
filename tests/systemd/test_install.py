"""`jackstay systemd install` shows before it writes, and writes what the agents named need."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from harness import cli
from jackstay_agent.cli.systemd import unit_folder

PROGRAM = "/opt/jackstay/bin/jackstay"


def install(root: Path, *names: str, answer: str | None = None) -> subprocess.CompletedProcess[str]:
    way = ["systemd", "install", *names, "--root", str(root), "--program", PROGRAM]
    if answer is None:
        return cli(*way)
    import sys

    from harness import child_env

    return subprocess.run(
        [sys.executable, "-m", "jackstay_agent.cli", *way],
        input=answer,
        capture_output=True,
        text=True,
        env=child_env(),
        timeout=60,
        check=False,
    )


def files_below(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_it_shows_everything_and_writes_only_after_a_yes(tmp_path: Path) -> None:
    """--dry-run and any other word than yes write nothing; yes writes what was shown; again there is nothing to do."""
    shown = install(tmp_path, "mybot", "--bot-unit", "mybot", "--dry-run")
    assert shown.returncode == 0, shown.stderr
    assert "Restart=always" in shown.stdout
    assert "dry run: nothing was written" in shown.stdout
    assert files_below(tmp_path) == []
    no = install(tmp_path, "mybot", answer="y\n")
    assert no.returncode == 1
    assert files_below(tmp_path) == []
    yes = install(tmp_path, "mybot", "--bot-unit", "mybot", answer="yes\n")
    assert yes.returncode == 0, yes.stderr
    assert files_below(tmp_path) == [
        "etc/systemd/system/jackstay@.service",
        "etc/systemd/system/mybot.service.d/jackstay.conf",
        "etc/sysusers.d/jackstay.conf",
        "etc/tmpfiles.d/jackstay.conf",
    ]
    drop_in = (tmp_path / "etc/systemd/system/mybot.service.d/jackstay.conf").read_text()
    assert "Wants=jackstay@mybot.service\nAfter=jackstay@mybot.service" in drop_in
    assert "BindsTo" not in drop_in
    again = install(tmp_path, "mybot", "--bot-unit", "mybot")
    assert again.returncode == 0
    assert again.stdout.count("as it is already") == 4
    assert "systemctl enable --now jackstay@mybot" in again.stdout


def test_a_changed_unit_is_shown_as_a_difference(tmp_path: Path) -> None:
    """What an administrator wrote is not overwritten unseen."""
    assert install(tmp_path, "--yes").returncode == 0
    unit = tmp_path / "etc/systemd/system/jackstay@.service"
    unit.write_text(unit.read_text().replace("RestartSec=1", "RestartSec=7"))
    shown = install(tmp_path, "--dry-run")
    assert "-RestartSec=7\n+RestartSec=1" in shown.stdout
    assert "RestartSec=7" in unit.read_text()


def test_credentials_of_the_configuration_are_loaded(tmp_path: Path) -> None:
    """A drop-in of that agent's own; --json says what was written and what comes next."""
    config = tmp_path / "etc/jackstay/mybot.toml"
    config.parent.mkdir(parents=True)
    config.write_text('[venues.binance.keys]\ncredential = "binance-key"\n')
    done = install(tmp_path, "mybot", "--json", "--yes")
    told = json.loads(done.stdout)
    assert told["written"]
    text = (tmp_path / "etc/systemd/system/jackstay@mybot.service.d/credentials.conf").read_text()
    assert text == "[Service]\nLoadCredential=binance-key:/etc/jackstay/keys/mybot-binance-key.key\n"
    assert json.loads(install(tmp_path, "other", "--json").stdout)["written"] is False


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (("--program", "/run/user/1000/bin/jackstay"), 1, "ProtectHome"),
        (("--program", "/opt/my tools/jackstay"), 2, "without spaces"),
        (("../x",), 1, "agent name"),
        (("--bot-unit", "b.service"), 2, "one agent's NAME"),
        (("a", "--bot-unit", "../b"), 2, "a unit's name is expected"),
    ],
)
def test_what_cannot_work_is_refused(tmp_path: Path, words: tuple[str, ...], code: int, why: str) -> None:
    """Before anything is written, with the reason."""
    program = () if "--program" in words else ("--program", PROGRAM)
    done = cli("systemd", "install", *words, *program, "--root", str(tmp_path), "--yes")
    assert (done.returncode, files_below(tmp_path)) == (code, [])
    assert why in done.stderr


def test_the_shipped_units_are_found_and_packaged() -> None:
    """From a checkout the folder systemd/, in a wheel the package's own copy of the same files."""
    import tomllib

    root = Path(__file__).resolve().parents[2]
    project = tomllib.loads((root / "pyproject.toml").read_text())
    packed = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert {Path(source).name for source in packed} <= {path.name for path in unit_folder().iterdir()}
    assert set(packed.values()) == {f"jackstay_agent/units/{Path(source).name}" for source in packed}
