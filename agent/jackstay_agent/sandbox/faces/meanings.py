"""Every face's troubled answers by name: Binance's (and what any front answers) plain, others after their venue."""

from __future__ import annotations

from .binance_meanings import MEANINGS as BINANCE_MEANINGS
from .binance_meanings import Meaning
from .bybit_meanings import BYBIT_MEANINGS
from .kraken_meanings import KRAKEN_MEANINGS
from .okx_meanings import OKX_MEANINGS

MEANINGS: dict[str, Meaning] = BINANCE_MEANINGS | OKX_MEANINGS | BYBIT_MEANINGS | KRAKEN_MEANINGS
