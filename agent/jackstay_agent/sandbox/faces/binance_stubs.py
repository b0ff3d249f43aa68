"""The corners of Binance a keyed client's load_markets asks for. There is no margin and no delivery market here, and
the answers say so: empty lists in the right shape."""

from __future__ import annotations

from typing import Any

from ..answers import Call
from ..venue import Venue

COIN_NAMES = {"BTC": "Bitcoin", "ETH": "Ethereum", "USDT": "TetherUS", "BNB": "BNB"}


def coins(venue: Venue, call: Call) -> list[Any]:
    """GET /sapi/v1/capital/config/getall: the account's coins, none of which can be withdrawn."""
    wallet = venue.exchange.wallets.assets(call.account)
    return [
        {
            "coin": coin,
            "name": name,
            "depositAllEnable": False,
            "withdrawAllEnable": False,
            "free": f"{wallet[coin].free:.8f}" if coin in wallet else "0",
            "locked": f"{wallet[coin].locked:.8f}" if coin in wallet else "0",
            "trading": True,
            "isLegalMoney": False,
            "networkList": [],
        }
        for coin, name in COIN_NAMES.items()
    ]


def nothing(venue: Venue, call: Call) -> list[Any]:
    return []


def no_symbols(venue: Venue, call: Call) -> dict[str, Any]:
    return {"timezone": "UTC", "serverTime": call.now, "rateLimits": [], "exchangeFilters": [], "symbols": []}


def key_restrictions(venue: Venue, call: Call) -> dict[str, Any]:
    """GET /sapi/v1/account/apiRestrictions: what the asking key may do."""
    key = venue.keys.get(call.key)
    granted = key.permissions if key else frozenset[str]()
    return {
        "ipRestrict": False,
        "createTime": 1577836800000,
        "enableReading": "read" in granted,
        "enableSpotAndMarginTrading": "trade" in granted,
        "enableFutures": "trade" in granted,
        "enableWithdrawals": "withdraw" in granted,
        "enableInternalTransfer": False,
        "enableMargin": False,
        "permitsUniversalTransfer": False,
        "enableVanillaOptions": False,
        "enablePortfolioMarginTrading": False,
    }


def system_status(venue: Venue, call: Call) -> dict[str, Any]:
    down = venue.exchange.trading.in_maintenance
    return {"status": int(down), "msg": "system_maintenance" if down else "normal"}
