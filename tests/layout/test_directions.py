"""The directions between rooms hold, on the real import graph, and every module has a room."""

from __future__ import annotations

from functools import cache

import grimp
import pytest

AGENT, CLIENT, PROTOCOLS = "jackstay_agent", "jackstay", "jackstay_protocols"

# Inside the agent, top to bottom: a module imports only from its own row or from rows below.
LAYERS: list[tuple[str, set[str]]] = [
    ("cli", {"cli", "cli.*"}),
    ("demo", {"demo", "demo.*"}),
    ("app", {"app"}),
    (
        "gateway, pipeline, managers",
        {
            "pipeline",
            "nonce_turns",
            "admission",
            "venue_modes",
            "decision_desk",
            "decision_memory",
            "decisions",
            "host_budgets",
            "prober",
            "dial_breakers",
            "connection_manager",
            "connection_journal",
            "connection_link",
            "connection_record",
            "account_feed",
            "feeds",
            "feed_batches",
            "feed_reach",
            "feed_routes",
            "feed_socket",
            "error_handler",
            "error_desk",
            "error_decorator",
            "decorators",
            "breaker",
            "recovery_scenarios",
            "recovery_scenarios.*",
            "judgement",
            "dispatch",
            "intents",
            "news",
            "order_desk",
            "account",
            "account.*",
            "state_check",
            "state_desk",
            "state_mend",
            "state_monitor",
            "state_room",
            "witness",
            "late_truth",
            "list_search",
            "telling",
            "bot_news",
            "outward",
            "pattern_analytics",
            "pattern_watch",
            "report",
            "key_check",
            "doctor",
            "doctor.*",
            "recording",
            "load_guard",
            "pulse",
            "metrics",
            "metrics.*",
            "alerts",
            "audit",
            "audit.*",
            "venue_access",
            "replies",
            "resolver",
            "upstreams",
            "user_stream_line",
            "user_streams",
            "ports",
            "bench_config",
            "bench_machine",
            "control",
            "connection_desk",
            "feed_tail",
            "watchdog",
            "guardian",
            "key_powers",
            "maintenance",
            "partial_fills",
            "reopening",
            "directives",
            "watch_desk",
            "deadman",
            "deadman_desk",
            "own_orders",
            "barrier",
            "recovery_room",
            "venue_actions",
            "groups",
            "cancel_desk",
            "protection_room",
            "budgets",
            "trade_socket",
            "http_service",
            "agent_desk",
            "supervised",
            "lifeline",
            "reloading",
            "handover",
            "upgrade_check",
            "gateway",
            "gateway.*",
        },
    ),
    (
        "settings",
        {
            "config",
            "config_layers",
            "config_show",
            "connection_settings",
            "error_settings",
            "recovery_settings",
            "feed_settings",
            "http_settings",
            "maintenance_settings",
            "metrics_settings",
            "trading_hours",
            "alert_settings",
            "analytics_settings",
            "audit_settings",
            "budget_settings",
            "state_settings",
        },
    ),
    (
        "transport, outbox, venues",
        {
            "transport",
            "transport.*",
            "outbox",
            "outbox.*",
            "venues",
            "venues.*",
            "budget_book",
            "clock_quality",
            "flight",
            "instance_lock",
            "kept",
            "last_seen",
            "account_lock",
            "lean_imports",
            "lean_structlog",
            "time_zones",
            "log",
            "logs",
            "notify",
            "own_process",
            "redact",
            "version",
            "toml_places",
        },
    ),
    ("core", {"core", "core.*"}),
]
# The simulated exchange is nobody's room mate: it knows no agent, and only cli and demo start it.
SANDBOX = {"sandbox", "sandbox.*"}


@cache
def graph() -> grimp.ImportGraph:
    return grimp.build_graph(AGENT, CLIENT, PROTOCOLS, include_external_packages=False, cache_dir=None)


def _in(module: str, patterns: set[str]) -> bool:
    return any(module == each or (each.endswith(".*") and module.startswith(each[:-1])) for each in patterns)


def layer_of(module: str) -> int | None:
    short = module.removeprefix(AGENT + ".")
    return next((row for row, (_name, patterns) in enumerate(LAYERS) if _in(short, patterns)), None)


def agent_modules() -> list[str]:
    return sorted(
        module
        for module in graph().modules
        if module.startswith(AGENT + ".") and not _in(module.removeprefix(AGENT + "."), SANDBOX)
    )


def imports() -> list[tuple[str, str]]:
    found = graph()
    return [
        (importer, imported)
        for importer in sorted(found.modules)
        for imported in sorted(found.find_modules_directly_imported_by(importer))
    ]


def room(module: str) -> str:
    return module.partition(".")[0]


def test_client_and_agent_know_only_the_protocols() -> None:
    """client -> protocols <- agent, and the protocols know neither side."""
    wrong = [
        f"{importer} imports {imported}"
        for importer, imported in imports()
        if room(importer) != room(imported) and (room(imported) != PROTOCOLS or room(importer) == PROTOCOLS)
    ]
    assert not wrong, "\n".join(wrong)


def test_every_module_of_the_agent_has_a_layer() -> None:
    """A new file is given its place in LAYERS, or it stands in nobody's way of being misused."""
    homeless = [module for module in agent_modules() if layer_of(module) is None]
    assert not homeless, f"add to LAYERS in {__file__}: {homeless}"


def test_the_table_names_no_module_that_is_gone() -> None:
    """A renamed file takes its row along; a name that two rows claim would be judged by the higher one."""
    short = [module.removeprefix(AGENT + ".") for module in agent_modules()]
    gone = [name for _row, names in LAYERS for name in names if not any(_in(each, {name}) for each in short)]
    assert not gone
    claimed = [name for _row, names in LAYERS for name in names]
    assert len(claimed) == len(set(claimed))


@pytest.mark.parametrize("module", agent_modules())
def test_a_module_imports_only_downwards(module: str) -> None:
    """cli -> app -> {gateway, pipeline, managers} -> {transport, outbox, venues} -> core -> protocols."""
    row = layer_of(module)
    assert row is not None
    for imported in sorted(graph().find_modules_directly_imported_by(module)):
        if room(imported) != AGENT or imported == AGENT:
            continue
        below = layer_of(imported)
        if below is None:
            continue  # the sandbox, judged by its own test
        assert below >= row, f"{module} ({LAYERS[row][0]}) imports {imported} ({LAYERS[below][0]}): that is upwards"


def test_nothing_imports_app_but_the_command_line() -> None:
    """The composition root is used from the top only."""
    importers = graph().find_modules_that_directly_import(f"{AGENT}.app")
    assert all(importer.startswith(f"{AGENT}.cli") for importer in importers), importers


def test_the_sandbox_stands_alone() -> None:
    """It imports nothing of the agent, and only the command line and the demo start it."""
    for importer, imported in imports():
        inside = importer.startswith(f"{AGENT}.sandbox")
        if imported.startswith(f"{AGENT}.sandbox") and not inside:
            assert importer.startswith((f"{AGENT}.cli", f"{AGENT}.demo")), f"{importer} imports {imported}"
        if inside:
            assert imported.startswith((f"{AGENT}.sandbox", PROTOCOLS)), f"{importer} imports {imported}"


def test_rules_can_fail() -> None:
    """The layer table tells rooms apart: a core module is not in the command line's row."""
    assert layer_of(f"{AGENT}.core.breaker") == len(LAYERS) - 1
    assert layer_of(f"{AGENT}.cli.run") == 0
    assert layer_of(f"{AGENT}.nowhere") is None
