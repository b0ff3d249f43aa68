"""Balances with locks. Money moves only here, so conservation can be checked in one place."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from .model import ZERO, Reject


class Balance:
    """What an account has of one asset: free to use, and locked by open orders."""

    __slots__ = ("free", "locked")

    def __init__(self, free: Decimal = ZERO, locked: Decimal = ZERO) -> None:
        self.free = free
        self.locked = locked

    @property
    def total(self) -> Decimal:
        return self.free + self.locked


class Wallets:
    """Every account's balances; `touched` collects what changed since the owner last cleared it."""

    def __init__(self) -> None:
        self._accounts: dict[str, dict[str, Balance]] = {}
        self.touched: set[tuple[str, str]] = set()

    def open(self, account: str, funds: dict[str, Decimal]) -> None:
        self._accounts[account] = {asset: Balance(amount) for asset, amount in funds.items()}
        self.touched.update((account, asset) for asset in funds)

    def of(self, account: str, asset: str) -> Balance:
        assets = self._accounts.setdefault(account, {})
        balance = assets.get(asset)
        if balance is None:
            balance = assets[asset] = Balance()
        return balance

    def assets(self, account: str) -> dict[str, Balance]:
        return self._accounts.get(account, {})

    def accounts(self) -> Iterator[str]:
        return iter(self._accounts)

    def lock(self, account: str, asset: str, amount: Decimal) -> None:
        """Move free to locked. Reject("insufficient_balance") when there is not enough."""
        balance = self.of(account, asset)
        if amount > balance.free:
            raise Reject("insufficient_balance", asset)
        balance.free -= amount
        balance.locked += amount
        self.touched.add((account, asset))

    def unlock(self, account: str, asset: str, amount: Decimal) -> None:
        if not amount:
            return
        balance = self.of(account, asset)
        balance.free += amount
        balance.locked -= amount
        self.touched.add((account, asset))

    def take_locked(self, account: str, asset: str, amount: Decimal) -> None:
        self.of(account, asset).locked -= amount
        self.touched.add((account, asset))

    def take(self, account: str, asset: str, amount: Decimal) -> None:
        self.of(account, asset).free -= amount
        self.touched.add((account, asset))

    def give(self, account: str, asset: str, amount: Decimal) -> None:
        self.of(account, asset).free += amount
        self.touched.add((account, asset))

    def total(self, asset: str) -> Decimal:
        """The sum over all accounts: constant for ever, whatever is traded."""
        return sum((assets[asset].total for assets in self._accounts.values() if asset in assets), ZERO)
