"""What an operator sets about budgets that the agents of a host share (section ``[budgets]``)."""

from __future__ import annotations

from pathlib import Path

import msgspec

from jackstay_protocols.errors import ValidationError


class BudgetSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``shared``: venues' budgets per address are shared by all agents that name the same file."""

    shared: bool = False
    file: str = ""  # default: .host/budgets.sqlite beside the agents' state folders

    def __post_init__(self) -> None:
        if self.file and not Path(self.file).is_absolute():
            raise ValidationError(f"file = {self.file!r}; an absolute path is expected")
