"""One TOML file, every mistake named at once, with its line and the nearest known name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from jackstay_agent.config import Config, ConfigError, profiles_of, venue_of
from jackstay_agent.core.breaker_settings import BreakerSettings
from jackstay_agent.core.retry import DEFAULT_POLICIES
from jackstay_agent.error_handler import ErrorHandler
from jackstay_agent.error_settings import DEFAULT_BREAKERS, DEFAULT_ESCALATION
from jackstay_protocols.errors import ErrorSeverity


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        Config.from_toml(text, "my.toml")
    return caught.value.problems


def test_an_empty_file_is_a_whole_configuration() -> None:
    """Every key is optional."""
    assert Config.from_toml("") == Config()


def test_an_unknown_key_suggests_the_nearest() -> None:
    """A typo is an error that names the line and what was probably meant."""
    (problem,) = problems('[agent]\nlog_levle = "debug"\n')
    assert "line 2" in problem
    assert "log_levle" in problem
    assert "did you mean 'log_level'" in problem


def test_an_unknown_section_suggests_the_nearest() -> None:
    """The same holds for sections."""
    (problem,) = problems("[agnet]\n")
    assert "did you mean 'agent'" in problem


def test_what_is_near_nothing_is_told_all_there_is() -> None:
    """No guess that leads astray: a word that is no typo of ours gets the list."""
    (problem,) = problems("[protecton]\n")
    assert "did you mean" not in problem
    assert "known: account, agent, alerts" in problem


@pytest.mark.parametrize(
    "text",
    ["[errors.retry]\nbudget_shar = 0.1", "[errors.breakers.api_calls]\nfailure_treshold = 3", "[feeds.f]\nurll = 'x'"],
)
def test_unknown_keys_are_found_at_every_depth(text: str) -> None:
    """A typo inside a nested table is named with its whole path and its line."""
    assert any("line 2" in problem and "did you mean" in problem for problem in problems(text))


def test_all_mistakes_are_told_at_once() -> None:
    """A person mends a file once, not five times: names, types, and what only shows between sections, with lines."""
    found = problems(
        '[agent]\nlog_levle = "x"\nlog_format = "xml"\nupstreams_max = "many"\n[bot]\nbeat_within_s = "soon"\n'
        "[nonsense]\n[venues.binance]\nlive = 3\nwarm = 4\n[metrics]\nlisten = '0.0.0.0:1'\n"
        "[watchdog]\nbarrier_s = 'x'\n[upstreams]\n'api.x.test' = 'not a url'\n"
    )
    told = {line: [each for each in found if each.startswith(f"line {line}: ")] for line in range(1, 20)}
    expected = {2: "log_levle", 3: "log_format", 4: "upstreams_max", 6: "beat_within_s", 7: "nonsense", 9: "live",
                10: "warm", 12: "listen", 14: "barrier_s", 16: "api.x.test"}  # fmt: skip
    assert {line for line, each in told.items() if each} == set(expected)
    assert all(expected[line] in each[0] for line, each in told.items() if each)
    assert len(found) == len(expected), "each once"


def test_a_section_that_is_wrong_in_itself_is_no_reason_to_complain_of_others() -> None:
    """What hangs on a value that could not be read is not guessed at."""
    text = '[account]\nexclusive = "yes"\n[state.policies]\norphan = "cancel_orphan"\n'
    assert len(problems(text)) == 1
    assert len(problems(text.replace('"yes"', "false"))) == 1
    assert Config.from_toml(text.replace('"yes"', "true")).account.exclusive


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("[agent\n", "not TOML"),
        ('[agent]\nlog_level = "loud"', "loud"),
        ('[agent]\nlog_format = "xml"', "xml"),
        ("[agent]\ndrain_timeout_s = -1", "drain_timeout_s"),
        ("[bot]\nbeat_within_s = 0", "beat_within_s"),
        ("[bot]\nbeat_within_s = nan", "beat_within_s"),
        ('[upstreams]\n"api.x.test" = "not a url"', "api.x.test"),
        ('[upstreams]\n"api.x.test" = "ftp://127.0.0.1"', "ftp"),
        ('[upstreams]\n"api.x.test" = 5', "upstreams"),
        ('[feeds.f]\nurl = "ftp://no.websocket.test"', "feeds"),
    ],
)
def test_a_bad_value_is_named(text: str, word: str) -> None:
    """Each bad value is refused with its place."""
    assert any(word in problem for problem in problems(text))


def test_live_keys_and_a_rerouted_host_do_not_go_together() -> None:
    """Sending a real account's signed requests elsewhere needs somebody's word."""
    base = '[upstreams]\n"api.binance.com" = "http://127.0.0.1:1"\n[venues.binance]\nkeys = { env = "K" }\n'
    (problem,) = problems(base)
    assert "api.binance.com" in problem
    assert "live = false" in problem
    Config.from_toml(base + "live = false\n")
    Config.from_toml(base + "[agent]\nallow_reroute_with_live_credentials = true\n")


def test_a_route_leads_a_host_elsewhere_and_keeps_its_name() -> None:
    """Only the dialled address changes; the endpoint still is the venue's."""
    config = Config.from_toml('[upstreams]\n"api.binance.com" = "http://127.0.0.1:8099"')
    endpoint = config.endpoint_for("https://api.binance.com/x")
    assert endpoint.host == "api.binance.com"
    assert config.endpoint_for("https://other.test").host == "other.test"


def test_an_unreadable_file_is_a_clear_error(tmp_path: Path) -> None:
    """The path and the reason are in the message."""
    with pytest.raises(ConfigError, match=r"none\.toml"):
        Config.load(tmp_path / "none.toml")
    (tmp_path / "bin.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read"):
        Config.load(tmp_path / "bin.toml")


def test_own_venue_profiles_override_shipped_ones(tmp_path: Path) -> None:
    """A folder of profiles is read and checked with the configuration; a missing folder is named."""
    (tmp_path / "v.toml").write_text('name = "binance"\nhosts = ["my.test"]\n', encoding="utf-8")
    config = Config.from_toml(f'[agent]\nprofiles_dir = "{tmp_path}"')
    assert profiles_of(config)["binance"].hosts == {"my.test"}
    assert any("profiles_dir" in problem for problem in problems('[agent]\nprofiles_dir = "/no/such/folder"'))
    (tmp_path / "bad.toml").write_text("name = 5", encoding="utf-8")
    assert any("bad.toml" in problem for problem in problems(f'[agent]\nprofiles_dir = "{tmp_path}"'))


@pytest.mark.parametrize("name", sorted(DEFAULT_BREAKERS))
def test_a_partial_breaker_table_changes_only_what_it_names(name: str) -> None:
    """The unset fields come from the shipped breaker of that name, not from the class; the other one stays."""
    config = Config.from_toml(f"[errors.breakers.{name}]\nfailure_threshold = 9\n")
    assert config.errors.breakers[name] == replace(DEFAULT_BREAKERS[name], failure_threshold=9)
    handler = ErrorHandler(config)
    for each, shipped in DEFAULT_BREAKERS.items():
        wanted = replace(shipped, failure_threshold=9) if each == name else shipped
        assert handler.circuit_breaker(each).settings == wanted


def test_an_empty_breaker_table_is_the_shipped_breaker() -> None:
    """Naming it changes nothing."""
    config = Config.from_toml("[errors.breakers.api_calls]\n")
    assert config.errors.breakers["api_calls"] == DEFAULT_BREAKERS["api_calls"]


def test_a_breaker_of_an_own_name_stands_on_the_class() -> None:
    """No breaker of that name ships; what is unset is the documented default."""
    config = Config.from_toml("[errors.breakers.replica]\nopen_s = 7\n")
    assert config.errors.breakers["replica"] == BreakerSettings(open_s=7)


def test_partial_policies_keep_what_ships_too() -> None:
    """The same holds for escalation by severity and for retry policies, their backoff included."""
    config = Config.from_toml(
        "[errors.severity.escalation.high]\nrepeats = 4\n"
        "[errors.retry.policies.database]\nattempts_max = 9\n"
        "[errors.retry.policies.network.backoff]\ncap_s = 3.0\n"
    )
    assert config.errors.severity.escalation[ErrorSeverity.HIGH] == replace(
        DEFAULT_ESCALATION[ErrorSeverity.HIGH], repeats=4
    )
    assert config.errors.retry.policies["database"] == replace(DEFAULT_POLICIES["database"], attempts_max=9)
    network = DEFAULT_POLICIES["network"]
    assert config.errors.retry.policies["network"] == replace(network, backoff=replace(network.backoff, cap_s=3.0))


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("[errors.breakers]\napi_calls = 5", "breakers"),
        ("[errors]\nbreakers = 5", "breakers"),
        ('[errors.breakers.api_calls]\nopen_s = "soon"', "open_s"),
        ("[errors.breakers.api_calls]\nopen_s = nan", "open_s"),
        ("[errors.breakers.api_calls]\nopen_s = inf", "open_s"),
        ("[errors.breakers.api_calls]\nopen_s = -1", "open_s"),
        ("[errors.breakers.api_calls]\nopen_s = 1e12", "open_s"),
        ("[errors.breakers.api_calls]\nopen_s = 90", "open_cap_s"),  # the shipped cap is 60: said, not widened quietly
        ("[errors.breakers.api_calls]\nfailure_threshold = 0", "failure_threshold"),
        ("[errors.breakers.api_calls]\nfailure_rate = 0.5\nwindow_size = 10", "min_calls"),
        ("[errors.breakers.api_calls]\nfailure_treshold = 3", "did you mean 'failure_threshold'"),
        ("[errors.retry]\nbudget_share = nan", "budget_share"),
        ("[errors.retry.policies.network]\nattempts_max = 0", "attempts_max"),
        ("[errors.retry.policies.network.backoff]\nbase_s = inf", "base_s"),
        ("[errors.severity.escalation.high]\nwithin_s = nan", "within_s"),
        ("[errors.severity.escalation.loud]\nrepeats = 3", "loud"),
        ("[errors]\nrecent_max = 99999999999", "recent_max"),
    ],
)
def test_bad_error_settings_are_named(text: str, word: str) -> None:
    """Wrong types, NaN, infinite, negative, huge and contradictory numbers of [errors] are refused by name."""
    assert any(word in problem for problem in problems(text))


@pytest.mark.parametrize(
    ("url", "more", "venue"),
    [
        ("wss://stream.binance.com:9443/ws", "", "binance"),
        ("wss://data-stream.binance.vision/stream", "", "binance"),
        ("wss://fstream.binance.com/ws", "", "binance-usdm"),
        ("wss://ws.kraken.com/v2", "", "kraken"),
        ("wss://prices.example/ws", "", ""),
        ("wss://prices.example/ws", 'venue = "kraken"', "kraken"),
    ],
)
def test_a_feed_belongs_to_the_venue_whose_streams_have_its_host(url: str, more: str, venue: str) -> None:
    """So that its silence holds that venue's groups, and prices from elsewhere hold its entries."""
    config = Config.from_toml(f'[feeds.prices]\nurl = "{url}"\ndialect = "binance"\n{more}\n')
    assert venue_of(config, profiles_of(config))({"feed": "prices"}) == venue
