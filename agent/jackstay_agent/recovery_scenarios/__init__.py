"""Recovery scenarios: facts become a plan of named steps (DESIGN §5). One file per scenario."""

from .base import RecoveryScenario

__all__ = ["RecoveryScenario"]
