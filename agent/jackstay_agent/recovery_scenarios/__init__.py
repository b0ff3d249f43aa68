"""Recovery scenarios: facts become a plan of named steps (DESIGN §5). One file per scenario."""

from .api_rate_limit import APIRateLimitRecovery
from .base import PlannedRecovery, RecoveryScenario
from .data_feed_interruption import DataFeedInterruptionRecovery
from .exchange_maintenance import ExchangeMaintenanceRecovery
from .network_disconnection import NetworkDisconnectionRecovery
from .order_rejection import OrderRejectionRecovery
from .partial_fill import PartialFillRecovery

#: By the name of their settings in [recovery].
SCENARIOS: dict[str, type[PlannedRecovery]] = {
    kind.NAME: kind
    for kind in (
        PartialFillRecovery,
        NetworkDisconnectionRecovery,
        ExchangeMaintenanceRecovery,
        DataFeedInterruptionRecovery,
        OrderRejectionRecovery,
        APIRateLimitRecovery,
    )
}

__all__ = [
    "SCENARIOS",
    "APIRateLimitRecovery",
    "DataFeedInterruptionRecovery",
    "ExchangeMaintenanceRecovery",
    "NetworkDisconnectionRecovery",
    "OrderRejectionRecovery",
    "PartialFillRecovery",
    "PlannedRecovery",
    "RecoveryScenario",
]
