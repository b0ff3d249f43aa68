"""What every recovery scenario is: something that turns an error's facts into a restored state, or says it did not."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any


class RecoveryScenario(ABC):
    """Base of all scenarios. One instance may serve many errors; it keeps nothing of a single one."""

    def __init__(self, config: Any) -> None:
        self.config = config

    @abstractmethod
    async def execute_recovery(self, context: dict[str, Any]) -> bool:
        """Recover from the error whose facts are given; True only with evidence that it worked.

        A missing or wrong key raises ValidationError naming it, before anything is done.
        """
