# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Agents (Halo's model Uname, ``/Agent``)."""

from __future__ import annotations

import typing as t
from urllib.parse import quote

from ..client import Client, Raw
from ..errors import HaloError, Refused
from ..plan import Change
from ..spec import Flag, NameRef, Refs, Resource, Target, Text, fold

ROLES = Target("role", "/Roles", more_ids=("id_int",))
TEAMS = Target("team", "/Team", {"includeenabled": "true", "includedisabled": "true"})

# Halo's list hides API-only and disabled agents unless asked for; overlooking one would make a duplicate
EVERYONE = {"includeenabled": "true", "includedisabled": "true", "includeapiagents": "true"}

# what an agent may do in a team, and what the web application sets for a new member of one
SWITCHES = {
    "can_be_assigned": "in_section",
    "sees_unassigned": "unassigned_access",
    "sees_others": "otheragent_access",
    "leader": "is_manager",
}
NEW_MEMBER = {"in_section": True, "unassigned_access": True, "otheragent_access": True, "is_manager": False}


def guard(client: Client, params: t.Mapping[str, t.Any], current: Raw | None, change: Change, rotation: t.Any) -> None:
    """A human is not turned into a program, and no application is locked out.

    :raises Refused: see ``allow_conversion`` and ``force``
    """
    if current is None or not change.changed:
        return
    human = not current.get("isapiagent")
    if "api_only" in change.fields and params["api_only"] and not params["allow_conversion"]:
        raise Refused(
            "it is a human agent and is not turned into an API-only one.",
            hint="Choose another name, or set allow_conversion: true to take the web login from this agent.",
        )
    if change.action == "delete" and human and params["api_only"] and not params["force"]:
        raise Refused(
            "it is a human agent and is not deleted.", hint="Set force: true, or api_only: false if a human is meant."
        )
    disabled = "enabled" in change.fields and not params["enabled"]
    if (change.action == "delete" or disabled) and not params["force"]:
        users = logging_in_as(client, current["id"])
        if users:
            raise Refused(
                f"it is the login agent of {', '.join(users)}; which cannot log in without it.",
                hint="Bind them to another agent first, or set force: true.",
            )


def guard_retirement(client: Client, current: Raw) -> None:
    """An agent that served a binding goes only if it is a program's, and nothing else logs in as it.

    :raises Refused: it stays
    """
    name = current.get("name")
    if not current.get("isapiagent"):
        raise Refused(
            f"the agent '{name}' is a human one and stays as it is.",
            hint="Set previous_agent: keep, or disable it in Halo if nobody needs it.",
        )
    users = logging_in_as(client, current["id"])
    if users:
        raise Refused(
            f"the agent '{name}' is still the login agent of {', '.join(users)}, and stays as it is.",
            hint="Disable it in Halo once they are bound to another agent, or keep it: previous_agent: keep.",
        )


def logging_in_as(client: Client, agent_id: t.Any) -> list[str]:
    """What logs in as this agent, in words: applications and the Halo Integrator.

    :raises HaloError: it cannot be seen; what cannot be seen may log in as it
    """
    users = []
    for row in client.list("/Application"):
        found: Raw | None = row
        if "loginas_agent_id" not in row or fold(row["loginas_agent_id"]) == fold(agent_id):
            # the list may be late to show that it logs in as another one by now
            found = client.get(f"/Application/{quote(str(row['id']), safe='')}", {"includedetails": "true"})
        if not found:
            raise HaloError(
                f"which agent the application '{row.get('displayName')}' ({row['id']}) logs in as cannot be read.",
                hint="Nothing was changed; run again.",
            )
        if fold(found.get("loginas_agent_id")) == fold(agent_id):
            users.append(f"application '{row.get('displayName')}'")
    control = client.get("/Control")
    if not control:
        raise HaloError(
            "which agent the Halo Integrator logs in as cannot be read: GET /Control gave nothing.",
            hint="Nothing was changed; run again.",
        )
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
        Refs("roles", "roles", {"type": "list", "elements": "str"}, target=ROLES, summary="role_list"),
        Refs(
            "teams",
            "teams",
            {"type": "list", "elements": "raw"},
            target=TEAMS,
            id_key="team_id",
            name_key="team_name",
            switches=SWITCHES,
            fresh=NEW_MEMBER,
        ),
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
