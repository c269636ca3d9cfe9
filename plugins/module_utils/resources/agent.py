# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Agents (Halo's model Uname, ``/Agent``)."""

from __future__ import annotations

import typing as t

from ..client import Client, Raw
from ..errors import HaloError
from ..plan import Change
from ..spec import Flag, NameRef, Refs, Resource, Target, Text, fold

ROLES = Target("role", "/Roles", more_ids=("id_int",))
TEAMS = Target("team", "/Team", {"includeenabled": "true", "includedisabled": "true"})

# Halo's list hides API-only and disabled agents unless asked for; overlooking one would make a duplicate
EVERYONE = {"includeenabled": "true", "includedisabled": "true", "includeapiagents": "true"}

_LIST = {"type": "list", "elements": "str"}


def guard(client: Client, params: t.Mapping[str, t.Any], current: Raw | None, change: Change, rotation: t.Any) -> None:
    """A human is not turned into a program, and no application is locked out.

    :raises HaloError: see ``allow_conversion`` and ``force``
    """
    if current is None or not change.changed:
        return
    human = not current.get("isapiagent")
    if "api_only" in change.fields and params["api_only"] and not params["allow_conversion"]:
        raise HaloError(
            "it is a human agent and is not turned into an API-only one.",
            hint="Choose another name, or set allow_conversion: true to take the web login from this agent.",
        )
    if change.action == "delete" and human and params["api_only"] and not params["force"]:
        raise HaloError(
            "it is a human agent and is not deleted.", hint="Set force: true, or api_only: false if a human is meant."
        )
    disabled = "enabled" in change.fields and not params["enabled"]
    if (change.action == "delete" or disabled) and not params["force"]:
        users = logging_in_as(client, current["id"])
        if users:
            raise HaloError(
                f"it is the login agent of {', '.join(users)}; which cannot log in without it.",
                hint="Bind them to another agent first, or set force: true.",
            )


def logging_in_as(client: Client, agent_id: t.Any) -> list[str]:
    """What logs in as this agent, in words: applications and the Halo Integrator."""
    users = []
    for row in client.list("/Application"):
        if "loginas_agent_id" not in row:
            row = client.get(f"/Application/{row.get('id')}", {"includedetails": "true"}) or row
        if fold(row.get("loginas_agent_id")) == fold(agent_id):
            users.append(f"application '{row.get('displayName')}'")
    control = client.get("/Control") or {}
    if fold(control.get("loginas_halointegrator")) == fold(agent_id):
        users.append("the Halo Integrator")
    return users


def keep(raw: Raw, params: t.Mapping[str, t.Any]) -> bool:
    """The filters of the info module: ``api_only`` (None: all) and ``include_disabled``."""
    if params["api_only"] is not None and bool(raw.get("isapiagent")) != params["api_only"]:
        return False
    return bool(params["include_disabled"] or not raw.get("isdisabled"))


AGENT = Resource(
    noun="agent",
    key="agent",
    path="/Agent",
    id_option="agent_id",
    query=EVERYONE,
    details=("roles", "teams"),
    fields=(
        Text("name", "name", {"type": "str"}),
        Text("email", "email", {"type": "str"}),
        Flag("api_only", "isapiagent", {"type": "bool", "default": True}),
        Flag("enabled", "isdisabled", {"type": "bool", "default": True}, inverted=True),
        Refs("roles", "roles", _LIST, target=ROLES, summary="role_list"),
        Refs("teams", "teams", _LIST, target=TEAMS, id_key="team_id", name_key="team_name"),
        NameRef("default_team", "team", {"type": "str"}, target=TEAMS),
    ),
    reserved=("password",),
    guard=guard,
    plural="agents",
    filters={"api_only": {"type": "bool"}, "include_disabled": {"type": "bool", "default": True}},
    keep=keep,
    extra={
        "append": {"type": "bool", "default": False},
        "allow_conversion": {"type": "bool", "default": False},
        "force": {"type": "bool", "default": False},
    },
)
