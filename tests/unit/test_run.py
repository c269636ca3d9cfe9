# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One object from look-up to result: what is found, decided, refused, sent, believed and said."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.haloops.halo.plugins.module_utils import run as run_module
from ansible_collections.haloops.halo.plugins.module_utils.client import Client
from ansible_collections.haloops.halo.plugins.module_utils.errors import AmbiguousWrite, HaloError, LoginError, Refused
from ansible_collections.haloops.halo.plugins.module_utils.http import Response
from ansible_collections.haloops.halo.plugins.module_utils.resources.agent import AGENT
from ansible_collections.haloops.halo.plugins.module_utils.resources.application import APPLICATION
from ansible_collections.haloops.halo.plugins.module_utils.resources.integrator import INTEGRATOR
from ansible_collections.haloops.halo.plugins.module_utils.run import (
    Context,
    Operation,
    Planned,
    apply,
    execute,
    login_info,
    look_up,
    manage,
    naming,
    plan_resource,
    rebind,
    retire,
    run_resource,
    try_login,
)
from ansible_collections.haloops.halo.plugins.module_utils.spec import Ref, Resource, Spec
from helpers.memory import MEMBER, OPTIONS, OWN_SECRET, Halo, answer

SECRET = "given-s3cret"


@pytest.fixture
def halo() -> Halo:
    found = Halo()
    member = {"id": 40, "team_id": 1, "team_name": "Support", **MEMBER}
    found.agent(20, "api-tickets", email="t@example.com", roles=["r-2"], teams=[member], team="Support")
    found.agent(21, "api-other", roles=["r-2"])
    found.application("a-1", "Tickets", loginas_agent_id=20)
    return found


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    found: list[float] = []
    monkeypatch.setattr(Client, "pause", staticmethod(found.append))
    return found


def options(resource: Resource, **given: Any) -> dict[str, Any]:
    """The options with the defaults of the module."""
    spec = manage(resource).spec.options
    unknown = set(given) - set(spec)
    assert not unknown, unknown
    return {**{name: option.get("default") for name, option in spec.items()}, **given}


def plan(halo: Halo, resource: Resource, client: Client | None = None, **given: Any) -> Planned:
    return plan_resource(resource, client or halo.client(), options(resource, **given))


def do(halo: Halo, resource: Resource, client: Client | None = None, **given: Any) -> dict[str, Any]:
    return run_resource(resource, Context(options(resource, **given), False, client or halo.client()))


def refused(halo: Halo, resource: Resource, client: Client | None = None, **given: Any) -> str:
    """Plan, be refused by a guard, and have sent nothing; gives the message."""
    with pytest.raises(Refused) as caught:
        plan(halo, resource, client, **given)
    assert halo.writes == []
    assert caught.value.hint
    return str(caught.value)


def failed(halo: Halo, resource: Resource, client: Client | None = None, **given: Any) -> str:
    """Fail without a guard's word and without having sent anything; gives the message."""
    with pytest.raises(HaloError) as caught:
        do(halo, resource, client, **given)
    assert not isinstance(caught.value, Refused)
    assert halo.writes == []
    return str(caught.value)


# Look-up


@pytest.mark.parametrize("name", ["api-tickets", " API-Tickets "])
def test_an_object_is_found_by_its_exact_name(halo: Halo, name: str) -> None:
    halo.agent(30, "api-tickets-2")
    assert plan(halo, AGENT, name=name).current == halo._list_row(halo.agents[20])
    assert plan(halo, AGENT, name="api-ticket").current is None


def test_spellings_of_an_accent_are_one_name_and_the_composed_one_is_sent(halo: Halo) -> None:
    decomposed = unicodedata.normalize("NFD", "api-jörg")
    halo.agent(30, decomposed)
    found = plan(halo, AGENT, name="API-JÖRG")
    assert (found.change.action, (found.current or {})["id"]) == ("none", 30)
    del halo.agents[30]
    do(halo, AGENT, name=decomposed)
    assert halo.sent[0]["name"] == "api-jörg"


@pytest.mark.parametrize("cached", [None, 20, 30, 99])
def test_two_of_one_name_are_reported_with_their_ids_whatever_is_known(halo: Halo, cached: int | None) -> None:
    halo.agent(30, "API-tickets ")
    assert "there are 2 of this name, with the ids 20, 30" in failed(halo, AGENT, name="api-tickets", cached_id=cached)
    halo.application("a-2", "tickets")
    assert "with the ids a-1, a-2" in failed(halo, APPLICATION, name="Tickets", cached_id="a-1")


def without(halo: Halo, number: Any) -> Response:
    """The list of agents as it would be without this one."""
    return answer([halo._list_row(row) for key, row in halo.agents.items() if key != number])


def test_what_the_list_does_not_show_yet_is_found_by_its_cached_id(halo: Halo) -> None:
    halo.disturb("GET /Agent", without(halo, 20), times=9)
    assert (plan(halo, AGENT, name="api-tickets", cached_id=20).current or {})["id"] == 20
    assert plan(halo, AGENT, name="api-tickets").change.action == "create"


@pytest.mark.parametrize("cached", [3, 99])
def test_a_cached_id_of_another_name_or_of_nothing_is_ignored(halo: Halo, cached: int) -> None:
    assert (plan(halo, AGENT, name="api-tickets", cached_id=cached).current or {})["id"] == 20
    assert plan(halo, AGENT, name="api-new", cached_id=cached).change.action == "create"


def test_a_second_object_that_only_the_cached_id_shows_is_reported(halo: Halo) -> None:
    halo.agent(30, "api-tickets")
    halo.disturb("GET /Agent", without(halo, 30))
    assert "with the ids 20, 30" in failed(halo, AGENT, name="api-tickets", cached_id=30)


def test_a_cached_id_that_is_answered_by_nothing_does_not_mean_that_there_is_none(halo: Halo) -> None:
    halo.disturb("GET /Agent/88", answer(None))
    assert "gave nothing instead of the agent" in failed(halo, AGENT, name="api-new", cached_id=88)


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (answer({"Message": "not found"}, 404), "it is in the list with the id 20 and cannot be read"),
        (answer(None), "gave nothing"),
        (answer(None, 204), "gave nothing"),
        (answer({}), "gave nothing"),
        (answer({"id": 21, "name": "api-tickets"}), "gave another one (21)"),
    ],
)
@pytest.mark.parametrize("state", ["present", "absent"])
def test_what_the_list_names_and_cannot_be_read_is_an_error(
    halo: Halo, reply: Response, message: str, state: str
) -> None:
    halo.disturb("GET /Agent/20", reply, times=4)
    told = failed(halo, AGENT, name="api-tickets", email="new@example.com", state=state)
    assert message in told
    assert told.startswith("agent 'api-tickets': ")


def test_what_the_list_names_and_is_not_there_says_what_was_asked(halo: Halo) -> None:
    halo.disturb("GET /Agent/20", answer({"Message": "not found"}, 404), times=9)
    with pytest.raises(HaloError) as caught:
        plan(halo, AGENT, name="api-tickets", email="new@example.com")
    assert (caught.value.method, caught.value.path, caught.value.status) == ("GET", "/Agent/20", 404)


def test_what_is_read_by_its_id_is_read_once_and_with_its_details(halo: Halo, monkeypatch: pytest.MonkeyPatch) -> None:
    queries: list[Any] = []
    send = halo.send
    monkeypatch.setattr(halo, "send", lambda *args, **more: (queries.append(more.get("query")), send(*args, **more))[1])
    plan(halo, AGENT, agent_id=20, email="new@example.com")
    assert halo.reads == ["GET /Agent/20"]
    assert queries[1] == {"includedetails": "true"}
    with pytest.raises(HaloError):
        plan(halo, APPLICATION, application_id="a/1")
    assert halo.reads[1:] == ["GET /Application/a%2F1"]
    with pytest.raises(HaloError):
        plan(halo, APPLICATION, name="Tickets", login_agent_id="2/1")
    assert halo.reads[-1] == "GET /Agent/2%2F1"
    del halo.requests[:]
    plan(halo, INTEGRATOR)
    assert halo.reads.count("GET /Control") == 1


@pytest.mark.parametrize("reply", [answer(None), answer({}), answer({"errors": ["No."]}), answer([])])
def test_a_wrong_list_makes_nothing(halo: Halo, reply: Response) -> None:
    for path, resource in (("/Agent", AGENT), ("/Application", APPLICATION)):
        halo.disturb(f"GET {path}", reply, times=9)
        assert "list" in failed(halo, resource, name="new")


def test_an_id_that_the_user_gave_is_absent_where_halo_says_so(halo: Halo) -> None:
    assert "there is none with this id" in failed(halo, AGENT, agent_id=99)
    assert do(halo, AGENT, agent_id=99, state="absent")["changed"] is False
    halo.disturb("GET /Agent/20", answer(None))
    assert "gave nothing" in failed(halo, AGENT, agent_id=20, state="absent")


def test_what_was_made_in_this_run_is_not_made_again_while_the_list_lacks_it(halo: Halo) -> None:
    client = halo.client()
    made = apply(client, plan(halo, AGENT, client, name="api-new"))["agent"]["id"]
    halo.disturb("GET /Agent", without(halo, made), times=9)
    assert (plan(halo, AGENT, client, name="API-new").current or {})["id"] == made
    halo.disturb(f"GET /Agent/{made}", answer({"Message": "not found"}, 404))
    with pytest.raises(HaloError, match=f"made in this run with the id {made} and cannot be read yet"):
        plan(halo, AGENT, client, name="api-new")
    do(halo, AGENT, client, agent_id=made, state="absent")
    assert plan(halo, AGENT, client, name="api-new").change.action == "create"


# Another name

OLD, NEW = "Tickets", "Ticket sync"


def renamed(halo: Halo, **more: Any) -> Any:
    """Id and name of what is taken for the application that is called ``NEW`` from now on, and what is to be done."""
    params = {**options(APPLICATION, name=NEW, scopes=["all"], defer_rotation=True), "renamed_from": OLD, **more}
    planned = plan_resource(APPLICATION, halo.client(), params)
    current = planned.current or {}
    return current.get("id"), planned.change.action, planned.change.fields, planned.rotation.reason


@pytest.mark.parametrize(
    ("there", "known", "found"),
    [
        # by the name
        ({"a-1": OLD}, {}, ("a-1", "update")),
        ({"a-1": " TICKETS"}, {}, ("a-1", "update")),
        ({"a-1": NEW}, {}, ("a-1", "none")),
        ({"a-1": "Other"}, {}, (None, "none")),
        # by what the store knows of it
        ({"a-1": OLD}, {"cached_id": "a-1"}, ("a-1", "update")),
        ({"a-1": OLD}, {"cached_client_id": "C-A-1"}, ("a-1", "update")),
        ({"a-1": NEW}, {"cached_id": "a-1"}, ("a-1", "none")),
        ({"a-1": OLD}, {"cached_id": "gone", "cached_client_id": "gone"}, ("a-1", "update")),
        ({"a-1": NEW}, {"cached_id": "gone"}, ("a-1", "none")),
        # it is done, and something else has the old name by now
        ({"a-1": NEW, "a-2": OLD}, {"cached_id": "a-1"}, ("a-1", "none")),
        ({"a-1": NEW, "a-2": OLD}, {"cached_client_id": "c-a-1"}, ("a-1", "none")),
    ],
)
def test_what_had_another_name_is_found(
    halo: Halo, there: dict[str, str], known: dict[str, str], found: tuple[Any, str]
) -> None:
    del halo.applications["a-1"]
    for number, name in there.items():
        halo.application(number, name)
    identity, action, fields, reason = renamed(halo, **known)
    assert (identity, action) == found
    # an update that needs no new secret
    assert identity is None or list(fields) == (["name"] if action == "update" else [])
    assert reason == ("none" if identity else "created")


@pytest.mark.parametrize(
    ("there", "known", "message"),
    [
        ({"a-1": NEW, "a-2": OLD}, {}, f"both '{NEW}' with the id a-1 and '{OLD}' with the id a-2"),
        ({"a-1": NEW, "a-2": OLD}, {"cached_id": "a-2"}, f"both '{NEW}' with the id a-1 and '{OLD}' with the id a-2"),
        ({"a-1": NEW, "a-2": OLD}, {"cached_id": "gone"}, "both"),
        ({"a-1": OLD, "a-2": OLD}, {}, f"application '{OLD}': there are 2 of this name, with the ids a-1, a-2"),
        ({"a-1": NEW, "a-2": NEW}, {}, f"application '{NEW}': there are 2 of this name, with the ids a-1, a-2"),
        ({"a-1": "Else"}, {"cached_id": "a-1"}, "the id a-1 and is called 'Else' in Halo by now"),
        ({"a-1": "Else", "a-2": NEW}, {"cached_id": "a-1"}, "called 'Else'"),
    ],
)
def test_what_had_another_name_is_refused_where_it_is_not_plain_which_one_it_is(
    halo: Halo, there: dict[str, str], known: dict[str, str], message: str
) -> None:
    del halo.applications["a-1"]
    for number, name in there.items():
        halo.application(number, name)
    with pytest.raises(HaloError, match=message):
        renamed(halo, **known)
    assert halo.writes == []


def test_what_had_another_name_and_is_not_listed_yet_is_found_by_its_id(halo: Halo) -> None:
    rows = [halo._list_row(row) for key, row in halo.applications.items() if key != "a-1"]
    halo.disturb("GET /Application", answer(rows), times=9)
    assert renamed(halo, cached_id="a-1")[:2] == ("a-1", "update")
    assert renamed(halo)[:2] == (None, "none")


def test_a_list_that_still_shows_the_old_name_changes_nothing(halo: Halo) -> None:
    rows = [halo._list_row(row) for row in halo.applications.values()]
    halo.applications["a-1"]["displayName"] = NEW
    halo.disturb("GET /Application", answer(rows), times=9)
    for known in ({}, {"cached_id": "a-1"}):
        assert renamed(halo, **known)[:2] == ("a-1", "none")


def test_what_had_another_name_and_was_made_in_this_run_is_not_made_again(halo: Halo) -> None:
    del halo.applications["a-1"]
    params = {**options(APPLICATION, name=NEW, scopes=["all"]), "renamed_from": OLD}
    client = halo.client()
    made = apply(client, plan_resource(APPLICATION, client, params))["application"]["id"]
    rows = [halo._list_row(row) for key, row in halo.applications.items() if key != made]
    halo.disturb("GET /Application", answer(rows), times=9)
    assert (plan_resource(APPLICATION, client, params).current or {})["id"] == made


def test_another_name_is_one_ordinary_request(halo: Halo) -> None:
    params = {**options(APPLICATION, name=NEW, defer_rotation=True), "renamed_from": OLD}
    client = halo.client()
    apply(client, plan_resource(APPLICATION, client, params))
    assert halo.sent == [{"id": "a-1", "displayName": NEW}]
    assert halo.writes == ["POST /Application"]


# Rows of lists

CONVERGED = {
    "name": "api-tickets",
    "email": "t@example.com",
    "roles": ["reader"],
    "teams": ["support"],
    "default_team": "Support",
}


@pytest.mark.parametrize(
    "given",
    [
        CONVERGED,
        {"name": "api-tickets"},
        {**CONVERGED, "append": True},
        {**CONVERGED, "roles": [], "append": True},
        {**CONVERGED, "teams": [{"name": "Support", "leader": False, "sees_others": True}]},
    ],
    ids=str,
)
def test_a_converged_agent_costs_a_list_alone(halo: Halo, given: dict[str, Any]) -> None:
    result = do(halo, AGENT, **given)
    assert halo.reads == ["GET /Agent"]
    assert result["changed"] is False
    assert result["agent"] == AGENT.public(halo.agents[20])
    assert result["diff"]["before"] == result["diff"]["after"] == result["agent"]


@pytest.mark.parametrize(
    ("given", "changed"),
    [
        ({"roles": ["r-2"]}, False),
        ({"teams": ["1"]}, False),
        ({"properties": {"jobtitle": None}}, False),
        ({"roles": []}, True),
        ({"roles": ["Admin"]}, True),
        ({"roles": ["Admin", "Reader"]}, True),
        ({"email": "new@example.com"}, True),
        ({"teams": []}, True),
        ({"teams": [{"name": "Support", "leader": True}]}, True),
        ({"enabled": False, "force": True}, True),
    ],
    ids=str,
)
def test_what_a_row_does_not_settle_takes_the_details(halo: Halo, given: dict[str, Any], changed: bool) -> None:
    planned = plan(halo, AGENT, **{**CONVERGED, **given})
    assert "GET /Agent/20" in halo.reads
    assert planned.change.changed is changed


@pytest.mark.parametrize("key", ["role_list", "teams", "isapiagent", "isdisabled", "email", "team"])
def test_a_row_that_lacks_something_takes_the_details(halo: Halo, key: str) -> None:
    row = halo._list_row(halo.agents[20])
    halo.disturb("GET /Agent", answer([{name: value for name, value in row.items() if name != key}]))
    assert plan(halo, AGENT, name="api-tickets").current == halo.agents[20]


def test_roles_that_a_list_does_not_fill_in_are_read(halo: Halo) -> None:
    halo.disturb("GET /Agent", answer([{**halo._list_row(halo.agents[20]), "role_list": ""}]))
    assert plan(halo, AGENT, name="api-tickets", roles=[]).change.fields == ("roles",)


def test_an_application_is_read_in_full(halo: Halo) -> None:
    assert plan(halo, APPLICATION, name="Tickets").current == {**halo._shown(halo.applications["a-1"])}
    assert halo.reads == ["GET /Application", "GET /Application/a-1"]


def test_a_second_look_reads_no_list_again(halo: Halo) -> None:
    client = halo.client()
    plan(halo, AGENT, client, name="api-tickets")
    plan(halo, AGENT, client, name="api-other")
    assert halo.reads == ["GET /Agent"]


# Options


@pytest.mark.parametrize(
    ("resource", "given", "message"),
    [
        (AGENT, {"name": " "}, "the name must not be empty"),
        (AGENT, {"name": "x" * 256}, "256 characters"),
        (AGENT, {"name": "x" * 255, "email": " ", "properties": {"ID": 1}}, "must not hold ID"),
        (AGENT, {"name": "a\nb"}, "line break"),
        (AGENT, {"name": "x", "properties": {"Email": "x"}}, "Use the option email for it"),
        (AGENT, {"name": "x", "properties": {"password": "x"}}, "must not hold password"),
        (AGENT, {"name": "x", "teams": ["a", {"name": "b", "sees_other": True}]}, "did you mean sees_others?"),
        (AGENT, {"name": "x", "teams": [{"leader": True}]}, "teams[0] must be a name or an id"),
        (APPLICATION, {"name": "x", "login_type": "user", "login_agent": "y"}, "contradict each other"),
        (APPLICATION, {"name": "x", "login_type": "user", "login_agent_id": 3}, "contradict each other"),
        (APPLICATION, {"name": "x", "scopes": ["read:x edit:x"]}, "scopes[0] 'read:x edit:x' holds a blank"),
        (APPLICATION, {"name": "x", "scopes": ["read:x", " "]}, "scopes[1] is empty"),
        (APPLICATION, {"name": "x", "scopes": [""]}, "scopes[0] is empty"),
        (APPLICATION, {"name": "x", "redirect_uris": ["https://a b"]}, "redirect_uris[0] 'https://a b' holds a blank"),
        (APPLICATION, {"name": "x", "properties": {"clientSecret": "x"}}, "must not hold clientSecret"),
        (APPLICATION, {"name": "x", "properties": {"tokens": []}}, "must not hold tokens"),
        (APPLICATION, {"name": "x", "properties": {"authorizations": []}}, "must not hold authorizations"),
    ],
    ids=lambda value: value.key if isinstance(value, Resource) else str(value),
)
def test_what_is_wrong_whatever_halo_says_is_found_before_it_is_asked(
    halo: Halo, resource: Resource, given: dict[str, Any], message: str
) -> None:
    assert message in failed(halo, resource, **given)
    assert halo.requests == []


def test_blanks_around_a_scope_are_no_part_of_it(halo: Halo) -> None:
    assert plan(halo, APPLICATION, name="Tickets", scopes=[" all "]).change.action == "none"


# References


@pytest.mark.parametrize(
    ("roles", "sent"),
    [(["Admin"], ["r-1"]), (["R-1"], ["r-1"]), (["1", "reader"], ["r-1", "r-2"]), (["Admin", "r-1"], ["r-1"])],
)
def test_references_by_name_or_id(halo: Halo, roles: list[str], sent: list[str]) -> None:
    do(halo, AGENT, name="api-new", roles=roles)
    assert [role["id"] for role in halo.sent[0]["roles"]] == sent


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"roles": ["Cook"]}, "there is no role 'Cook'. There are: Admin, Reader."),
        ({"teams": ["ops"]}, "2 teams are called 'ops'; their ids are 5, 6."),
        ({"default_team": "Nowhere"}, "there is no team 'Nowhere'"),
    ],
)
def test_references_to_nothing_or_to_several(halo: Halo, given: dict[str, Any], message: str) -> None:
    assert message in failed(halo, AGENT, name="api-new", **given)


@pytest.mark.parametrize(
    ("number", "end"), [(40, "r37, r38, Z."), (41, "r38, r39 and 1 more."), (42, "r38, r39 and 2 more.")]
)
def test_a_long_list_of_what_there_is_ends_early(halo: Halo, number: int, end: str) -> None:
    names = ["Z", "Alpha", *(f"r{n:02}" for n in range(1, number - 1))]
    halo.disturb("GET /Roles", answer([{"id": name, "name": name} for name in names]))
    told = failed(halo, AGENT, name="api-new", roles=["Cook"])
    assert "There are: Alpha, r01, " in told
    assert told.endswith(end)


def test_what_is_there_under_its_name_needs_no_look_up(halo: Halo) -> None:
    do(halo, AGENT, name="api-tickets", email="new@example.com", roles=["Reader"])
    assert halo.reads == ["GET /Agent", "GET /Agent/20"]


def test_texts_are_sent_as_they_are_given_and_a_team_as_it_is_called(halo: Halo) -> None:
    email = unicodedata.normalize("NFD", "jörg@example.com")
    do(halo, AGENT, name="api-tickets", email=email, default_team="projects", properties={"jobtitle": "x"})
    assert halo.sent == [{"id": 20, "email": email, "team": "Projects", "jobtitle": "x"}]


def test_what_is_added_leaves_what_is_there(halo: Halo) -> None:
    client = halo.client()
    do(halo, AGENT, client, name="api-tickets", roles=["Admin"], append=True)
    assert [role["id"] for role in halo.sent[0]["roles"]] == ["r-2", "r-1"]
    assert client.warnings == []


@pytest.mark.parametrize("there", [True, False], ids=["there already", "new"])
def test_a_name_goes_before_an_id_whether_it_is_there_already_or_not(halo: Halo, there: bool) -> None:
    # a team of the name of another one's id
    teams = [{"id": 1, "name": "Support"}, {"id": 2, "name": "1"}]
    halo.disturb("GET /Team", answer(teams), times=9)
    if not there:
        halo.agents[20]["teams"] = []
    assert plan(halo, AGENT, name="api-tickets", teams=["1"]).desired["teams"] == [Ref(2, "1")]


def test_of_two_memberships_of_one_name_none_is_meant_by_it(halo: Halo) -> None:
    halo.agents[20]["teams"] = [{"team_id": 5, "team_name": "Ops"}, {"team_id": 6, "team_name": "Ops"}]
    assert "their ids are 5, 6" in failed(halo, AGENT, name="api-tickets", teams=["Ops"])


def test_rows_that_stay_are_sent_back_as_they_were_read_and_new_members_see_tickets(halo: Halo) -> None:
    kept = {**halo.agents[20]["teams"][0], "is_manager": True, "fortickets": True}
    halo.agents[20]["teams"] = [dict(kept)]
    do(halo, AGENT, name="api-tickets", teams=["Support", {"name": "Projects", "sees_others": False}])
    new = {"team_id": 2, **MEMBER, "otheragent_access": False}
    assert halo.sent == [{"id": 20, "teams": [kept, new]}]


def test_a_switch_that_differs_is_a_change_and_one_that_is_not_given_is_none(halo: Halo) -> None:
    halo.agents[20]["teams"][0]["is_manager"] = True
    assert plan(halo, AGENT, name="api-tickets", teams=["Support"]).change.action == "none"
    planned = plan(halo, AGENT, name="api-tickets", teams=[{"name": "Support", "leader": False}])
    assert planned.change.drift() == ["teams: Support leader: true instead of false"]
    assert (planned.change.after or {})["teams"] == ["Support"]


# Login agents

DISABLED = "agent 'api-other' is disabled: what logs in as it cannot log in."


@pytest.mark.parametrize("given", [{"login_agent": "API-other"}, {"login_agent_id": 21}], ids=["by name", "by id"])
@pytest.mark.parametrize("bound", [20, 21], ids=["to be bound", "bound"])
def test_a_disabled_login_agent_draws_a_warning(halo: Halo, given: dict[str, Any], bound: int) -> None:
    halo.agents[21]["isdisabled"] = True
    halo.applications["a-1"]["loginas_agent_id"] = bound
    client = halo.client()
    plan(halo, APPLICATION, client, name="Tickets", **given)
    assert client.warnings == [DISABLED]
    halo.agents[21]["isdisabled"] = False
    client = halo.client()
    plan(halo, APPLICATION, client, name="Tickets", **given)
    assert client.warnings == []


@pytest.mark.parametrize(
    ("given", "message"),
    [({"login_agent": "nobody"}, "there is no agent 'nobody'"), ({"login_agent_id": 99}, "no agent with the id 99")],
)
def test_a_login_agent_that_is_not_there(halo: Halo, given: dict[str, Any], message: str) -> None:
    assert message in failed(halo, APPLICATION, name="Tickets", **given)


def test_a_login_agent_that_the_list_does_not_show_yet_is_found_by_its_id(halo: Halo) -> None:
    halo.disturb("GET /Agent", without(halo, 21))
    planned = plan(halo, APPLICATION, name="Tickets", login_agent_id=21)
    assert planned.desired["login_agent"] == Ref(21, "api-other")


@pytest.mark.parametrize(
    ("given", "warnings"),
    [
        ({"scopes": ["read:x"], "login_agent": "api-other"}, []),
        ({"login_agent": "api-other"}, ["application 'New' has no scopes: a login with it opens nothing."]),
        ({"scopes": ["read:x"]}, ["application 'New' has no login agent: nothing can log in with it."]),
        ({"scopes": ["read:x"], "authentication_method": "authorization_code"}, []),
        ({"scopes": ["read:x"], "login_type": "user"}, []),
    ],
)
def test_what_a_new_application_lacks_draws_a_warning(halo: Halo, given: dict[str, Any], warnings: list[str]) -> None:
    client = halo.client()
    plan(halo, APPLICATION, client, name="New", **given)
    assert client.warnings == warnings
    client = halo.client()
    plan(halo, APPLICATION, client, name="Tickets", enabled=True)
    assert client.warnings == []


@pytest.mark.parametrize(
    ("given", "broad"),
    [
        ({"name": "New", "scopes": ["read:x", "all"]}, "all"),
        ({"name": "New", "scopes": [" admin ", "all:teams"]}, "all:teams and admin"),
        ({"name": "New", "scopes": ["all"], "defer_rotation": True}, "all"),
        ({"name": "New", "scopes": ["all:standard", "read:all", "ALL"]}, None),
        ({"name": "Tickets", "scopes": ["all", "read:x"]}, "all"),
        ({"name": "Tickets", "scopes": ["admin"], "login_agent": "api-other", "defer_rotation": True}, "admin"),
        # it has the scope all already
        ({"name": "Tickets", "scopes": ["all"]}, None),
        ({"name": "Tickets", "scopes": ["all"], "redirect_uris": ["https://a.example.com"]}, None),
        ({"name": "Tickets", "scopes": ["read:x"]}, None),
        ({"name": "Tickets", "enabled": False}, None),
        ({"name": "Tickets", "state": "absent"}, None),
    ],
    ids=str,
)
def test_scopes_that_are_too_much_are_warned_of_when_they_are_granted(
    halo: Halo, given: dict[str, Any], broad: str | None
) -> None:
    client = halo.client()
    plan(halo, APPLICATION, client, **{"login_agent": "api-tickets", **given})
    subject = f"application '{given['name']}'"
    text = f"{subject} is granted the scope {broad}, which Halo says not to use in production. "
    assert client.warnings == ([text + "Grant what it needs, such as read:tickets."] if broad else [])


@pytest.mark.parametrize("given", [{}, {"login_agent": "api-other"}, {"login_agent_id": 21}], ids=str)
def test_the_integrator_names_its_agent_after_one_look(halo: Halo, given: dict[str, Any]) -> None:
    halo.control["loginas_halointegrator"] = 20
    result = do(halo, INTEGRATOR, **given)
    name, number = ("api-other", 21) if given else ("api-tickets", 20)
    assert result["integrator"]["login_agent"] == {"id": number, "name": name}
    assert result["diff"]["before"]["login_agent"] == {"id": 20, "name": "api-tickets"}
    assert halo.reads == ["GET /Control", "GET /Agent"]
    assert all(set(sent) <= {"id", "loginas_halointegrator", "client_secret_halointegrator"} for sent in halo.sent)


@pytest.mark.parametrize("bound", [0, 99, None])
def test_an_integrator_without_an_agent_that_is_there(halo: Halo, bound: Any) -> None:
    halo.control["loginas_halointegrator"] = bound
    assert do(halo, INTEGRATOR)["integrator"]["login_agent"] == {"id": bound or None, "name": None}


@pytest.mark.parametrize("reply", [answer(None), answer({}), answer({"Message": "no"}, 404)])
def test_an_integrator_that_cannot_be_read(halo: Halo, reply: Response) -> None:
    halo.disturb("GET /Control", reply)
    assert "GET /Control gave nothing" in failed(halo, INTEGRATOR, login_agent="api-other")


# Guards of agents


def test_a_human_is_not_turned_into_a_program(halo: Halo) -> None:
    assert "human agent" in refused(halo, AGENT, name="Admin")
    assert plan(halo, AGENT, name="Admin", allow_conversion=True).change.payload == {"isapiagent": True}
    assert plan(halo, AGENT, name="Admin", api_only=False).change.action == "none"


def test_a_human_is_not_deleted(halo: Halo) -> None:
    halo.control["loginas_halointegrator"] = 0
    assert "human agent and is not deleted" in refused(halo, AGENT, name="Admin", state="absent")
    overrides: list[dict[str, Any]] = [{"force": True}, {"api_only": False}]
    for given in overrides:
        assert plan(halo, AGENT, name="Admin", state="absent", **given).change.action == "delete"


@pytest.mark.parametrize("given", [{"state": "absent"}, {"enabled": False}], ids=str)
def test_what_something_logs_in_as_stays(halo: Halo, given: dict[str, Any]) -> None:
    assert "application 'Tickets'; which cannot" in refused(halo, AGENT, name="api-tickets", **given)
    halo.control["loginas_halointegrator"] = 20
    assert "application 'Tickets', the Halo Integrator;" in refused(halo, AGENT, name="api-tickets", **given)
    assert plan(halo, AGENT, name="api-tickets", force=True, **given).change.changed
    halo.control["loginas_halointegrator"] = 3
    assert plan(halo, AGENT, name="api-other", **given).change.changed


def test_who_logs_in_is_read_from_the_details_where_the_list_does_not_say(halo: Halo) -> None:
    rows = [{"id": number, "displayName": "x"} for number in halo.applications]
    halo.disturb("GET /Application", answer(rows), times=9)
    assert "application 'x'" in refused(halo, AGENT, name="api-tickets", state="absent")
    for reply in (answer(None), answer({"Message": "not found"}, 404)):
        halo.disturb("GET /Application/a-1", reply)
        assert "cannot be read" in failed(halo, AGENT, name="api-tickets", state="absent")


@pytest.mark.parametrize(
    ("request_", "reply"),
    [
        ("GET /Application", answer([])),
        ("GET /Application", answer({})),
        ("GET /Application", answer(None)),
        ("GET /Control", answer({})),
        ("GET /Control", answer(None)),
        ("GET /Control", answer({"Message": "no"}, 404)),
    ],
)
def test_a_guard_is_not_opened_by_an_answer_that_says_nothing(halo: Halo, request_: str, reply: Response) -> None:
    halo.disturb(request_, reply, times=9)
    del halo.applications["a-1"]
    assert failed(halo, AGENT, name="api-tickets", state="absent")


def test_a_list_without_the_runs_own_application_warns_before_a_guard_passes(halo: Halo) -> None:
    halo.disturb("GET /Application", answer([halo._list_row(halo.applications["a-1"])]))
    client = halo.client()
    plan(halo, AGENT, client, name="api-other", state="absent")
    assert "lacks the one that this run logs in with" in client.warnings[0]


# Guards of applications and the Integrator


def test_system_applications_stay_as_they_are(halo: Halo) -> None:
    halo.application("a-2", "Halo Web", _issystem=True)
    given: dict[str, Any] = {"name": "Halo Web", "scopes": ["x"]}
    assert "system application" in refused(halo, APPLICATION, **given)
    assert "system application" in refused(halo, APPLICATION, name="Halo Web", state="absent")
    assert plan(halo, APPLICATION, allow_system=True, **given).change.changed


def test_a_hosted_integrator_keeps_its_secret(halo: Halo) -> None:
    halo.control["hashostedintegrator"] = True
    rotations: list[dict[str, Any]] = [{"login_agent": "api-other"}, {"regenerate_secret": "always"}]
    for given in rotations:
        assert "hosted by Halo" in refused(halo, INTEGRATOR, **given)
        assert plan(halo, INTEGRATOR, allow_hosted=True, **given).rotation.performed
    assert plan(halo, INTEGRATOR, login_agent="Admin").rotation.required is False


OWN: list[dict[str, Any]] = [
    {"regenerate_secret": "always"},
    {"login_agent": "api-other"},
    {"login_type": "user"},
    {"enabled": False},
    {"scopes": ["all", "read:x"]},
    {"scopes": []},
    {"authentication_method": "password"},
    {"state": "absent"},
]
TOKEN = {"halo_client_id": None, "halo_client_secret": None, "halo_access_token": "given"}


@pytest.mark.parametrize("given", OWN, ids=str)
def test_what_the_run_logs_in_with_is_not_changed(halo: Halo, given: dict[str, Any]) -> None:
    assert "it is what this run itself logs in with" in refused(halo, APPLICATION, name="Automation", **given)
    assert plan(halo, APPLICATION, name="Automation", allow_self=True, **given)
    assert plan(halo, APPLICATION, name="Tickets", **given)
    assert "GET /Agent/me" not in halo.requests


@pytest.mark.parametrize("given", OWN, ids=str)
def test_with_a_token_alone_it_is_known_by_its_agent(halo: Halo, given: dict[str, Any]) -> None:
    told = refused(halo, APPLICATION, halo.client(**TOKEN), name="Automation", **given)
    assert "it may be what this run itself logs in with" in told
    assert "halo_client_id" in told
    assert halo.reads.count("GET /Agent/me") == 1
    assert plan(halo, APPLICATION, halo.client(**TOKEN), name="Automation", allow_self=True, **given)
    assert plan(halo, APPLICATION, halo.client(**TOKEN), name="Tickets", **given)


@pytest.mark.parametrize("reply", [answer(None), answer({}), answer(None, 403), answer(None, 404)])
def test_with_a_token_of_nobody_known_nothing_is_risked(halo: Halo, reply: Response) -> None:
    halo.disturb("GET /Agent/me", reply)
    told = refused(halo, APPLICATION, halo.client(**TOKEN), name="Tickets", regenerate_secret="always")
    assert "nor Halo of which agent" in told


@pytest.mark.parametrize("given", [{"login_type": "user"}, {"login_agent": "api-other"}], ids=str)
def test_nor_is_the_login_of_what_needs_no_secret(halo: Halo, given: dict[str, Any]) -> None:
    halo.applications["a-own"]["grant_type"] = "implicit"
    assert "it is what this run itself logs in with" in refused(halo, APPLICATION, name="Automation", **given)


@pytest.mark.parametrize("given", [{"name": "Automation"}, {"redirect_uris": ["https://x"]}], ids=str)
def test_the_rest_of_the_runs_own_application_may_change(halo: Halo, given: dict[str, Any]) -> None:
    assert plan(halo, APPLICATION, **{"name": "Automation", **given})


def test_the_integrators_login_may_be_the_runs_own_too(halo: Halo) -> None:
    halo.control["client_id_halointegrator"] = OPTIONS["halo_client_id"]
    assert "this run itself" in refused(halo, INTEGRATOR, login_agent="api-other")
    assert plan(halo, INTEGRATOR, login_agent="api-other", allow_self=True).rotation.performed
    halo.control.update(client_id_halointegrator="i-1", loginas_halointegrator=7)
    assert "token's agent" in refused(halo, INTEGRATOR, halo.client(**TOKEN), regenerate_secret="always")


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ({"state": "absent"}, "log in with another application from then on"),
        ({"regenerate_secret": "always"}, "keep the new secret for the next run"),
        ({"scopes": ["x"]}, "locks the next run out"),
    ],
)
def test_the_hint_of_a_guard_fits(halo: Halo, given: dict[str, Any], hint: str) -> None:
    assert hint in refused(halo, APPLICATION, name="Automation", **given)


# Rotation


def test_a_change_of_agent_and_its_secret_travel_in_one_request(halo: Halo) -> None:
    result = do(halo, APPLICATION, name="Tickets", login_agent="api-other")
    assert len(halo.sent) == 1
    assert halo.sent[0]["loginas_agent_id"] == 21
    assert halo.sent[0]["clientSecret"] == result["client_secret"]
    assert result["rotation"] == {
        "required": True,
        "performed": True,
        "reason": "agent_changed",
        "previous_agent_id": 20,
    }
    assert result["client_secret"] not in str({**result, "client_secret": None})
    assert result["diff"]["after"]["client_secret"] == "new (agent_changed)"


def test_the_wrong_agent_is_a_change_however_much_else_agrees(halo: Halo) -> None:
    planned = plan(halo, APPLICATION, name="Tickets", login_agent="api-other", new_client_secret=SECRET)
    assert planned.change.drift() == ["login agent: api-tickets instead of api-other"]
    assert planned.rotation.reason == "agent_changed"
    assert plan(halo, APPLICATION, name="Tickets", login_agent="api-tickets").rotation.reason == "none"


def test_a_given_secret_is_sent_and_not_returned(halo: Halo) -> None:
    result = do(halo, APPLICATION, name="Tickets", login_agent="api-other", new_client_secret=SECRET)
    assert halo.sent[0]["clientSecret"] == SECRET
    assert SECRET not in str(result)
    assert "client_secret" not in result


def test_a_deferred_rotation_changes_the_rest_alone(halo: Halo) -> None:
    given: dict[str, Any] = {"login_agent": "api-other", "scopes": ["read:x"], "defer_rotation": True}
    result = do(halo, APPLICATION, name="Tickets", **given)
    assert halo.sent == [{"id": "a-1", "scopes": [{"name": "read:x"}]}]
    assert result["rotation"]["required"] is True
    assert result["rotation"]["performed"] is False
    assert result["application"]["login_agent"] == {"id": 20, "name": "api-tickets"}
    assert do(halo, APPLICATION, name="New", **given)["changed"] is False
    assert len(halo.sent) == 1


def test_a_plan_without_its_agent_is_bound_to_it_with_the_secret(halo: Halo) -> None:
    client = halo.client()
    params = options(APPLICATION, name="New", scopes=["all"], defer_rotation=True)
    planned = plan_resource(APPLICATION, client, params, {"login_agent": Ref("new", "api-made")})
    assert planned.change.action == "none"
    asked = list(halo.requests)
    final = rebind(planned, Ref(21, "api-other"), SECRET, "c-new")
    assert halo.requests == asked
    apply(client, final)
    assert halo.sent[0] == {
        "displayName": "New",
        "inactive": False,
        "grant_type": "client_credentials",
        "allowagents": True,
        "loginas_agent_id": 21,
        "scopes": [{"name": "all"}],
        "clientId": "c-new",
        "clientSecret": SECRET,
    }


def test_a_bound_plan_of_what_is_there_keeps_its_client_id(halo: Halo) -> None:
    planned = plan(halo, APPLICATION, name="Tickets", defer_rotation=True)
    final = rebind(planned, Ref(20, "api-tickets"), SECRET, "c-other")
    assert final.rotation.reason == "requested"
    apply(halo.client(), final)
    assert halo.sent == [{"id": "a-1", "clientSecret": SECRET}]


def test_who_logs_in_as_an_agent_from_now_on_is_said_with_the_agent(halo: Halo) -> None:
    halo.applications["a-1"].update(allowagents=False, allowusers=True, loginas_agent_id=0)
    planned = plan(halo, APPLICATION, name="Tickets", login_agent="api-other")
    assert planned.change.fields == ("login_type", "login_agent")
    assert planned.rotation.reason == "login_type_changed"
    assert plan(halo, APPLICATION, name="Tickets", scopes=["all"]).change.action == "none"
    deferred = plan(halo, APPLICATION, name="Tickets", login_agent="api-other", scopes=["x"], defer_rotation=True)
    assert deferred.change.fields == ("scopes",)
    given = {"login_agent": "api-other", "defer_rotation": True, "new_client_secret": SECRET}
    planned = plan(halo, APPLICATION, name="Tickets", **given)
    assert planned.rotation.performed
    assert planned.change.fields == ("login_type", "login_agent")


def test_what_uses_no_secret_gets_one_on_request_alone(halo: Halo) -> None:
    halo.applications["a-1"]["grant_type"] = "implicit"
    assert plan(halo, APPLICATION, name="Tickets", login_agent="api-other").rotation.reason == "none"
    planned = plan(halo, APPLICATION, name="Tickets", regenerate_secret="always")
    assert (planned.rotation.reason, planned.change.action) == ("requested", "none")
    result = planned.result()
    assert result["changed"] is True
    assert (result["diff"]["before"]["client_secret"], result["diff"]["after"]["client_secret"]) == (
        "as it was",
        "new (requested)",
    )


def test_a_secret_that_is_needed_and_not_made_is_warned_of(halo: Halo) -> None:
    client = halo.client()
    do(halo, APPLICATION, client, name="Tickets", login_agent="api-other", regenerate_secret="never")
    assert client.warnings == ["application 'Tickets' needs a new client secret and was given none: it cannot log in."]
    client = halo.client()
    do(halo, APPLICATION, client, name="Tickets", login_agent="api-tickets")
    assert client.warnings == []


# Applying


def test_a_result_shows_what_halo_kept_and_no_secret_that_nobody_asked_for(halo: Halo) -> None:
    own = "-".join(["12345678-1234-1234-1234-123456789abc"] * 2)
    halo.disturb("POST /Application", answer({**halo.applications["a-1"], "inactive": True, "clientSecret": own}))
    result = do(halo, APPLICATION, name="Tickets", scopes=["x"], enabled=False)
    assert result["diff"]["after"]["scopes"] == ["all"]
    assert "client_secret" not in result


@pytest.mark.parametrize("reply", [None, {"loginas_halointegrator": 21}])
def test_an_integrator_of_which_half_is_answered(halo: Halo, reply: Any) -> None:
    halo.control["hashostedintegrator"] = True

    def saved() -> Response:
        halo.control["loginas_halointegrator"] = 21
        return answer(reply)

    halo.disturb("POST /Control", saved)
    result = do(halo, INTEGRATOR, login_agent="api-other", allow_hosted=True)
    assert result["integrator"] == {
        "login_agent": {"id": 21, "name": "api-other"},
        "client_id": "i-1",
        "hosted": True,
    }


def test_an_integrator_that_was_not_changed_is_shown_as_it_is(halo: Halo) -> None:
    halo.disturb("POST /Control", answer(halo.control))
    result = do(halo, INTEGRATOR, login_agent="api-other")
    assert result["integrator"]["login_agent"] == {"id": 3, "name": "Admin"}


def test_an_integrator_without_an_agent_takes_no_look_for_one(halo: Halo) -> None:
    assert failed(halo, INTEGRATOR, login_agent="nobody").startswith("Halo Integrator: there is no agent 'nobody'")
    del halo.requests[:]
    halo.control["loginas_halointegrator"] = 0
    assert plan(halo, INTEGRATOR).change.action == "none"
    assert halo.reads == ["GET /Control"]


def test_another_object_in_the_answer_is_not_the_one(halo: Halo) -> None:
    halo.disturb("POST /Agent", answer({**halo.agents[21], "name": "api-tickets"}))
    assert do(halo, AGENT, name="api-tickets", email="new@example.com")["agent"]["id"] == 20


def test_what_was_made_without_a_word_is_found_by_its_name(halo: Halo) -> None:
    halo.disturb("POST /Agent", lambda: answer(None) if halo.agent(30, "api-new") else None)
    assert do(halo, AGENT, name="api-new")["agent"]["id"] == 30
    halo.disturb("POST /Agent", answer(None))
    with pytest.raises(HaloError, match="it was saved and cannot be read back"):
        do(halo, AGENT, name="api-2")


def test_a_raw_answer_is_told_before_anything_else_can_fail(halo: Halo) -> None:
    saved: list[Any] = []
    halo.disturb("POST /Application", answer({"id": "a-9", "clientSecret": "made-by-halo"}, 201))
    client = halo.client()
    planned = plan(halo, APPLICATION, client, name="New", scopes=["all"], login_agent="api-other")
    with pytest.raises(HaloError, match="saved with the id a-9 and cannot be read back"):
        apply(client, planned, lambda raw, secret: saved.append((raw, secret, list(halo.requests))))
    raw, secret, requests = saved[0]
    assert len(saved) == 1
    assert raw == {"id": "a-9", "clientSecret": "made-by-halo"}
    # what is no secret in Halo's form may be a mask
    assert secret == client.secrets[0] != "made-by-halo"
    assert requests[-1] == "POST /Application"


def test_the_servers_own_secret_is_the_truth(halo: Halo) -> None:
    own = "-".join(["12345678-1234-1234-1234-123456789abc"] * 2)
    row = {**halo.applications["a-1"], "loginas_agent_id": 21, "clientSecret": own}
    halo.disturb("POST /Application", answer(row))
    saved: list[str] = []
    client = halo.client()
    planned = plan(halo, APPLICATION, client, name="Tickets", login_agent="api-other", new_client_secret=SECRET)
    result = apply(client, planned, lambda _raw, secret: saved.append(secret))
    assert saved == [own] == [result["client_secret"]]
    assert own in client.secrets
    assert own not in str(result["application"]) + str(result["diff"])


def test_an_empty_answer_to_a_write_is_told_as_nothing(halo: Halo) -> None:
    saved: list[Any] = []
    halo.disturb("POST /Agent", answer(None, 201))
    client = halo.client()
    planned = plan(halo, AGENT, client, name="api-tickets", email="new@example.com")
    apply(client, planned, lambda raw, secret: saved.append((raw, secret)))
    assert saved == [({}, "")]
    assert client.warnings == ["Halo answered without an error and did not keep: email."]


@pytest.mark.parametrize("kept", ["api-a-long", "api-something-else", ""])
def test_a_name_that_halo_did_not_keep_is_an_error(halo: Halo, kept: str) -> None:
    client = halo.client()
    planned = plan(halo, AGENT, client, name="api-a-long-name")
    halo.disturb("POST /Agent", answer(halo._shown(halo.agent(50, kept)), 201))
    with pytest.raises(HaloError) as caught:
        apply(client, planned)
    for text in ("api-a-long-name", f"'{kept}'", "id 50", "Delete the agent 50"):
        assert text in str(caught.value)


@pytest.mark.parametrize("kept", ["API-new", "api-new "])
def test_a_name_that_is_the_same_to_halo_is_kept(halo: Halo, kept: str) -> None:
    client = halo.client()
    planned = plan(halo, AGENT, client, name="api-new")
    halo.disturb("POST /Agent", answer(halo._shown(halo.agent(50, kept)), 201))
    assert apply(client, planned)["agent"]["id"] == 50


def test_a_creation_that_got_lost_is_found_by_its_name(halo: Halo, waits: list[float]) -> None:
    def lose() -> Response:
        halo.agent(50, "api-new")
        raise AmbiguousWrite("the connection was lost.")

    client = halo.client()
    planned = plan(halo, AGENT, client, name="api-new", email="new@example.com")
    halo.disturb("POST /Agent", lose)
    assert apply(client, planned)["agent"]["id"] == 50
    assert halo.writes == ["POST /Agent", "POST /Agent"]
    assert halo.sent[0]["id"] == 50
    assert [row["name"] for row in halo.agents.values()].count("api-new") == 1
    assert waits == [0.3]


def test_what_was_saved_is_not_read_again(halo: Halo) -> None:
    do(halo, AGENT, name="api-tickets", email="new@example.com")
    assert halo.requests[-1] == "POST /Agent"


def test_what_an_answer_leaves_empty_is_read(halo: Halo) -> None:
    halo.disturb("POST /Agent", answer({"id": 21, "name": "api-other", "roles": None, "teams": None}))
    assert do(halo, AGENT, name="api-other", roles=["Reader"], email="o@example.com")["agent"]["roles"] == ["Reader"]
    assert halo.reads[-1] == "GET /Agent/21"


def test_a_removal(halo: Halo) -> None:
    result = do(halo, AGENT, name="api-other", state="absent")
    assert halo.writes == ["DELETE /Agent/21"]
    assert result["agent"] is None
    assert result["diff"]["before"]["name"] == "api-other"


@pytest.mark.parametrize("times", [0, 1, 3])
def test_what_was_made_is_waited_for_until_the_list_shows_it(halo: Halo, waits: list[float], times: int) -> None:
    """The next task of a play knows only the list."""
    halo.disturb("GET /Agent", without(halo, 22), times=times, skip=1)
    do(halo, AGENT, name="api-new")
    assert waits == [0.3, 1.0, 3.0][:times]
    assert halo.requests[-1] == "GET /Agent"


def test_what_the_list_does_not_show_in_time_is_warned_of(halo: Halo, waits: list[float]) -> None:
    client = halo.client()
    halo.disturb("GET /Agent", answer({"Message": "No."}, 500), times=9, skip=1)
    assert do(halo, AGENT, client, name="api-new")["agent"]["id"] == 22
    assert waits == [0.3, 1.0, 3.0]
    (text,) = client.warnings
    assert text.startswith("agent 'api-new' was made, and Halo's list does not show it yet")


@pytest.mark.parametrize(
    ("resource", "name", "path"), [(AGENT, "api-other", "/Agent/21"), (APPLICATION, "Tickets", "/Application/a-1")]
)
def test_a_removal_that_did_nothing_is_no_success(
    halo: Halo, waits: list[float], resource: Any, name: str, path: str
) -> None:
    halo.applications["a-1"]["loginas_agent_id"] = 20
    halo.disturb(f"DELETE {path}", answer({"Message": "not found"}, 404), times=9)
    with pytest.raises(HaloError, match="without an error, and it is still there with the id"):
        do(halo, resource, name=name, state="absent")
    assert waits == [0.3, 1.0, 3.0]


@pytest.mark.parametrize("check_mode", [True, False])
def test_check_mode_says_what_a_real_run_says(halo: Halo, check_mode: bool) -> None:
    params = options(
        APPLICATION, name="Tickets", login_agent="api-other", scopes=["b", "all"], new_client_secret=SECRET
    )
    result = run_resource(APPLICATION, Context(params, check_mode, halo.client()))
    assert bool(halo.writes) is not check_mode
    assert result["changed"] is True
    assert result["application"]["scopes"] == ["all", "b"]
    assert result["application"]["login_agent"] == {"id": 21, "name": "api-other"}
    assert result["diff"]["after"] == {**result["application"], "client_secret": "new (agent_changed)"}


def test_no_secret_is_in_a_plan_that_is_printed_or_in_a_result(halo: Halo) -> None:
    row = halo.applications["a-1"]
    row |= {"clientSecret": "h4sh", "tokens": [{"payload": "p4yload"}], "authorizations": [{"payload": "p4yload"}]}
    halo.disturb("GET /Application/a-1", answer(row))
    planned = plan(halo, APPLICATION, name="Tickets", login_agent="api-other", new_client_secret=SECRET)
    context = Context(options(APPLICATION, name="x", new_client_secret=SECRET), False, halo.client())
    halo.disturb("POST /Application", answer({**row, "loginas_agent_id": 21}))
    result = apply(halo.client(), planned)
    for text in (repr(planned), repr(context), repr(planned.result()), repr(result)):
        for secret in (SECRET, "h4sh", "p4yload"):
            assert secret not in text


def test_an_error_of_a_write_holds_no_secret(halo: Halo) -> None:
    text = f"bad secret {SECRET}, {OWN_SECRET}, t0ken"
    halo.disturb("POST /Application", Response(400, {"Message": text}, text, True, ""))
    with pytest.raises(HaloError) as caught:
        do(halo, APPLICATION, name="Tickets", login_agent="api-other", new_client_secret=SECRET)
    assert caught.value.answer == "bad secret ********, ********, ********"
    assert caught.value.subject == "application 'Tickets'"


def test_errors_name_the_innermost_subject() -> None:
    with pytest.raises(HaloError) as caught, naming("binding 'b'"), naming("agent 'a'"):
        raise HaloError("No.")
    assert caught.value.subject == "agent 'a'"


# Retirement


@pytest.mark.parametrize(("how", "became"), [("disable", "disabled"), ("delete", "deleted")])
def test_an_agent_is_retired_and_read_back(halo: Halo, how: str, became: str) -> None:
    assert retire(halo.client(), "21", how) == became
    assert (21 not in halo.agents) if how == "delete" else halo.agents[21]["isdisabled"] is True
    assert halo.sent == ([] if how == "delete" else [{"id": 21, "isdisabled": True}])
    assert halo.requests.index(halo.writes[0]) < len(halo.requests) - 1


@pytest.mark.parametrize("how", ["disable", "delete"])
def test_an_agent_that_is_gone_is_retired(halo: Halo, how: str) -> None:
    assert retire(halo.client(), 99, how) == "deleted"
    assert halo.writes == []


def test_a_list_that_is_late_does_not_keep_an_agent(halo: Halo) -> None:
    """What it says of an application is believed once the application says so itself."""
    late = [{**row, "loginas_agent_id": 21} for row in halo.applications.values()]
    halo.disturb("GET /Application", answer(late))
    assert retire(halo.client(), 21, "disable") == "disabled"
    halo.disturb("GET /Application", answer([{**late[0], "id": "a-gone"}]))
    with pytest.raises(HaloError, match=r"\(a-gone\) logs in as cannot be read") as caught:
        retire(halo.client(), 21, "delete")
    assert not isinstance(caught.value, Refused)


def test_an_agent_that_is_disabled_already(halo: Halo) -> None:
    halo.agents[21]["isdisabled"] = True
    assert retire(halo.client(), 21, "disable") == "disabled"
    assert halo.writes == []
    assert retire(halo.client(), 21, "delete") == "deleted"
    assert halo.writes == ["DELETE /Agent/21"]


@pytest.mark.parametrize("how", ["disable", "delete"])
@pytest.mark.parametrize(
    ("number", "message"),
    [
        (3, "the agent 'Admin' is a human one"),
        (20, "still the login agent of application 'Tickets'"),
        (21, "still the login agent of the Halo Integrator"),
    ],
)
def test_an_agent_that_is_needed_or_human_stays(halo: Halo, how: str, number: int, message: str) -> None:
    halo.control["loginas_halointegrator"] = 21
    with pytest.raises(Refused) as caught:
        retire(halo.client(), number, how)
    assert message in str(caught.value)
    assert caught.value.hint
    assert halo.writes == []


@pytest.mark.parametrize("how", ["disable", "delete"])
@pytest.mark.parametrize("reply", [answer(None), answer({}), answer({"Message": "not found"}, 404)])
def test_an_agent_that_is_in_the_list_and_cannot_be_read_is_not_retired(halo: Halo, how: str, reply: Response) -> None:
    halo.disturb("GET /Agent/21", reply)
    with pytest.raises(HaloError) as caught:
        retire(halo.client(), 21, how)
    assert not isinstance(caught.value, Refused)
    assert halo.writes == []


@pytest.mark.parametrize("how", ["disable", "delete"])
def test_an_agent_that_the_list_hides_is_not_gone(halo: Halo, how: str) -> None:
    halo.disturb("GET /Agent", without(halo, 21))
    retire(halo.client(), 21, how)
    assert len(halo.writes) == 1


@pytest.mark.parametrize("how", ["disable", "delete"])
def test_a_write_that_did_nothing_is_no_success(halo: Halo, how: str, waits: list[float]) -> None:
    halo.disturb("(POST|DELETE) /Agent.*", answer({"id": 21}))
    still = {"disable": "enabled", "delete": "there"}[how]
    with pytest.raises(HaloError, match=rf"the agent 'api-other' is still {still}\.") as caught:
        retire(halo.client(), 21, how)
    assert not isinstance(caught.value, Refused)
    assert waits == [0.3, 1.0, 3.0]


@pytest.mark.parametrize(("how", "became"), [("disable", "disabled"), ("delete", "deleted")])
def test_a_write_that_can_be_read_late_is_waited_for(halo: Halo, how: str, became: str, waits: list[float]) -> None:
    halo.disturb("GET /Agent", answer([halo._list_row(row) for row in halo.agents.values()]), skip=1)
    halo.disturb("GET /Agent/21", answer(dict(halo.agents[21])), skip=1)
    assert retire(halo.client(), 21, how) == became
    assert waits == [0.3]


def test_a_look_back_that_fails_is_taken_again(halo: Halo, waits: list[float]) -> None:
    halo.disturb("GET /Agent", answer({"Message": "no"}, 500), times=9, skip=1)
    with pytest.raises(HaloError, match="GET /Agent answered 500"):
        retire(halo.client(), 21, "disable")
    assert waits == [0.3, 1.0, 3.0]


def test_a_look_back_that_shows_nothing_is_no_proof(halo: Halo) -> None:
    halo.disturb("GET /Agent/21", answer(None), times=9, skip=1)
    with pytest.raises(HaloError, match="gave nothing"):
        retire(halo.client(), 21, "disable")


# Info modules and logins


def info(halo: Halo, resource: Resource, **given: Any) -> list[dict[str, Any]]:
    operation = look_up(resource)
    params = {**{name: option.get("default") for name, option in operation.spec.options.items()}, **given}
    found: list[dict[str, Any]] = operation.run(Context(params, False, halo.client()))[resource.plural]
    return found


def test_all_agents_cost_a_list(halo: Halo) -> None:
    assert [view["name"] for view in info(halo, AGENT)] == ["Admin", "api-other", "api-own", "api-tickets"]
    assert halo.reads == ["GET /Agent"]


@pytest.mark.parametrize("given", [{"name": "API-tickets"}, {"agent_id": 20}], ids=str)
def test_one_agent(halo: Halo, given: dict[str, Any]) -> None:
    assert info(halo, AGENT, **given) == [AGENT.public(halo.agents[20])]
    assert info(halo, AGENT, agent_id=99) == []


def test_what_an_info_module_takes_and_gives(halo: Halo) -> None:
    spec = look_up(AGENT).spec
    assert spec.options == {"name": {"type": "str"}, "agent_id": {"type": "int"}, **AGENT.filters}
    assert spec.constraints == {"mutually_exclusive": [["name", "agent_id"]]}
    result = look_up(AGENT).run(
        Context({"name": "x", "api_only": None, "include_disabled": True}, False, halo.client())
    )
    assert result == {"changed": False, "agents": []}


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({"api_only": True}, ["api-other", "api-own", "api-tickets"]),
        ({"api_only": False}, ["Admin"]),
        ({"include_disabled": False}, ["Admin", "api-own", "api-tickets"]),
    ],
    ids=str,
)
def test_some_agents(halo: Halo, given: dict[str, Any], names: list[str]) -> None:
    halo.agents[21]["isdisabled"] = True
    assert [view["name"] for view in info(halo, AGENT, **given)] == names


def test_applications_of_halos_own_are_shown_on_request(halo: Halo) -> None:
    halo.application("a-2", "Portal", system_use="portal")
    assert [view["name"] for view in info(halo, APPLICATION)] == ["Automation", "Tickets"]
    assert [view["name"] for view in info(halo, APPLICATION, include_system=True)] == [
        "Automation",
        "Portal",
        "Tickets",
    ]


def test_a_list_that_says_all_is_enough(halo: Halo) -> None:
    halo.disturb("GET /Application", answer([{**halo.applications["a-1"], "loginas_agent_name": "x"}]))
    assert info(halo, APPLICATION, name="Tickets")[0]["scopes"] == ["all"]
    assert halo.reads == ["GET /Application"]


def test_what_was_asked_for_by_its_id_is_read_once(halo: Halo) -> None:
    halo.application("a-2", "Empty", scopes=[])
    assert info(halo, APPLICATION, application_id="a-2")[0]["scopes"] == []
    assert halo.reads == ["GET /Application/a-2"]


@pytest.mark.parametrize("scopes", [[], None])
def test_an_application_whose_scopes_a_list_does_not_fill_in_is_read(halo: Halo, scopes: Any) -> None:
    row = {**halo._list_row(halo.applications["a-own"]), "scopes": scopes}
    halo.disturb("GET /Application", answer([row]))
    assert [view["scopes"] for view in info(halo, APPLICATION)] == [["all"]]


def test_an_application_that_is_listed_and_cannot_be_read_is_not_shown_in_half(halo: Halo) -> None:
    halo.disturb("GET /Application/a-1", answer(None, 404), times=4)
    with pytest.raises(HaloError, match="in the list with the id a-1 and cannot be read"):
        info(halo, APPLICATION)


def test_an_object_that_is_readable_late_is_waited_for(halo: Halo, waits: list[float]) -> None:
    halo.disturb("GET /Application/a-1", answer(None, 404), times=2)
    assert [view["scopes"] for view in info(halo, APPLICATION)] == [["all"]] * 2
    assert waits == [0.3, 1.0]


def test_what_was_saved_is_read_until_it_is_there_and_as_it_was_sent(halo: Halo, waits: list[float]) -> None:
    # an answer without details, then a read that shows the object as it was before
    before = {"id": 20, "name": "api-tickets", "email": "t@example.com", "roles": [], "teams": []}
    halo.disturb("POST /Agent", answer({"id": 20, "name": "api-tickets"}, 201))
    halo.disturb("GET /Agent/20", answer(before), skip=1, times=2)
    halo.agents[20]["email"] = "new@example.com"
    planned = plan(halo, AGENT, name="api-tickets", email="newer@example.com")
    halo.agents[20]["email"] = "newer@example.com"
    client = halo.client()
    result = apply(client, planned)
    assert (result["agent"]["email"], client.warnings) == ("newer@example.com", [])
    assert waits == [0.3, 1.0]


def test_what_halo_did_not_keep_is_warned_of_after_the_last_look(halo: Halo, waits: list[float]) -> None:
    halo.disturb("POST /Agent", answer({"id": 20, "name": "api-tickets"}, 201))
    client = halo.client()
    apply(client, plan(halo, AGENT, client, name="api-tickets", email="new@example.com"))
    assert client.warnings == ["Halo answered without an error and did not keep: email."]
    assert waits == [0.3, 1.0, 3.0]


def test_a_login(halo: Halo) -> None:
    response, refusal = try_login(halo.client())
    assert refusal is None
    agent = {"id": 7, "name": "api-own", "api_only": True}
    assert response == {"valid": True, "agent": agent, "scope": "all", "expires_in": 3600, "error": None}
    response, _refusal = try_login(halo.client(**TOKEN))
    assert response == {"valid": True, "agent": agent, "scope": None, "expires_in": None, "error": None}
    halo.disturb("GET /Agent/me", answer({"name": "somebody"}))
    assert try_login(halo.client())[0]["agent"] is None


def test_other_credentials_count_and_no_token_that_was_given(halo: Halo) -> None:
    login = halo.client(**TOKEN).with_login("c-1", SECRET, "read:x").login
    assert login.secrets() == [SECRET]
    assert (login.connection.client_id, login.connection.scope, login.connection.access_token) == (
        "c-1",
        "read:x",
        None,
    )
    assert login.token() == "t0ken"


def test_a_login_that_says_nothing_of_the_credentials(halo: Halo) -> None:
    halo.disturb("GET /Agent/me", answer({"Message": "no"}, 403))
    response, refusal = try_login(halo.client())
    assert (response["valid"], response["agent"], refusal) == (True, None, None)
    assert response["error"].startswith("https://acme.example.com: GET /Agent/me answered 403.")
    halo.disturb("GET /Agent/me", answer({"Message": "no"}, 500))
    with pytest.raises(HaloError, match="answered 500"):
        try_login(halo.client())


def test_a_login_that_is_not_asked_whose_it_is(halo: Halo) -> None:
    response, _refusal = try_login(halo.client(), whom=False)
    assert (response["valid"], response["agent"]) == (True, None)
    assert halo.requests == ["POST /token"]
    try_login(halo.client(**TOKEN), whom=False)
    assert halo.requests[1:] == ["GET /Agent/me"]


REFUSAL = Response(401, {"error": "invalid_client"}, "invalid_client", True, "")


@pytest.mark.parametrize(
    ("request_", "reply", "given"), [("POST /token", REFUSAL, {}), ("GET /Agent/me", answer(None, 401), TOKEN)]
)
def test_a_refused_login_is_a_result_unless_one_is_required(
    halo: Halo, request_: str, reply: Response, given: dict[str, Any]
) -> None:
    halo.disturb(request_, reply, times=9)
    run = login_info().run
    result = run(Context({"require": False}, False, halo.client(**given)))
    assert (result["valid"], result["changed"]) == (False, False)
    assert result["error"].startswith("https://acme.example.com: ")
    assert (result["agent"], result["scope"], result["expires_in"]) == (None, None, None)
    with pytest.raises(LoginError) as caught:
        run(Context({"require": True}, False, halo.client(**given)))
    assert (caught.value.status, caught.value.instance) == (401, "https://acme.example.com")
    assert caught.value.hint


def test_execute_names_the_instance_and_hands_over_the_warnings(halo: Halo, monkeypatch: pytest.MonkeyPatch) -> None:
    halo.agents[21]["isdisabled"] = True
    monkeypatch.setattr(run_module, "Transport", lambda *_args, **_options: halo)
    monkeypatch.setattr(halo, "close", lambda: None, raising=False)
    operation = manage(APPLICATION)

    def call(**given: Any) -> dict[str, Any]:
        return execute(operation, {**OPTIONS, **options(APPLICATION, **given)}, check_mode=True)

    assert call(name="Tickets", login_agent="api-other")["warnings"] == [DISABLED]
    halo.agents[21]["name"] = "api-\x9b31mother\x1b]0;x\x07"
    assert call(name="Tickets", login_agent_id=21)["warnings"] == [DISABLED.replace("api-other", "api- other ")]
    halo.agents[21]["name"] = "api-other"
    assert "warnings" not in call(name="Tickets")
    with pytest.raises(HaloError) as caught:
        call(name="Tickets", login_agent="nobody")
    assert str(caught.value).startswith("https://acme.example.com: application 'Tickets': there is no agent")


def test_execute_sets_the_transport_up_and_closes_it(halo: Halo, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    closed: list[bool] = []
    monkeypatch.setattr(run_module, "Transport", lambda *args, **options: made.append((args, options)) or halo)
    monkeypatch.setattr(halo, "close", lambda: closed.append(True), raising=False)
    seen: list[Client] = []
    operation = Operation(
        Spec({"given": {"type": "str", "no_log": True}, "unset": {"type": "str", "no_log": True}, "shown": {}}),
        lambda context: seen.append(context.client) or {"changed": context.check_mode},
    )
    params = {**OPTIONS, "given": SECRET, "unset": None, "shown": "shown"}
    say: Callable[[str], None] = seen.clear  # type: ignore[assignment]
    assert execute(operation, params, check_mode=True, say=say) == {"changed": True}
    options_ = {"verify": True, "timeout": 10.0, "retry_seconds": 0.0, "say": say}
    assert made == [(("https://acme.example.com",), options_)]
    assert closed == [True]
    assert seen[0].secrets == [SECRET]
    assert operation.may_return_secret({}) is False


MAY_RETURN: list[tuple[dict[str, Any], bool]] = [
    ({}, True),
    ({"state": "absent"}, False),
    ({"regenerate_secret": "never"}, False),
    ({"defer_rotation": True}, False),
    ({"defer_rotation": True, "new_client_secret": "x"}, True),
]


@pytest.mark.parametrize(("given", "may"), MAY_RETURN, ids=str)
def test_which_calls_may_return_a_secret(given: dict[str, Any], may: bool) -> None:
    may_return: Callable[[Any], bool] = manage(APPLICATION).may_return_secret
    assert may_return(options(APPLICATION, name="x", **given)) is may
    assert manage(AGENT).may_return_secret(options(AGENT, name="x")) is False
