# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""API applications (Halo's model NHD_Identity_Application, ``/Application``).

Halo publishes no raw values of ``grant_type`` and ``loginentity``. Every spelling that clients have seen is accepted;
the
first of each is sent. The login type is read from the login agent and from who may log in; ``loginentity`` is left
alone.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ..client import Client, Raw
from ..errors import HaloError
from ..plan import Change
from ..rotation import POLICIES, Rotation
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

    def write(self, value: str) -> Raw:
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


def _uses_secret(shown: t.Mapping[str, t.Any]) -> bool:
    return shown.get("authentication_method") not in WITHOUT_SECRET


ROTATION_OPTIONS: dict[str, Option] = {
    "login_agent_id": {"type": "int"},
    "known_login_agent": {"type": "str"},
    "regenerate_secret": {"type": "str", "choices": list(POLICIES), "default": "on_agent_change"},
    "new_client_secret": {"type": "str", "no_log": True},
    "defer_rotation": {"type": "bool", "default": False},
}


def guard(
    client: Client, params: t.Mapping[str, t.Any], current: Raw | None, change: Change, rotation: Rotation
) -> None:
    """Halo's own applications stay as they are, and the run does not saw off its branch.

    :raises HaloError: see ``allow_system`` and ``allow_self``
    """
    if current is None or not (change.changed or rotation.required):
        return
    if is_system(current) and not params["allow_system"]:
        raise HaloError(
            "it is a system application of Halo and is not touched.",
            hint="Choose another name, or set allow_system: true if you know what depends on it.",
        )
    guard_self(client, params, current.get("clientId"), change, rotation)


def guard_self(
    client: Client, params: t.Mapping[str, t.Any], client_id: t.Any, change: Change, rotation: Rotation
) -> None:
    """Refuse to change what this very run logs in with.

    :raises HaloError: see ``allow_self``
    """
    locks_out = rotation.required or change.action == "delete" or "enabled" in change.fields
    own = client.login.connection.client_id
    if locks_out and client_id and fold(client_id) == fold(own) and not params["allow_self"]:
        raise HaloError(
            "it is what this run itself logs in with; its login is not changed.",
            hint="Set allow_self: true, and keep the new secret for the next run.",
        )


APPLICATION = Resource(
    noun="application",
    key="application",
    path="/Application",
    name_api="displayName",
    id_option="application_id",
    id_type="str",
    details=("scopes",),
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
    shown={"client_id": lambda raw: raw.get("clientId") or None, "system": is_system},
    secret=Secret("clientSecret", "clientId", "login_agent", _uses_secret),
    reserved=("clientId", "clientSecret", "new_apikey1", "new_apikey2"),
    guard=guard,
    plural="applications",
    filters={"include_system": {"type": "bool", "default": False}},
    keep=lambda raw, params: params["include_system"] or not is_system(raw),
    extra={
        **ROTATION_OPTIONS,
        "allow_system": {"type": "bool", "default": False},
        "allow_self": {"type": "bool", "default": False},
    },
)
