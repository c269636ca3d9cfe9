# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What Halo says of a login's rights: a row of what it is to read, the permissions of its roles, its teams."""

from __future__ import annotations

import typing as t
from urllib.parse import quote

from .client import Client, Raw
from .errors import HaloError
from .resources.agent import AGENT
from .resources.role import ROLE, Word
from .rights import EMPTY, REFUSED, RIGHTS, ROWS, Known, is_judged_by_roles, judge
from .spec import Ref

Permissions = dict[str, Word]


def ask(client: Client, names: t.Iterable[str], known: t.Callable[[], Known]) -> list[dict[str, t.Any]]:
    """Ask for one row of each of these rights, and judge the answers. ``GET /Tickets``, ``/Client`` and so on.

    :param client: of the login that is to have them
    :param names: of RIGHTS
    :param known: reads what else is known of that login; called where a row alone does not say it
    :returns: what ``rights.judge`` says of each
    :raises HaloError: Halo could not be asked
    """
    names = list(dict.fromkeys(names))
    answers: dict[str, str] = {}
    for path in dict.fromkeys(RIGHTS[name].area.path for name in names):
        answers[path] = _answer(client, path)
    open_ones = any(is_judged_by_roles(name, answers[RIGHTS[name].area.path]) for name in names)
    found = known() if open_ones else Known(frozenset())
    return [judge(name, answers[RIGHTS[name].area.path], found) for name in names]


def _answer(client: Client, path: str) -> str:
    try:
        return ROWS if client.has_rows(path) else EMPTY
    except HaloError as error:
        if error.status not in (401, 403):
            raise
        return REFUSED


def look_up(client: Client, agent_id: t.Any) -> Raw:
    """An agent with its roles and teams, ``GET /Agent/{id}``; empty where it cannot be read."""
    return _read(client, AGENT.path, agent_id)


def held(client: Client, agent: Raw) -> tuple[Permissions | None, list[Ref] | None]:
    """What an agent's roles allow together, and the teams that it is in; None for what cannot be read.

    ``GET /Roles/{id}``. What was granted to the agent itself comes on top of its roles.

    :param client: of a login that may read roles
    :param agent: as :func:`look_up` gives it
    """
    teams = AGENT.field("teams").read(agent) if isinstance(agent.get("teams"), list) else None
    roles = agent.get("roles")
    if not isinstance(roles, list):
        return None, teams
    claims = list(agent.get("claims") or [])
    for role in roles:
        found = _read(client, ROLE.path, role.get("id")).get("claims")
        if not isinstance(found, list):
            return None, teams
        claims += found
    return ROLE.field("permissions").read({"claims": claims}), teams


def _read(client: Client, path: str, identity: t.Any) -> Raw:
    try:
        return client.get(f"{path}/{quote(str(identity), safe='')}", {"includedetails": "true"}) or {}
    except HaloError:
        return {}
