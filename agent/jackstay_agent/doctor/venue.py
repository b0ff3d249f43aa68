"""What the network has to give, for the configured venues alone: names, TLS, their clock, what the key may do.

Each step is asked only if the one before it went well; what could not be asked is said to be unknown, never well. All
venues are asked side by side, each with limits of its own.
"""

from __future__ import annotations

import os
import socket
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from jackstay_protocols.errors import TradingBotError

from ..config import Config, profiles_of
from ..key_check import checked, exchange, operations_of
from ..transport.endpoint import Endpoint
from ..venues.answers import Broken, ServerTime
from ..venues.credentials import Credentials
from ..venues.profile import Profile
from .finding import Finding, Patient, fail, ok, skip, warn

CONNECT_WITHIN_S = 5.0
CERTIFICATE_WARN_DAYS = 14
CLOCK_WARN_S, CLOCK_FAIL_S = 0.25, 1.0  # venues refuse a signature from 1 s ahead of their own clock
NOBODY = Credentials("doctor", "doctor", "", "nobody's: the question is not signed")


def venue_checks(patient: Patient, *, offline: bool) -> Iterator[Finding]:
    config = patient.config
    if config is None:
        yield skip("venues", "not asked: the configuration is broken")
        return
    if not config.venues:
        yield skip("venues", "no venue is configured ([venues.NAME]), so nothing is asked of any")
        return
    if offline:
        yield skip(
            "venues", f"{', '.join(sorted(config.venues))} not asked (--offline): DNS, TLS, clock and keys unknown"
        )
        return
    with ThreadPoolExecutor(min(8, len(config.venues))) as pool:
        for found in pool.map(lambda name: list(_venue(config, name)), sorted(config.venues)):
            yield from found


def _venue(config: Config, name: str) -> Iterator[Finding]:
    section = config.venues[name]
    profile = profiles_of(config)[section.profile or name]
    endpoint = config.endpoint_for(profile.base_url)
    found = list(_reach(name, endpoint))
    yield from found
    if any(each.state == "fail" for each in found):
        yield skip("clock", f"{name}: not asked, for it is not reached")
        if section.keys is not None:
            yield skip("keys", f"{name}: not asked, for it is not reached")
        return
    yield from _clock(config, name, profile)
    if section.keys is None:
        return
    if section.keys.credential and "CREDENTIALS_DIRECTORY" not in os.environ:
        yield skip("keys", f"{name}: systemd gives the credential to the unit alone; jackstay keys check inside it")
        return
    told = checked(config, profile, section.keys, "")
    if told["withdraw"]:
        yield fail("keys", f"{name}: the key can withdraw", "make one without that permission; the agent needs none")
    elif not told["ok"]:
        yield warn("keys", f"{name}: {told['problem']}", "look at the venue's own page of the key")
    else:
        can = "may trade and cancel" if told["trade"] else "may read only: it cannot cancel for a stalled bot"
        yield ok("keys", f"{name}: {can}, cannot withdraw")


def _reach(name: str, endpoint: Endpoint) -> Iterator[Finding]:
    host, port = endpoint.dial_host, endpoint.dial_port
    led = f" (led to {host}:{port})" if endpoint.routed_elsewhere else ""
    try:
        addresses = sorted({each[4][0] for each in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)})
    except OSError as error:
        yield fail("dns", f"{name}: {host} does not resolve ({error})", f"is there a network? resolvectl query {host}")
        yield skip("tls", f"{name}: not tried, for {host} does not resolve")
        return
    yield ok("dns", f"{name}: {endpoint.host}{led} has {len(addresses)} addresses")
    began = time.perf_counter()
    try:
        with socket.create_connection((host, port), CONNECT_WITHIN_S) as line:
            if not endpoint.tls:
                mend = "" if endpoint.routed_elsewhere else "https:// in the profile"
                finding = ok if endpoint.routed_elsewhere else lambda check, what: warn(check, what, mend)
                yield finding("tls", f"{name}: {host}:{port} is reached, without TLS")
                return
            context = ssl.create_default_context(cafile=endpoint.ca_file or None)
            with context.wrap_socket(line, server_hostname=endpoint.server_hostname) as secure:
                took_ms = (time.perf_counter() - began) * 1000
                yield _certificate(name, secure, took_ms)
    except ssl.SSLError as error:
        mend = "is the machine's clock right, are its CA certificates there? else verify_as or ca_file in [upstreams]"
        yield fail("tls", f"{name}: {host}:{port} is not trusted: {error.reason or error}", mend)
    except OSError as error:
        yield fail("tls", f"{name}: {host}:{port} is not reached: {error}", "a firewall, a proxy, or the venue is down")


def _certificate(name: str, secure: ssl.SSLSocket, took_ms: float) -> Finding:
    shown = secure.getpeercert() or {}
    until = str(shown.get("notAfter", ""))
    what = f"{name}: {secure.version()} in {took_ms:.0f} ms"
    if not until:
        return ok("tls", what)
    days = (datetime.fromtimestamp(ssl.cert_time_to_seconds(until), UTC) - datetime.now(UTC)).days
    if days < CERTIFICATE_WARN_DAYS:
        return warn("tls", f"{what}, its certificate ends in {days} days", "the venue's to renew: watch it")
    return ok("tls", f"{what}, certificate good for {days} days")


def _clock(config: Config, name: str, profile: Profile) -> Iterator[Finding]:
    operations = operations_of(profile, NOBODY)
    if not operations.has("server_time"):
        yield skip("clock", f"{name}: the profile does not know how to ask the venue's time")
        return
    try:
        sent_s = time.time()
        status, body = exchange(config.endpoint_for(profile.base_url), operations.request("server_time"))
        took_s = time.time() - sent_s
        told = operations.read("server_time", status, body)
    except (TradingBotError, Broken, OSError) as error:
        yield skip("clock", f"{name}: the venue did not tell its time ({error})")
        return
    if not isinstance(told, ServerTime):
        yield skip("clock", f"{name}: the venue did not tell its time (status {status})")
        return
    offset_s = told.time_ms / 1000 - (sent_s + took_s / 2)
    unsure_s = took_s / 2 + told.resolution_ms / 1000
    what = f"{name}: this machine is {abs(offset_s) * 1000:.0f} ms {'behind' if offset_s > 0 else 'ahead'}"
    mend = "timedatectl set-ntp true (or chrony): signatures carry the time"
    if abs(offset_s) > CLOCK_FAIL_S + unsure_s:
        yield fail("clock", what, mend)
    elif abs(offset_s) > CLOCK_WARN_S + unsure_s:
        yield warn("clock", what, mend)
    else:
        yield ok("clock", f"{what} (± {unsure_s * 1000:.0f} ms)")
