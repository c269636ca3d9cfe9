# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a preflight makes of what it sees: of addresses, clocks, scopes, agents, and stores."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible_collections.haloops.halo.plugins.module_utils.auth import Info
from ansible_collections.haloops.halo.plugins.module_utils.errors import HaloError, TenantBusy
from ansible_collections.haloops.halo.plugins.module_utils.lifecycle import MARKER, entry
from ansible_collections.haloops.halo.plugins.module_utils.preflight import (
    Check,
    look_at_address,
    look_at_clock,
    look_at_halo,
    look_at_scope,
    look_at_store,
    result,
)
from helpers.memory import Halo, answer

URL, SERVER = "https://acme.example.com", "https://acme.example.com/auth"
NOW = datetime.datetime(2026, 6, 30, 12, 0, 0, 400_000, tzinfo=datetime.UTC)


class Clock:
    def now(self) -> datetime.datetime:
        return NOW

    def sleep(self, seconds: float) -> None:
        raise AssertionError("a preflight waits for nothing")


# Addresses


# options, what AuthInfo names, state, text
ADDRESSES: dict[str, tuple[dict[str, Any], tuple[Any, Any], str, str]] = {
    "as it is": ({}, (SERVER, "acme"), "ok", f"authorisation server {SERVER}, tenant acme"),
    "on premises": ({}, (SERVER, None), "ok", f"authorisation server {SERVER}, tenant not set"),
    "the same, given": ({"halo_auth_url": f"{SERVER}/token", "halo_tenant": "ACME"}, (SERVER, "acme"), "ok", SERVER),
    "a trial": ({"halo_auth_url": URL}, (URL, "acme"), "ok", f"authorisation server {URL}"),
    "of another tenant": ({"halo_tenant": "globex"}, (SERVER, "acme"), "failed", "globex, and the instance says acme"),
    "an address as tenant": ({"halo_tenant": "acme.example.com"}, (SERVER, None), "failed", "which is an address"),
    "the server as address": (
        {"halo_url": SERVER}, (None, None), "failed", "is the address of an authorisation server",
    ),
    "both mixed up": (
        {"halo_url": "https://login.example.com", "halo_auth_url": "https://login.example.com"}, (SERVER, None),
        "failed", "is the address of an authorisation server",
    ),
    "another server": (
        {"halo_auth_url": "https://login.example.com"}, (SERVER, "acme"),
        "warning", f"halo_auth_url is https://login.example.com, and the instance names {SERVER}",
    ),
    "nothing named": ({}, (None, None), "warning", "GET /AuthInfo answered 404 and names no authorisation server"),
}  # fmt: skip


@pytest.mark.parametrize(("options", "named", "state", "text"), ADDRESSES.values(), ids=ADDRESSES)
def test_addresses(options: dict[str, Any], named: tuple[Any, Any], state: str, text: str) -> None:
    connection = Halo().client(**options).login.connection
    (check,) = look_at_address(connection, Info(answer({}, 200 if named[0] else 404), *named))
    assert (check.name, check.state) == ("address", state)
    assert text in check.text


# The clock


@pytest.mark.parametrize(
    ("date", "state", "text"),
    [
        ("Tue, 30 Jun 2026 12:00:00 GMT", "ok", "the server's and this one agree"),
        ("Tue, 30 Jun 2026 12:00:01 GMT", "ok", "the server's and this one agree"),
        ("Tue, 30 Jun 2026 12:00:30 GMT", "ok", "the server's is 30 s ahead of this one (max_skew: 60)"),
        ("Tue, 30 Jun 2026 11:59:20 GMT", "ok", "the server's is 40 s behind this one (max_skew: 60)"),
        ("Tue, 30 Jun 2026 12:02:00 GMT", "failed", "the server's is 120 s ahead of this one (max_skew: 60)"),
        ("Tue, 30 Jun 2026 11:00:00 GMT", "failed", "the server's is 3600 s behind this one (max_skew: 60)"),
        ("Tue, 30 Jun 2026 12:00:00", "warning", "the server does not say its time"),
        ("", "warning", "the server does not say its time"),
        ("soon", "warning", "the server does not say its time"),
    ],
)
def test_the_clock(date: str, state: str, text: str) -> None:
    assert look_at_clock(date, NOW, 60) == Check("clock", state, text)


# The login


@pytest.mark.parametrize(
    ("granted", "options", "state"),
    [
        ("all", {}, "ok"),
        ("read:tickets admin", {}, "ok"),
        (None, {"halo_scope": "admin"}, "ok"),
        (None, {"halo_scope": "all:standard"}, "failed"),
        ("all:teams read:tickets", {}, "failed"),
        (None, {"halo_access_token": "t", "halo_scope": "read:tickets"}, "ok"),
    ],
)
def test_the_scope(granted: Any, options: dict[str, Any], state: str) -> None:
    assert look_at_scope(granted, Halo().client(**options).login.connection).state == state


def test_a_scope_that_halo_names_does_nothing_to_a_terminal() -> None:
    found = look_at_scope("all \x1b]0;title\x07\nx", Halo().client().login.connection)
    assert found == Check("scope", "ok", "all x")


ADMINISTRATOR = {"type": "Administration", "value": "true"}
NO_ADMINISTRATOR = {"type": "Administration", "value": "false"}


def at(change: Callable[[Halo], Any] = lambda halo: None, **options: Any) -> dict[str, Check]:
    """What a preflight says of a tenant in memory, whose login agent is an administrator unless ``change`` says so."""
    halo = Halo()
    halo.agent(7, "api-own", roles=["r-1"], claims=[ADMINISTRATOR])
    change(halo)
    info = answer({"auth_url": SERVER, "tenant_id": None})._replace(date="Tue, 30 Jun 2026 12:00:00 GMT")
    halo.disturb("GET /AuthInfo", info)
    checks = look_at_halo(halo.client(**options), Clock(), 60)
    assert halo.writes == []
    return {check.name: check for check in checks}


def states(checks: dict[str, Check]) -> dict[str, str]:
    return {name: check.state for name, check in checks.items()}


def disturbed(request: str, reply: Any) -> Callable[[Halo], None]:
    return lambda halo: halo.disturb(request, reply, times=9)


def me(**fields: Any) -> Callable[[Halo], None]:
    return lambda halo: halo.agents[7].update(fields)


def role(value: str) -> Callable[[Halo], None]:
    """Nothing but the claims of its role says whether it is an administrator."""

    def change(halo: Halo) -> None:
        halo.agents[7]["claims"] = None
        halo.claims["r-1"] = [{"type": "SA", "value": value}] if value else None

    return change


def test_a_tenant_that_is_ready() -> None:
    found = at()
    assert states(found) == dict.fromkeys(["address", "clock", "scope", "agent", "roles", "access"], "ok")
    assert found["agent"].text == "api-own, administrator"
    assert found["roles"].text == "Admin; teams: none"


# what is there, the check that says so, its state and text
LOGINS: dict[str, tuple[Callable[[Halo], Any], str, str, str]] = {
    "refused": (
        disturbed("POST /token", answer({"error": "invalid_client"}, 401)), "login", "failed", "invalid_client",
    ),
    "no answer": (disturbed("POST /token", answer("gone", 503)), "login", "failed", "POST /token answered 503"),
    "no administrator": (
        me(claims=[NO_ADMINISTRATOR]), "agent", "failed", "api-own, no administrator",
    ),
    "a human": (
        me(isapiagent=None), "agent", "ok", "api-own (a human agent)",
    ),
    "administrator by its role": (role("true"), "agent", "ok", "administrator"),
    "no administrator by its role": (role("false"), "agent", "failed", "no administrator"),
    "not said": (role(""), "agent", "warning", "cannot be read"),
    "nobody": (disturbed("GET /Agent/me", answer(None, 403)), "agent", "warning", "does not say as which agent"),
    "no applications": (disturbed("GET /Application", answer(None, 403)), "access", "failed", "/Application answered"),
    "no rows": (disturbed("GET /Agent", answer([])), "access", "failed", "GET /Agent gives no rows"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "name", "state", "text"), LOGINS.values(), ids=LOGINS)
def test_logins(change: Callable[[Halo], Any], name: str, state: str, text: str) -> None:
    found = at(change)
    assert found[name].state == state
    assert text in found[name].text
    others = {state for other, state in states(found).items() if other not in (name, "clock")}
    assert others <= {"ok"}


def test_an_instance_that_does_not_answer_is_asked_once() -> None:
    def unknown() -> Any:
        raise HaloError("no connection could be made.", instance=URL, hint="Check halo_url.")

    halo = Halo()
    halo.disturb("GET /AuthInfo", unknown, times=9)
    checks = look_at_halo(halo.client(), Clock(), 60)
    assert checks == [Check("address", "failed", "no connection could be made. Check halo_url.")]
    assert halo.requests == ["GET /AuthInfo"]


def test_all_that_is_wrong_is_said_at_once() -> None:
    def change(halo: Halo) -> None:
        halo.agents[7]["claims"] = [NO_ADMINISTRATOR]
        halo.disturb("POST /token", answer({"access_token": "t", "scope": "read:tickets"}), times=9)
        for path in ("Application", "Roles"):
            halo.disturb(f"GET /{path}", answer(None, 403), times=9)
        late = answer({"auth_url": SERVER, "tenant_id": "globex"})._replace(date="Tue, 30 Jun 2026 13:00:00 GMT")
        halo.disturb("GET /AuthInfo", late)

    found = at(change, halo_tenant="acme")
    assert [name for name, state in states(found).items() if state == "failed"] == [
        "address", "clock", "scope", "agent", "access",
    ]  # fmt: skip
    whole = result(list(found.values()), instance=URL, check_mode=False, changed=False)
    assert whole["failed"] is True
    assert all(f"{name}: " in whole["msg"] for name in ("address", "clock", "scope", "agent", "access"))
    assert "GET /Application answered 403; GET /Roles answered 403" in whole["msg"]


# The store


class Kept:
    """A store in memory; ``fail`` names the call that fails, ``forgets`` lets it keep nothing."""

    def __init__(self, fail: str = "", forgets: bool = False, **entries: Any) -> None:
        self.entries = dict(entries)
        self.fail = fail
        self.forgets = forgets
        self.calls: list[str] = []
        self.held = False

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if self.fail == name:
            raise TenantBusy("another run is at work.") if name == "hold" else HaloError(f"it cannot {name}.")

    def read(self, name: str) -> tuple[Any, Any]:
        self._call("read")
        return entry(self.entries.get(name)), len(self.entries)

    def write(self, name: str, new: Any, version: Any) -> Any:
        self._call("write")
        assert self.held
        assert version == len(self.entries)
        if not self.forgets:
            self.entries[name] = new
        return version

    def names(self) -> list[str]:
        return list(self.entries)

    def others(self, names: Any) -> dict[str, Any]:
        self._call("list")
        return {name: one for name, one in self.entries.items() if name not in names}

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        self._call("hold")
        self.held = True
        yield
        self.held = False


SECRET = {"client_secret": "s3cret"}


def look(store: Kept, marker: str = "ignore", *, check_mode: bool = False) -> tuple[list[Check], bool]:
    return look_at_store(lambda: ("file", store), marker, now="2026-06-30T12:00:00+00:00", check_mode=check_mode)


def test_a_store_is_read_and_nothing_else() -> None:
    store = Kept(Sync=entry({"current": SECRET}))
    assert look(store) == ([Check("store", "ok", "file can be read and holds 1 entry")], False)
    assert store.calls == ["list", "read"]


def test_the_marker_is_written_once_and_found_from_then_on() -> None:
    store = Kept(Sync=entry({"current": SECRET}))
    before = dict(store.entries)
    checks, changed = look(store, "write", check_mode=True)
    assert (changed, store.entries, checks[1].text.startswith("would be written")) == (True, before, True)
    checks, changed = look(store, "write")
    assert (changed, checks[1].state) == (True, "ok")
    assert checks[1].text.startswith("written now")
    assert store.entries == {**before, MARKER: entry({"marker": "2026-06-30T12:00:00+00:00"})}
    store.calls.clear()
    for marker in ("write", "require", "ignore"):
        checks, changed = look(store, marker)
        assert (changed, checks[1].state) == (False, "ok")
        assert checks[1].text == "the store has kept it since 2026-06-30T12:00:00+00:00"
        assert "1 entry" in checks[0].text, "the marker is none"
    assert "write" not in store.calls


def test_a_store_that_keeps_nothing_is_found_out_by_the_next_run() -> None:
    store = Kept(forgets=True)
    assert look(store, "write")[1] is True
    (known, marker), changed = look(store, "require")
    assert (known.state, marker.state, changed) == ("ok", "failed", False)
    assert "what an earlier run wrote is not there" in marker.text


@pytest.mark.parametrize(("call", "said"), [("list", "cannot list"), ("hold", "at work"), ("write", "cannot write")])
def test_a_store_that_fails(call: str, said: str) -> None:
    (check,), changed = look(Kept(fail=call), "write")
    assert (check.name, check.state, changed) == ("store", "failed", False)
    assert said in check.text


def test_a_store_that_cannot_be_opened() -> None:
    def opened() -> Any:
        raise HaloError("it would be gone when this job ends.", hint="Nothing was changed.")

    checks, changed = look_at_store(opened, "write", now="", check_mode=False)
    assert (checks, changed) == (
        [Check("store", "failed", "it would be gone when this job ends. Nothing was changed.")], False,
    )  # fmt: skip
