# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the sandbox sends and takes has the names and types of Halo's own description, of which an excerpt is kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from halo_sandbox import fields
from halo_sandbox.testing import Sandbox

Shapes = dict[str, dict[str, Any]]

_EXCERPT = Path(__file__).resolve().parent / "data" / "halo_fields.json"

# (schema, property): why it may be sent although Halo's description does not have it
EXCEPTIONS = {
    ("Uname", "FavouriteTea"): "unknown fields are kept, by rule",
}
# No schema describes these answers: AuthInfo and InstanceInfo have none, Lookup is not in the description at hand, and
# a page's record_count, page_no and page_size stand around the rows of every list.


@pytest.fixture(scope="module")
def shapes() -> Shapes:
    found: Shapes = json.loads(_EXCERPT.read_text("utf-8"))
    return found


class Client:
    """The API of a tenant with its seeded credentials."""

    def __init__(self, tenant: dict[str, str]) -> None:
        self.url = tenant["url"]
        form = {name: tenant[name] for name in ("client_id", "client_secret")}
        form |= {"grant_type": "client_credentials", "scope": "all"}
        answer = requests.post(f"{self.url}/auth/token", data=form, timeout=10).json()
        self.headers = {"Authorization": f"Bearer {answer['access_token']}"}

    def get(self, path: str, **query: str) -> Any:
        return requests.get(f"{self.url}/api/{path}", params=query, headers=self.headers, timeout=10).json()

    def save(self, path: str, **row: Any) -> Any:
        return requests.post(f"{self.url}/api/{path}", json=[row], headers=self.headers, timeout=10).json()


@pytest.fixture(scope="module")
def halo() -> Iterator[Client]:
    with Sandbox(tenants=1) as sandbox:
        client = Client(sandbox.tenants["acme"])
        agent = client.save(
            "Agent",
            name="x",
            email="x@example.com",
            team="Projects",
            roles=[{"id": client.get("Roles")[0]["id"]}],
            departments=[{"department_id": 1}],
            teams=[{"team_id": 1, "in_section": True, "fortickets": True, "foropps": False, "forprojects": False}],
            FavouriteTea="Assam",
        )
        uris = [{"value": "https://a.example.com"}]
        client.save(
            "Application",
            displayName="x",
            loginas_agent_id=agent["id"],
            scopes=[{"name": "all"}],
            redirecturi_list=uris,
            postlogoutredirecturi_list=uris,
            cors_whitelist_list=uris,
        )
        yield client


def misfits(value: dict[str, Any], schema: str, shapes: Shapes) -> list[str]:
    """The properties of an object, and of those inside it, that the description does not have so."""
    found = []
    for name, content in value.items():
        if (schema, name) in EXCEPTIONS:
            continue
        kind = shapes[schema].get(name)
        if kind is None:
            found.append(f"{schema}.{name} is not known")
        elif content is None:
            continue
        elif isinstance(kind, list):
            if not isinstance(content, list):
                found.append(f"{schema}.{name} is not an array")
            elif kind != ["object"]:
                found += [misfit for item in content for misfit in misfits(item, kind[0], shapes)]
        elif not fields.fits(content, kind):
            found.append(f"{schema}.{name} is not of type {kind}: {content!r}")
    return found


@pytest.mark.parametrize(
    ("path", "in_list", "alone"),
    [
        ("Agent", "Uname_List", "Uname"),
        ("Application", "NHD_Identity_Application", "NHD_Identity_Application"),
        ("Roles", "NHD_Roles", "NHD_Roles"),
        ("Team", "SectionDetail_List", "SectionDetail"),
        ("Workday", "Workdays", "Workdays"),
        ("TopLevel", "Tree_List", "Tree"),
    ],
)
def test_everything_sent_is_described(halo: Client, shapes: Shapes, path: str, in_list: str, alone: str) -> None:
    listed = halo.get(path, includeapiagents="true", includedisabled="true", includeunassigned="true")
    rows = listed if path != "TopLevel" else listed["toplevels"]
    assert rows
    for row in rows:
        assert misfits(row, in_list, shapes) == []
        for query in ({}, {"includedetails": "true"}):
            assert misfits(halo.get(f"{path}/{row['id']}", **query), alone, shapes) == []
    assert misfits(halo.save(path, id=rows[-1]["id"]), alone, shapes) == []


def test_control_and_me_are_described(halo: Client, shapes: Shapes) -> None:
    assert misfits(halo.get("Control"), "Control", shapes) == []
    assert misfits(halo.save("Control", id=1), "Control", shapes) == []
    assert misfits(halo.get("Agent/me"), "Uname", shapes) == []


@pytest.mark.parametrize(
    ("table", "schema"),
    [
        (fields.AGENT, "Uname"),
        (fields.APPLICATION, "NHD_Identity_Application"),
        (fields.CONTROL, "Control"),
        (fields.ROLE, "NHD_Roles"),
        (fields.TEAM, "SectionDetail"),
        (fields.WORKDAY, "Workdays"),
        (fields.DEPARTMENT, "Tree"),
    ],
)
def test_everything_taken_is_described(table: dict[str, str], schema: str, shapes: Shapes) -> None:
    described = {name: "array" if isinstance(kind, list) else kind for name, kind in shapes[schema].items()}
    assert {name: described.get(name) for name in table} == table


@pytest.mark.parametrize(
    ("value", "misfit"),
    [
        ({"nonsense": 1}, "Uname.nonsense is not known"),
        ({"id": "7"}, "Uname.id is not of type integer: '7'"),
        ({"isdisabled": 0}, "Uname.isdisabled is not of type boolean: 0"),
        ({"id": True}, "Uname.id is not of type integer: True"),
        ({"roles": {}}, "Uname.roles is not an array"),
        ({"teams": [{"team_id": None, "team_name": 3}]}, "UnameSection.team_name is not of type string: 3"),
    ],
)
def test_misfits_are_found(value: dict[str, Any], misfit: str, shapes: Shapes) -> None:
    assert misfits(value, "Uname", shapes) == [misfit]
