"""defaults.toml and a few lines per bot: what counts, where it comes from, and what may never be shared."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from harness import cli
from jackstay_agent.cli import main
from jackstay_agent.config import Config, ConfigError
from jackstay_agent.config_layers import layers_of, origin_of
from jackstay_agent.config_show import effective, rows, toml

DEFAULTS = """
[agent]
log_level = "warning"
allow_hosts = ["*.binance.com"]
[audit]
retention_days = 30
[venues.binance]
warm = false
limits = { weight_1m = 3000 }
"""
GRID = """
[agent]
log_level = "info"
[venues.binance]
live = false
[venues.binance.limits]
orders_10s = 50
"""


@pytest.fixture
def etc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A config folder with what is shared and one agent's own lines."""
    monkeypatch.setenv("JACKSTAY_CONFIG_DIR", str(tmp_path))
    (tmp_path / "defaults.toml").write_text(DEFAULTS, encoding="utf-8")
    (tmp_path / "grid.toml").write_text(GRID, encoding="utf-8")
    return tmp_path


def run(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


def test_an_agents_own_lines_go_over_what_is_shared(etc: Path) -> None:
    """Tables are merged, values replaced, what neither says is the program's default."""
    config = Config.load(etc / "grid.toml")
    assert (config.agent.log_level, config.agent.allow_hosts) == ("info", ["*.binance.com"])
    assert config.audit.retention_days == 30
    venue = config.venues["binance"]
    assert (venue.live, venue.warm, venue.limits) == (False, False, {"weight_1m": 3000, "orders_10s": 50})
    assert config.bot == Config().bot


def test_every_value_says_where_it_comes_from(etc: Path) -> None:
    """File and line of each, or that it is a default; in text and in JSON."""
    facts = json.loads(run("config", "show", "grid", "--effective", "--json").stdout)
    assert facts["files"] == [str(etc / "defaults.toml"), str(etc / "grid.toml")]
    origins = {key: (each["file"] and Path(each["file"]).name, each["line"]) for key, each in facts["values"].items()}
    assert origins["agent.log_level"] == ("grid.toml", 3)
    assert origins["agent.allow_hosts"] == ("defaults.toml", 4)
    assert origins["venues.binance.limits.orders_10s"] == ("grid.toml", 7)
    assert origins["venues.binance.limits.weight_1m"] == ("defaults.toml", 9)
    assert origins["agent.log_format"] == (None, None)
    shown = run("config", "show", "grid", "--effective", "--origin").stdout
    assert 'log_level = "info"' in shown
    assert f"# {etc / 'defaults.toml'}:6" in shown
    assert "# default" in shown
    only = run("config", "show", "grid", "--origin").stdout
    assert "# default" not in only


def test_what_is_shown_is_a_configuration_of_the_same_behaviour(etc: Path) -> None:
    """The effective configuration, loaded alone, shows itself again; every section of the program is in it."""
    shown = run("config", "show", "grid", "--effective").stdout
    again = Config.from_toml(shown)
    assert effective(again) == effective(Config.load(etc / "grid.toml"))
    assert set(tomllib.loads(shown)) == set(Config.__struct_fields__)


def test_secrets_are_cut(etc: Path) -> None:
    """Addresses, headers and arguments of alerts, queries of URLs: what may hold a token is not shown."""
    (etc / "grid.toml").write_text(
        '[alerts]\nwebhook = "https://hooks.example/services/HIDE1"\nwebhook_header = "Authorization: Bearer HIDE2"\n'
        'command = ["/bin/page", "--token=HIDE3"]\nevents = ["bot.*"]\n'
        '[audit]\nanchor_webhook = "https://user:HIDE4@keep.example/HIDE5"\n'
        '[feeds.x]\nurl = "wss://stream.example/ws?listenKey=HIDE6"\n',
        encoding="utf-8",
    )
    for words in (("--effective",), ("--json",), ("--origin",)):
        done = run("config", "show", "grid", *words)
        assert done.exit_code == 0, done.output
        assert "HIDE" not in done.output
        assert "hooks.example" in done.output


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('[venues.binance.keys]\nfile = "/k"', "would be every agent's key"),
        ('[venues.binance.keys]\nenv = "K"', "would be every agent's key"),
        ('[account]\nclient_id_prefixes = ["grid-"]', "take the others' orders for its own"),
        ("[agnt]", "did you mean 'agent'"),
        ("nonsense", "not TOML"),
    ],
)
def test_what_is_wrong_in_the_shared_file_is_said_to_be_there(etc: Path, line: str, says: str) -> None:
    """Each agent of the folder refuses it, naming defaults.toml; a credential, which each unit has its own, passes."""
    (etc / "defaults.toml").write_text(f"{line}\n", encoding="utf-8")
    done = run("config", "check", "grid")
    assert done.exit_code == 1
    assert f"{etc / 'grid.toml'}: defaults.toml: " in done.stderr
    assert says in done.stderr
    (etc / "defaults.toml").write_text('[venues.binance.keys]\ncredential = "binance"\n', encoding="utf-8")
    assert run("config", "check", "grid").exit_code == 0


def test_a_broken_shared_file_is_not_passed_over(etc: Path) -> None:
    """A dangling link: an agent that would start without what is shared would start without its bounds."""
    (etc / "defaults.toml").unlink()
    (etc / "defaults.toml").symlink_to(etc / "nowhere")
    with pytest.raises(ConfigError, match=r"defaults\.toml: cannot be read"):
        Config.load(etc / "grid.toml")


def test_only_a_config_folder_has_shared_lines(etc: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A defaults.toml beside any other file is somebody else's."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "defaults.toml").write_text("this is no TOML of ours", encoding="utf-8")
    (elsewhere / "mine.toml").write_text("", encoding="utf-8")
    assert Config.load(elsewhere / "mine.toml") == Config()
    assert [each.path for each in layers_of(etc / "defaults.toml", {})] == [etc / "defaults.toml"]


def test_a_name_that_is_nobodys(etc: Path) -> None:
    """No file and no agent of that name: where it was looked for; no name at all is wrong usage."""
    done = run("config", "check", "nobody")
    assert done.exit_code == 1
    assert str(etc) in done.stderr
    assert run("config", "show").exit_code == 2
    assert run("config", "show", "nobody").stdout.startswith("# no nobody.toml")


def test_defaults_of_the_program_need_no_file() -> None:
    """An empty configuration is shown whole, each value a default."""
    found = list(rows(effective(Config()), []))
    assert {each.origin for each in found} == {"default"}
    assert Config.from_toml(toml(found, origin=True)) is not None
    assert origin_of([], ("agent", "log_level")) is None


def test_an_agent_runs_with_both_files(tmp_path: Path) -> None:
    """`jackstay run NAME` as systemd starts it: the shared bound and the own line both hold in the process."""
    etc = tmp_path / "etc"
    etc.mkdir()
    (etc / "defaults.toml").write_text('[agent]\nlog_level = "info"\ndrain_timeout_s = 400\n', encoding="utf-8")
    (etc / "own.toml").write_text("", encoding="utf-8")
    env = {"JACKSTAY_CONFIG_DIR": str(etc)}
    done = cli("run", "own", runtime_dir=tmp_path, env=env)
    assert done.returncode == 1
    assert "drain_timeout_s = 400" in done.stderr
    (etc / "own.toml").write_text("[agent]\ndrain_timeout_s = 1\n", encoding="utf-8")
    assert cli("config", "check", "own", env=env).returncode == 0
