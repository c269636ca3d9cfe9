# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What has to be right before a fleet is touched: the run's own login at one tenant, the clock, and the store.

Everything is looked at, and what is wrong is said at once. Nothing is written but, where that is asked for, a marker in
the store: a later run that finds it proves that the store keeps what a run writes.
"""

from __future__ import annotations

import datetime
import email.utils
import typing as t

from .access import held, look_up
from .auth import Connection, Info
from .client import Client, Raw
from .errors import HaloError, one_line
from .lifecycle import MARKER
from .resources.agent import AGENT, ROLES, TEAMS
from .resources.application import APPLICATION
from .resources.role import ROLE
from .rotation import Clock, Store
from .run import Result, try_login
from .spec import FLEET, Spec, fold
from .store_move import PLACE

OK, WARNING, FAILED = "ok", "warning", "failed"
# what lets manage agents and applications
ENOUGH = ("all", "admin")
LISTS = (AGENT.path, APPLICATION.path, ROLES.path, TEAMS.path)
PREFLIGHT = Spec(
    {
        **PLACE,
        "store_marker": {"type": "str", "choices": ["ignore", "write", "require"], "default": "ignore"},
        "max_skew": {"type": "int", "default": 60},
        "fleet": FLEET,
    }
)


class Check(t.NamedTuple):
    """Something that was looked at: ``state`` is ok, warning or failed."""

    name: str
    state: str
    text: str


def result(checks: t.Sequence[Check], *, instance: str, check_mode: bool, changed: bool) -> Result:
    """What the task returns.

    :returns: ``{changed, instance, check_mode, checks: [{name, state, text}]}``, with ``failed`` and ``msg`` where a
        check failed
    """
    found: Result = {
        "changed": changed,
        "instance": instance,
        "check_mode": check_mode,
        "checks": [{"name": check.name, "state": check.state, "text": check.text} for check in checks],
        "diff": {"before": {"marker": None} if changed else {}, "after": {"marker": "written"} if changed else {}},
    }
    if failed := [f"{check.name}: {check.text}" for check in checks if check.state == FAILED]:
        found |= {"failed": True, "msg": "; ".join(failed)}
    return found


def of_error(name: str, error: HaloError) -> Check:
    """A check that could not be made, in the error's own words; the instance is known."""
    answer = f" Halo said: {error.answer}" if error.answer else ""
    return Check(name, FAILED, one_line(f"{error.message}{answer} {error.hint or ''}".strip(), 600))


# Halo


def look_at_halo(client: Client, clock: Clock, max_skew: int) -> list[Check]:
    """The address, the clock, and what the run's own login may do.

    ``GET /AuthInfo``, ``POST /token``, ``GET /Agent/me``, ``/Agent/{id}``, ``/Roles/{id}``, and one row of each list
    that the engine reads.

    :param max_skew: by how many seconds the server's clock and this one may differ
    """
    try:
        info = client.login.info()
    except HaloError as error:
        # what is asked next would wait for the same
        return [of_error("address", error)]
    checks = [*look_at_address(client.login.connection, info), look_at_clock(info.response.date, clock.now(), max_skew)]
    try:
        answer, refusal = try_login(client)
    except HaloError as error:
        return [*checks, of_error("login", error)]
    if refusal:
        return [*checks, of_error("login", refusal)]
    checks.append(look_at_scope(answer["scope"], client.login.connection))
    me: Raw = client.me() if answer["agent"] else {}
    return [*checks, *_look_at_agent(client, me), _look_at_lists(client)]


def look_at_address(connection: Connection, info: Info) -> list[Check]:
    """Whether address, authorisation server and tenant are what the instance says, or are mixed up."""
    url, own, tenant = connection.url, connection.auth_url, connection.tenant
    wrong, unlike = [], []
    if url.lower().endswith("/auth") or (info.server and info.server != url and _same(own, url)):
        wrong.append(f"halo_url is {url}, which is the address of an authorisation server; give that of the instance")
    if tenant and ("/" in tenant or "." in tenant):
        wrong.append(f"halo_tenant is {tenant}, which is an address; give the name that Halo shows as Tenant")
    elif tenant and info.tenant and fold(tenant) != fold(info.tenant):
        wrong.append(f"halo_tenant is {tenant}, and the instance says {info.tenant}")
    if own and info.server and not _same(own, info.server):
        unlike.append(f"halo_auth_url is {own}, and the instance names {info.server}")
    if not info.server:
        unlike.append(f"GET /AuthInfo answered {info.response.status} and names no authorisation server")
    if wrong:
        return [Check("address", FAILED, one_line("; ".join([*wrong, *unlike]), 600))]
    if unlike:
        return [Check("address", WARNING, one_line("; ".join(unlike), 600))]
    return [Check("address", OK, f"authorisation server {info.server}, tenant {info.tenant or 'not set'}")]


def _same(one: str | None, other: str) -> bool:
    return bool(one) and fold(one).rstrip("/") == fold(other).rstrip("/").removesuffix("/token")


def look_at_clock(date: str, now: datetime.datetime, max_skew: int) -> Check:
    """How far the server's clock is from this one.

    :param date: of an answer that came just now
    """
    try:
        # the header knows whole seconds
        seconds = round((email.utils.parsedate_to_datetime(date) - now).total_seconds() + 0.5)
    except (TypeError, ValueError):
        return Check("clock", WARNING, "the server does not say its time")
    if abs(seconds) <= 1:
        return Check("clock", OK, "the server's and this one agree")
    text = f"the server's is {abs(seconds)} s {'ahead of' if seconds > 0 else 'behind'} this one"
    return Check("clock", OK if abs(seconds) <= max_skew else FAILED, f"{text} (max_skew: {max_skew})")


def look_at_scope(granted: str | None, connection: Connection) -> Check:
    """Whether the token's scope is enough."""
    if connection.access_token:
        return Check("scope", OK, "that of halo_access_token, which does not say it")
    scope = one_line(granted or connection.scope)
    if set(scope.split()) & set(ENOUGH):
        return Check("scope", OK, scope)
    return Check("scope", FAILED, f"{scope} is not enough: agents and applications take all or admin (halo_scope)")


def _look_at_agent(client: Client, me: Raw) -> list[Check]:
    if not me:
        return [Check("agent", WARNING, "Halo does not say as which agent this login is")]
    agent = look_up(client, me.get("id"))
    permissions, teams = held(client, agent)
    own = ROLE.field("permissions").read({"claims": me.get("claims")})
    administrator = own.get("administrator", (permissions or {}).get("administrator"))
    name = f"{me.get('name')}{'' if me.get('isapiagent') else ' (a human agent)'}"
    state, word = {
        True: (OK, "administrator"),
        None: (WARNING, "whether it is an administrator cannot be read"),
    }.get(administrator, (FAILED, "no administrator; give it a role that is"))
    roles = [str(role.get("name")) for role in agent.get("roles") or []]
    listed = ", ".join(roles) if roles else "none that can be read"
    there = "cannot be read" if teams is None else ", ".join(team.label for team in teams) or "none"
    return [Check("agent", state, one_line(f"{name}, {word}")), Check("roles", OK, f"{listed}; teams: {there}")]


def _look_at_lists(client: Client) -> Check:
    """One row of each list that the engine reads."""
    wrong = []
    for path in LISTS:
        try:
            if not client.has_rows(path) and path in (AGENT.path, APPLICATION.path):
                wrong.append(f"GET {path} gives no rows, which cannot be")
        except HaloError as error:
            wrong.append(error.message.rstrip("."))
    if wrong:
        return Check("access", FAILED, "; ".join(wrong))
    return Check("access", OK, "agents, applications, roles and teams can be read")


# The store


def look_at_store(
    opened: t.Callable[[], tuple[str, Store]], marker: str, *, now: str, check_mode: bool
) -> tuple[list[Check], bool]:
    """Whether the store can be read, and whether it has kept what an earlier run wrote.

    :param opened: what it is called in texts, and the store; raises HaloError where it cannot work
    :param marker: ``write`` writes one where there is none, ``require`` fails then
    :param now: the time, as the marker is to say it
    :returns: the checks, and whether a marker was written, or in check mode would be
    """
    try:
        name, store = opened()
        entries = len(store.others([MARKER]))
        since = store.read(MARKER)[0].get("marker")
        many = "no entries" if not entries else "1 entry" if entries == 1 else f"{entries} entries"
        known = Check("store", OK, f"{name} can be read and holds {many}")
        if since:
            return [known, Check("marker", OK, f"the store has kept it since {since}")], False
        if marker == "require":
            text = "the store has none: what an earlier run wrote is not there, or no run has written one"
            return [known, Check("marker", FAILED, text)], False
        if marker == "ignore":
            return [known], False
        if not check_mode:
            with store.hold():
                found, version = store.read(MARKER)
                store.write(MARKER, {**found, "marker": now}, version)
    except HaloError as error:
        return [of_error("store", error)], False
    written = "would be written" if check_mode else "written now"
    return [known, Check("marker", OK, f"{written}; that a later run finds it proves that the store keeps it")], True
