# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""API applications (Halo's model NHD_Identity_Application, ``/Application``).

Halo publishes no raw values of ``grant_type`` and ``loginentity``. Every spelling that clients have seen is accepted,
and the first of each is sent. The login type is read from the login agent and from who may log in; ``loginentity`` is
left alone.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ..client import Client, Raw
from ..errors import HaloError, Refused
from ..plan import Change
from ..secret import POLICIES, Rotation
from ..spec import Choice, Field, Flag, OneRef, Option, Resource, Secret, Target, Text, Values, fold
from .agent import EVERYONE

AGENTS = Target("agent", "/Agent", EVERYONE)

# Halo's web application for agents has this client ID on every instance
AGENT_WEB_APPLICATION = "24fe0a24-85d5-46d4-b9c6-721e23f25843"

METHODS = {
    "client_credentials": ("client_credentials", "clientcredentials", "client credentials"),
    "authorization_code": ("authorization_code", "code", "authorizationcode"),
    "implicit": ("implicit",),
    "password": ("password",),
    "api_key": ("apikey", "api_key", "api key"),
}
WITHOUT_SECRET = ("implicit", "api_key")
BY_AGENT = ("client_credentials", "api_key")

# what Halo itself, where it offers them, says not to use in production
BROAD = ("all", "all:teams", "admin")

# what a login hangs on: a mistake in one of them locks out whoever uses it
LOGIN = ("enabled", "authentication_method", "login_type", "login_agent", "scopes")

_LIST = {"type": "list", "elements": "str"}


@dataclasses.dataclass(frozen=True)
class LoginType(Field):
    """As an agent, or as the user who logs in."""

    def read(self, raw: Raw) -> str | None:
        if raw.get("loginas_agent_id"):
            return "agent"
        if raw.get("allowusers") and not raw.get("allowagents"):
            return "user"
        return "agent" if raw.get("allowagents") else None

    def write(self, value: str, now: Raw | None = None) -> Raw:
        if value == "agent":
            return {"allowagents": True}
        return {"allowagents": False, "allowusers": True, "loginas_agent_id": 0}

    @property
    def sent(self) -> tuple[str, ...]:
        return ("allowagents", "allowusers", "loginas_agent_id")


def is_system(raw: Raw) -> bool:
    """Whether one of Halo's own programs depends on this application."""
    web_application = str(raw.get("clientId") or "").lower() == AGENT_WEB_APPLICATION
    return bool(raw.get("_issystem") or str(raw.get("system_use") or "").strip() or web_application)


def _uris(name: str, api: str, joined: str) -> Values:
    return Values(name, api, _LIST, key="value", joined=joined, also=("label",))


def _uses_secret(view: t.Mapping[str, t.Any]) -> bool:
    return view.get("authentication_method") not in WITHOUT_SECRET


def advise(change: Change) -> list[str]:
    """What a new application lacks without which nobody can use it, and which of the scopes it gets is too much."""
    view, warnings = change.after or {}, []
    broad = [scope for scope in BROAD if scope in view.get("scopes", ())]
    if broad and "scopes" in change.fields:
        warnings.append(
            f"is granted the scope {' and '.join(broad)}, which Halo says not to use in production. Grant what it "
            "needs, such as read:tickets."
        )
    if change.action != "create":
        return warnings
    by_agent = view.get("login_type") == "agent" and view.get("authentication_method") in BY_AGENT
    if by_agent and (view.get("login_agent") or {}).get("id") is None:
        warnings.append("has no login agent: nothing can log in with it.")
    if not view.get("scopes"):
        warnings.append("has no scopes: a login with it opens nothing.")
    return warnings


ROTATION_OPTIONS: dict[str, Option] = {
    "login_agent_id": {"type": "int"},
    "regenerate_secret": {"type": "str", "choices": list(POLICIES), "default": "on_agent_change"},
    "new_client_secret": {"type": "str", "no_log": True},
    "defer_rotation": {"type": "bool", "default": False},
}


def guard(
    client: Client, params: t.Mapping[str, t.Any], current: Raw | None, change: Change, rotation: Rotation
) -> None:
    """Halo's own applications stay as they are, and the run does not saw off its branch.

    :raises Refused: see ``allow_system`` and ``allow_self``
    """
    if current is None or not (change.changed or rotation.required):
        return
    if is_system(current) and not params["allow_system"]:
        raise Refused(
            "it is a system application of Halo and is not touched.",
            hint="Choose another name, or set allow_system: true if you know what depends on it.",
        )
    guard_self(client, params, current.get("clientId"), current.get("loginas_agent_id"), change, rotation)


def guard_self(
    client: Client,
    params: t.Mapping[str, t.Any],
    client_id: t.Any,
    agent_id: t.Any,
    change: Change,
    rotation: Rotation,
) -> None:
    """Refuse to change what this very run logs in with.

    With an access token alone, it may be any application that logs in as the token's agent.

    :param client_id: of the application concerned
    :param agent_id: what it logs in as
    :raises Refused: see ``allow_self``
    """
    if params["allow_self"]:
        return
    if change.action == "delete":
        hint = "Set allow_self: true to delete it all the same, and log in with another application from then on."
    elif rotation.required:
        hint = "Set allow_self: true, and keep the new secret for the next run."
    elif set(LOGIN) & set(change.fields):
        hint = "Set allow_self: true to change it all the same; a mistake locks the next run out."
    else:
        return
    own = client.login.connection.client_id
    if own:
        if fold(client_id) == fold(own):
            raise Refused("it is what this run itself logs in with; its login is not changed.", hint=hint)
        return
    try:
        me = client.me().get("id")
    except HaloError:
        me = None
    if me is None or fold(me) == fold(agent_id):
        known = ", and this one logs in as the token's agent" if me is not None else ", nor Halo of which agent"
        raise Refused(
            "it may be what this run itself logs in with; its login is not changed: halo_access_token does not say of "
            f"which application it is{known}.",
            hint=f"Give halo_client_id too, so that it can be told. {hint}",
        )


APPLICATION = Resource(
    noun="application",
    key="application",
    path="/Application",
    name_api="displayName",
    id_option="application_id",
    id_type="str",
    details=("scopes",),
    sparse=True,
    fields=(
        Text("name", "displayName", {"type": "str"}),
        Flag("enabled", "inactive", {"type": "bool", "default": True}, inverted=True),
        Choice(
            "authentication_method",
            "grant_type",
            {"type": "str", "choices": list(METHODS)},
            spellings=METHODS,
        ),
        LoginType("login_type", "allowagents", {"type": "str", "choices": ["agent", "user"]}),
        OneRef("login_agent", "loginas_agent_id", {"type": "str"}, target=AGENTS, name_api="loginas_agent_name"),
        Values("scopes", "scopes", _LIST, key="name"),
        _uris("redirect_uris", "redirecturi_list", "redirecturi"),
        _uris("logout_redirect_uris", "postlogoutredirecturi_list", "logoutredirecturi"),
        _uris("cors_origins", "cors_whitelist_list", "cors_whitelist"),
    ),
    defaults={"authentication_method": "client_credentials", "login_type": "agent"},
    computed={"client_id": lambda raw: raw.get("clientId") or None, "system": is_system},
    secret=Secret("clientSecret", "clientId", _uses_secret),
    reserved=("clientId", "clientSecret", "new_apikey1", "new_apikey2", "tokens", "authorizations"),
    guard=guard,
    advise=advise,
    plural="applications",
    filters={"include_system": {"type": "bool", "default": False}},
    keep=lambda raw, params: params["include_system"] or not is_system(raw),
    extra={
        **ROTATION_OPTIONS,
        "allow_system": {"type": "bool", "default": False},
        "allow_self": {"type": "bool", "default": False},
    },
)
