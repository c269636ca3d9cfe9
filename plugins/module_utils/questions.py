# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""PURE: what this collection assumes about Halo, each as a question that an instance can answer.

Each question is a row of ``QUESTIONS`` and a function that asks it through a :class:`Lab`. What was observed is put
down as a status and a shape: never a value of an object that the lab did not make.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

from .secret import secret_in_force

Raw = dict[str, t.Any]

AS_ASSUMED, OTHERWISE, NOT_ASKED = "as assumed", "otherwise", "not asked"
# a scope that Halo has, and that opens little
SCOPE = "read:tickets"
# as high as the ids of Halo's model go
NO_ID = 2147483647
EVERYONE = {"includeenabled": "true", "includedisabled": "true", "includeapiagents": "true"}
DETAILS = {"includedetails": "true"}
CLIENT_CREDENTIALS = "client_credentials"
SWITCHES = ("in_section", "unassigned_access", "otheragent_access")
# the beginning of a hash by ASP.NET's PasswordHasher (PBKDF2), in base64
HASH = "AQAAAA"
_WORD = re.compile(r"[A-Za-z_]{1,40}")
_FIELD = re.compile(r"(\[\d\]\.)?[A-Za-z_]{1,40}")


class NotAsked(Exception):
    """A question that cannot be asked here; the text says why."""


class Reply(t.NamedTuple):
    """What Halo answered: the status, and the JSON (None for no body, or where it is none)."""

    status: int
    data: t.Any
    is_json: bool = True

    @property
    def done(self) -> bool:
        return self.status in (200, 201, 202, 204)

    @property
    def row(self) -> Raw:
        """The object that was answered, alone or in an array of one; empty where there is none."""
        found = self.data[0] if isinstance(self.data, list) and len(self.data) == 1 else self.data
        return found if isinstance(found, dict) else {}

    @property
    def error(self) -> str:
        """The error of an authorisation server, a word such as ``invalid_client``; empty for none."""
        found = self.data.get("error") if isinstance(self.data, dict) else None
        return found if isinstance(found, str) and _WORD.fullmatch(found) else ""

    @property
    def shape(self) -> str:
        """Status and shape, without a value."""
        return f"{self.status}, {self._shape()}"

    def _shape(self) -> str:
        if not self.is_json:
            return "no JSON"
        if self.data is None:
            return "no body"
        if isinstance(self.data, list):
            return "an array of one" if len(self.data) == 1 else "an array"
        if not isinstance(self.data, dict):
            return "a text" if isinstance(self.data, str) else "a value"
        if self.error:
            return f"error {self.error}"
        # of a page, what it is wrapped in; of any other object, that it is one
        if "id" in self.data and "record_count" not in self.data:
            return "an object"
        # what is no name of a field is nothing to print, or to paste
        names = [name if _FIELD.fullmatch(str(name)) else "(odd)" for name in sorted(self.data)[:5]]
        return f"an object with {', '.join(names)}" if names else "an empty object"


@dataclasses.dataclass
class Application:
    """A throw-away application.

    :param sent_id: the client ID that was sent with its creation, as ``sent_secret``
    :param client_id: the one in force, as ``secret``
    """

    id: str
    name: str
    sent_id: str
    client_id: str
    sent_secret: str = dataclasses.field(repr=False)
    secret: str = dataclasses.field(repr=False)
    reply: Reply = dataclasses.field(repr=False)


class Lab(t.Protocol):
    """An instance to ask, and throw-away objects on it."""

    def api(
        self, method: str, path: str, *, query: Raw | None = None, body: t.Any = None, token: str | None = None
    ) -> Reply:
        """One request below ``/api``; with another token than the run's own, or without (an empty one)."""

    def rows(self, path: str, query: Raw | None = None) -> list[Raw]:
        """All rows of a list."""

    def read(self, path: str, accept: t.Callable[[Reply], bool]) -> tuple[Reply, int]:
        """An object with its details: read until ``accept`` takes it or time is up; and after how many looks."""

    def listed(self, path: str, query: Raw, identity: t.Any) -> int:
        """After how many looks a list shows an object; 0 for never."""

    def me(self) -> Raw:
        """The run's own login agent."""

    def own_client_id(self) -> str:
        """Of the application that the run logs in with; raises NotAsked where only a token is known."""

    def own_scope(self) -> str:
        """What the run asks for when it logs in."""

    def login(self, application: Application | None, secret: str | None = None, **form: str) -> Reply:
        """Ask for a token, as an application or (None) as the run itself; ``form``: what differs."""

    def name(self, word: str) -> str:
        """A throw-away name."""

    def agent(self, word: str, **fields: t.Any) -> Raw:
        """A throw-away agent, API-only and with an email address unless the fields say otherwise."""

    def post_agent(self, row: Raw) -> Reply:
        """POST a throw-away agent, whatever is answered."""

    def application(self, word: str, **fields: t.Any) -> Application:
        """A throw-away application that logs in as a throw-away agent."""

    def new_secret(self) -> str:
        """A new secret, which appears in no output."""


class Finding(t.NamedTuple):
    """Whether it is as assumed, and what was observed."""

    as_assumed: bool
    observed: str


Ask = t.Callable[[Lab], Finding]


@dataclasses.dataclass(frozen=True)
class Question:
    """One assumption.

    :param key: its name
    :param text: what is asked
    :param assumed: the answer that this collection is built on
    :param writes: whether throw-away objects are made to ask it
    :param reports: whether it reads Halo's database by a report
    """

    key: str
    text: str
    assumed: str
    ask: Ask
    writes: bool = False
    reports: bool = False


QUESTIONS: list[Question] = []


def _question(text: str, assumed: str, **more: bool) -> t.Callable[[Ask], Ask]:
    def add(ask: Ask) -> Ask:
        key = ask.__name__.removeprefix("_")
        QUESTIONS.append(Question(key, text, assumed, ask, **more))
        return ask

    return add


def _writing(text: str, assumed: str, **more: bool) -> t.Callable[[Ask], Ask]:
    return _question(text, assumed, writes=True, **more)


# What can be read


@_question("What does AuthInfo say without a token?", "200 with auth_url")
def _authinfo(lab: Lab) -> Finding:
    reply = lab.api("GET", "/AuthInfo", token="")
    held = {str(name).lower(): value for name, value in reply.row.items()}
    filled = [name for name in ("auth_url", "tenant_id") if held.get(name)]
    return Finding(reply.status == 200 and "auth_url" in filled, f"{reply.status}, filled: {_list(filled)}")


@_question("Does InstanceInfo need a token?", "yes: 401")
def _instance_info(lab: Lab) -> Finding:
    reply = lab.api("GET", "/InstanceInfo", token="")
    return Finding(reply.status == 401, reply.shape)


@_question("What is answered to a scope that does not exist?", "400, error invalid_scope")
def _scope_unknown(lab: Lab) -> Finding:
    reply = lab.login(None, scope=f"{lab.own_scope()} haloops:nonsense")
    return Finding((reply.status, reply.error) == (400, "invalid_scope"), _of_token(reply))


@_question("What is answered to an unknown grant type?", "400, error unsupported_grant_type")
def _grant_unknown(lab: Lab) -> Finding:
    reply = lab.login(None, grant_type="haloops")
    return Finding((reply.status, reply.error) == (400, "unsupported_grant_type"), _of_token(reply))


def _of_list(path: str, query: Raw | None = None) -> Ask:
    def ask(lab: Lab) -> Finding:
        reply = _permitted(lab.api("GET", path, query=query))
        return Finding(reply.status == 200 and isinstance(reply.data, list), f"{reply.status}, {_kind(reply)}")

    return ask


for _key, _path, _of in (
    ("list_agents", "/Agent", "agents"),
    ("list_applications", "/Application", "applications"),
    ("list_roles", "/Roles", "roles"),
    ("list_teams", "/Team", "teams"),
    ("list_workdays", "/Workday", "workdays"),
):
    QUESTIONS.append(Question(_key, f"What shape does the list of {_of} have?", "200, an array", _of_list(_path)))


@_question("What shape does the list of top levels have?", "200, an object with record_count and an array")
def _list_top_levels(lab: Lab) -> Finding:
    reply = _permitted(lab.api("GET", "/TopLevel", query={"agent_departments_only": "true"}))
    wrapped = isinstance(reply.data, dict) and "record_count" in reply.data and bool(_rows(reply))
    return Finding(reply.status == 200 and wrapped, f"{reply.status}, {_kind(reply)}")


@_question("Are the departments of all teams among the top levels that are departments?", "yes")
def _departments(lab: Lab) -> Finding:
    reply = _permitted(lab.api("GET", "/TopLevel", query={"agent_departments_only": "true"}))
    known = {str(row.get("id")) for row in _rows(reply)}
    used = {str(row["department_id"]) for row in lab.rows("/Team") if row.get("department_id")}
    if not used:
        raise NotAsked("no team has a department")
    return Finding(used <= known, "yes" if used <= known else "some are missing" if used & known else "none is")


@_question("What is answered to pageinate=true?", "200, an object with record_count and as many rows as asked for")
def _page(lab: Lab) -> Finding:
    query = {**EVERYONE, "pageinate": "true", "page_size": 1, "page_no": 1}
    reply = _permitted(lab.api("GET", "/Agent", query=query))
    counted = isinstance(reply.data, dict) and "record_count" in reply.data
    rows = len(_rows(reply))
    return Finding(
        reply.status == 200 and counted and rows == 1,
        f"{reply.status}, {_kind(reply)}, {'one row' if rows == 1 else 'another number of rows'}",
    )


def _fields(lab: Lab, path: str, query: Raw, expected: tuple[str, ...], not_expected: str) -> Finding:
    rows = lab.rows(path, query)
    lacking = [name for name in expected if all(row.get(name) is None for row in rows)]
    more = any(row.get(not_expected) is not None for row in rows)
    observed = f"filled: {_list([name for name in expected if name not in lacking])}; {not_expected}: "
    return Finding(not lacking and not more, observed + ("filled" if more else "not"))


@_question("Which fields does the list of agents fill?", "name, email, isapiagent, isdisabled and teams, and not roles")
def _agent_rows(lab: Lab) -> Finding:
    return _fields(lab, "/Agent", EVERYONE, ("name", "email", "isapiagent", "isdisabled", "teams"), "roles")


@_question(
    "Which fields does the list of applications fill?",
    "clientId, displayName, loginas_agent_id, inactive, system_use and _issystem, and not scopes",
)
def _application_rows(lab: Lab) -> Finding:
    expected = ("clientId", "displayName", "loginas_agent_id", "inactive", "system_use", "_issystem")
    return _fields(lab, "/Application", {}, expected, "scopes")


@_question("Which grant_type does an application with client ID and secret have?", CLIENT_CREDENTIALS)
def _grant_type(lab: Lab) -> Finding:
    own = lab.own_client_id().lower()
    for row in lab.rows("/Application"):
        if str(row.get("clientId")).lower() == own:
            found = lab.read(f"/Application/{row['id']}", lambda reply: reply.status == 200)[0].row
            values = [f"{name} {_value(found.get(name))}" for name in ("grant_type", "loginentity", "credential_type")]
            return Finding(found.get("grant_type") == CLIENT_CREDENTIALS, ", ".join(values))
    raise NotAsked("the list of applications lacks the one that this run logs in with")


def _hides(field: str, parameter: str, lab: Lab) -> Finding:
    there = [row for row in lab.rows("/Agent", EVERYONE) if row.get(field)]
    if not there:
        raise NotAsked(f"there is no agent with {field}")
    plain = [row for row in lab.rows("/Agent") if row.get(field)]
    hidden = not plain
    return Finding(hidden, f"hidden without {parameter}" if hidden else f"listed without {parameter}")


@_question("Does the list of agents hide API-only agents?", "yes, without includeapiagents")
def _api_agents_hidden(lab: Lab) -> Finding:
    return _hides("isapiagent", "includeapiagents", lab)


@_question("Does the list of agents hide disabled agents?", "yes, without includedisabled")
def _disabled_agents_hidden(lab: Lab) -> Finding:
    return _hides("isdisabled", "includedisabled", lab)


@_question("What is answered to an id that does not exist?", "404")
def _id_unknown(lab: Lab) -> Finding:
    reply = lab.api("GET", f"/Agent/{NO_ID}", query=DETAILS)
    return Finding(reply.status == 404, reply.shape)


@_question(
    "What does Control say of the Integrator?",
    "client_id_halointegrator, loginas_halointegrator and hashostedintegrator, and no secret",
)
def _control(lab: Lab) -> Finding:
    reply = _permitted(lab.api("GET", "/Control"))
    names = ("client_id_halointegrator", "loginas_halointegrator", "hashostedintegrator")
    there = [name for name in names if name in reply.row]
    secret = reply.row.get("client_secret_halointegrator")
    observed = f"{reply.status}, there: {_list(there)}; secret: {secret_shape(secret)}"
    return Finding(len(there) == len(names) and not secret, observed)


# Agents


@_writing("Do a name and isapiagent suffice for an API-only agent?", "yes")
def _agent_minimum(lab: Lab) -> Finding:
    reply = lab.post_agent({"name": lab.name("minimum"), "isapiagent": True})
    return Finding(reply.done, reply.shape)


@_writing("What is answered when one agent is made?", "201, an object")
def _agent_answer(lab: Lab) -> Finding:
    name = lab.name("answer")
    reply = lab.post_agent({"name": name, "isapiagent": True, "email": f"{name}@example.invalid"})
    return Finding(reply.status == 201 and isinstance(reply.data, dict), f"{reply.status}, {_kind(reply)}")


@_writing("What becomes of a second agent of the same name?", "it is made")
def _agent_name_twice(lab: Lab) -> Finding:
    first = lab.agent("twin")
    reply = lab.post_agent({"name": first["name"], "isapiagent": True, "email": "twin-of-" + first["name"] + _AT})
    return Finding(reply.done, "it is made" if reply.done else reply.shape)


@_writing("What becomes of a second agent with the same email address?", "it is made")
def _agent_email_twice(lab: Lab) -> Finding:
    first = lab.agent("address")
    name = lab.name("address-twin")
    reply = lab.post_agent({"name": name, "isapiagent": True, "email": first["name"] + _AT})
    return Finding(reply.done, "it is made" if reply.done else reply.shape)


_AT = "@example.invalid"


def _role_ids(lab: Lab, count: int) -> list[t.Any]:
    found = [row["id"] for row in lab.rows("/Roles") if row.get("id")][:count]
    if len(found) < count:
        raise NotAsked("there are not enough roles")
    return found


def _roles_of(reply: Reply) -> set[str]:
    return {str(role.get("id")).lower() for role in reply.row.get("roles") or []}


@_writing("Does the id of a role suffice to give it to an agent?", "yes")
def _role_by_id(lab: Lab) -> Finding:
    (role,) = _role_ids(lab, 1)
    # nobody can log in as a disabled agent, whatever the role
    agent = lab.agent("role", isdisabled=True)
    reply = lab.api("POST", "/Agent", body=[{"id": agent["id"], "roles": [{"id": role}]}])
    if not reply.done:
        return Finding(False, reply.shape)
    read = lab.read(f"/Agent/{agent['id']}", lambda one: _roles_of(one) == {str(role).lower()})[0]
    as_sent = _roles_of(read) == {str(role).lower()}
    return Finding(as_sent, "yes" if as_sent else f"{reply.status}, and the agent does not have it")


@_writing("Do the roles that are sent replace those that an agent has?", "yes")
def _roles_replace(lab: Lab) -> Finding:
    first, second = _role_ids(lab, 2)
    agent = lab.agent("roles", isdisabled=True)
    for role in (first, second):
        reply = lab.api("POST", "/Agent", body=[{"id": agent["id"], "roles": [{"id": role}]}])
        if not reply.done:
            raise NotAsked(f"roles were not taken: {reply.shape}")
    read = lab.read(f"/Agent/{agent['id']}", lambda one: _roles_of(one) == {str(second).lower()})[0]
    found = _roles_of(read)
    if found == {str(second).lower()}:
        return Finding(True, "yes")
    return Finding(False, "they are added" if len(found) == 2 else "the agent has other ones")


def _teams_of(reply: Reply) -> set[str]:
    return {str(team.get("team_id")) for team in reply.row.get("teams") or []}


@_writing("Do the teams that are sent replace those that an agent is in?", "yes")
def _teams_replace(lab: Lab) -> Finding:
    teams = [str(row["id"]) for row in lab.rows("/Team") if row.get("id") and not row.get("inactive")][:2]
    if len(teams) < 2:
        raise NotAsked("there are not enough teams")
    agent = lab.agent("teams", isdisabled=True)
    for team in teams:
        reply = lab.api("POST", "/Agent", body=[{"id": agent["id"], "teams": [{"team_id": team}]}])
        if not reply.done:
            raise NotAsked(f"teams were not taken: {reply.shape}")
    found = _teams_of(lab.read(f"/Agent/{agent['id']}", lambda one: _teams_of(one) == {teams[1]})[0])
    if found == {teams[1]}:
        return Finding(True, "yes")
    return Finding(False, "they are added" if found == set(teams) else "the agent is in other ones")


@_writing("What are the switches of a membership that is posted without them?", "off")
def _membership_switches(lab: Lab) -> Finding:
    team = next((row["id"] for row in lab.rows("/Team") if row.get("id") and not row.get("inactive")), None)
    if team is None:
        raise NotAsked("there is no team")
    agent = lab.agent("member", isdisabled=True)
    reply = lab.api("POST", "/Agent", body=[{"id": agent["id"], "teams": [{"team_id": team}]}])
    if not reply.done:
        raise NotAsked(f"the membership was not taken: {reply.shape}")
    read = lab.read(f"/Agent/{agent['id']}", lambda one: bool(one.row.get("teams")))[0]
    members = [row for row in read.row.get("teams") or [] if str(row.get("team_id")) == str(team)]
    if not members:
        raise NotAsked("the agent is not in the team afterwards")
    switched_on = [name for name in SWITCHES if members[0].get(name)]
    return Finding(not switched_on, f"on: {_list(switched_on)}")


@_writing("Can an agent be made an API-only one later?", "yes")
def _becomes_api_only(lab: Lab) -> Finding:
    # a disabled one takes no licence
    agent = lab.agent("later", isapiagent=False, isdisabled=True)
    reply = lab.api("POST", "/Agent", body=[{"id": agent["id"], "isapiagent": True}])
    if not reply.done:
        return Finding(False, reply.shape)
    read = lab.read(f"/Agent/{agent['id']}", lambda one: one.row.get("isapiagent") is True)[0]
    turned = read.row.get("isapiagent") is True
    return Finding(turned, "yes" if turned else f"{reply.status}, and it is none")


@_writing("What becomes of an agent that is deleted?", "it is gone: 404, and not in the list")
def _agent_deleted(lab: Lab) -> Finding:
    agent = lab.agent("deleted")
    reply = lab.api("DELETE", f"/Agent/{agent['id']}")
    if not reply.done:
        return Finding(False, reply.shape)
    read = lab.read(f"/Agent/{agent['id']}", lambda one: one.status == 404)[0]
    listed = any(str(row.get("id")) == str(agent["id"]) for row in lab.rows("/Agent", EVERYONE))
    disabled = ", disabled" if read.row.get("isdisabled") else ""
    observed = f"{read.status}{disabled}, {'in' if listed else 'not in'} the list"
    return Finding(read.status == 404 and not listed, observed)


@_writing("Does Halo delete an agent that an application logs in as?", "yes, without a word")
def _agent_in_use(lab: Lab) -> Finding:
    agent = lab.agent("used")
    lab.application("of-used", loginas_agent_id=agent["id"])
    reply = lab.api("DELETE", f"/Agent/{agent['id']}")
    return Finding(reply.done, "yes" if reply.done else reply.shape)


# Applications and their secrets


@_writing("What is answered when one application is made?", "201, an object")
def _application_answer(lab: Lab) -> Finding:
    reply = lab.application("answer").reply
    return Finding(reply.status == 201 and isinstance(reply.data, dict), f"{reply.status}, {_kind(reply)}")


@_writing("What becomes of a second application of the same name?", "it is made")
def _application_name_twice(lab: Lab) -> Finding:
    lab.application("twin")
    try:
        lab.application("twin")
    except NotAsked as refused:
        return Finding(False, str(refused))
    return Finding(True, "it is made")


@_writing("Are grant_type, allowagents and loginas_agent_id kept as they are sent?", "yes")
def _login_fields(lab: Lab) -> Finding:
    agent = lab.agent("fields")
    made = lab.application("fields", loginas_agent_id=agent["id"])
    sent = {"grant_type": CLIENT_CREDENTIALS, "allowagents": True, "loginas_agent_id": agent["id"]}

    def other(one: Reply) -> list[str]:
        return [name for name, value in sent.items() if str(one.row.get(name)) != str(value)]

    read = lab.read(f"/Application/{made.id}", lambda one: not other(one))[0]
    return Finding(not other(read), f"not kept: {_list(other(read))}" if other(read) else "yes")


@_writing("Is the client ID kept that is sent with a new application?", "yes")
def _client_id_kept(lab: Lab) -> Finding:
    made = lab.application("client-id")
    kept = made.client_id.lower() == made.sent_id.lower()
    return Finding(kept, "yes" if kept else "Halo makes its own")


@_writing("Does the client secret log in that is sent with a new application?", "yes")
def _secret_sent(lab: Lab) -> Finding:
    made = lab.application("secret")
    reply = lab.login(made, made.sent_secret)
    own = "" if made.secret == made.sent_secret else "; the answer holds another one"
    return Finding(reply.status == 200, _of_token(reply) + own)


@_writing("What does reading an application give as its client secret?", "nothing")
def _secret_read(lab: Lab) -> Finding:
    made = lab.application("read")
    read = lab.read(f"/Application/{made.id}", lambda reply: reply.status == 200)[0]
    found = read.row.get("clientSecret")
    observed = "the secret in clear" if found and found in (made.secret, made.sent_secret) else secret_shape(found)
    return Finding(not found, observed)


def _logs_in(lab: Lab, made: Application) -> None:
    """See that what shall be tried afterwards works before.

    :raises NotAsked: it does not
    """
    before = lab.login(made)
    if before.status != 200:
        raise NotAsked(f"its first secret does not log in: {_of_token(before)}")


def _changed(lab: Lab, made: Application, change: Raw) -> Reply:
    """Change a throw-away application whose secret is known to log in."""
    _logs_in(lab, made)
    reply = lab.api("POST", "/Application", body=[{"id": made.id, **change}])
    if not reply.done:
        raise NotAsked(f"the change was not taken: {reply.shape}")
    return reply


def _renewed(lab: Lab, made: Application) -> None:
    """Set a new secret, and see that it logs in.

    :raises NotAsked: it does not, so that nothing follows from another one that does not either
    """
    secret = lab.new_secret()
    reply = lab.api("POST", "/Application", body=[{"id": made.id, "clientSecret": secret}])
    if not reply.done:
        raise NotAsked(f"a new secret was not taken: {reply.shape}")
    now = lab.login(made, secret_in_force(secret, reply.row.get("clientSecret")))
    if now.status != 200:
        raise NotAsked(f"a new secret does not log in either: {_of_token(now)}")


@_writing("Does the secret survive an update that does not send it?", "yes")
def _secret_kept(lab: Lab) -> Finding:
    made = lab.application("kept")
    _changed(lab, made, {"displayName": made.name, "description": "changed"})
    reply = lab.login(made)
    return Finding(reply.status == 200, "yes" if reply.status == 200 else _of_token(reply))


@_writing("Does the secret survive a change of the login agent that does not send a new one?", "no")
def _agent_change(lab: Lab) -> Finding:
    made = lab.application("agent-change")
    other = lab.agent("other")
    _changed(lab, made, {"loginas_agent_id": other["id"]})
    reply = lab.login(made)
    refused = reply.status in (400, 401)
    if refused:
        # it need not be for the secret that nothing logs in as the other agent
        _renewed(lab, made)
    return Finding(refused, f"it {'is dead' if refused else 'still logs in'}: {_of_token(reply)}")


@_writing("Does a new secret log in that is sent in one request with another login agent?", "yes")
def _agent_change_with_secret(lab: Lab) -> Finding:
    made, secret = lab.application("agent-secret"), lab.new_secret()
    other = lab.agent("next")
    _changed(lab, made, {"loginas_agent_id": other["id"], "clientSecret": secret})
    reply = lab.login(made, secret)
    return Finding(reply.status == 200, "yes" if reply.status == 200 else _of_token(reply))


@_writing("Does the old secret still log in after a new one was set?", "no")
def _old_secret(lab: Lab) -> Finding:
    made = lab.application("old-secret")
    _logs_in(lab, made)
    _renewed(lab, made)
    reply = lab.login(made)
    refused = reply.status in (400, 401)
    return Finding(refused, f"it {'is dead' if refused else 'still logs in'}: {_of_token(reply)}")


def _scopes_of(reply: Reply) -> set[str]:
    return {str(scope.get("name")) for scope in reply.row.get("scopes") or []}


@_writing("Do scopes that are sent by name replace those of an application?", "yes")
def _scopes_replace(lab: Lab) -> Finding:
    made, other = lab.application("scopes"), "read:crm"
    reply = lab.api("POST", "/Application", body=[{"id": made.id, "scopes": [{"name": other}]}])
    if not reply.done:
        return Finding(False, reply.shape)
    read = lab.read(f"/Application/{made.id}", lambda one: _scopes_of(one) == {other})[0]
    found = _scopes_of(read)
    if found == {other}:
        return Finding(True, "yes")
    return Finding(False, "they are added" if found == {SCOPE, other} else "the application has other ones")


def _token_of(lab: Lab, made: Application) -> str:
    """A token of a throw-away application, with which something can be asked."""
    reply = lab.login(made)
    token = reply.row.get("access_token")
    if not isinstance(token, str) or not token:
        raise NotAsked(f"the application does not log in: {_of_token(reply)}")
    asked = lab.api("GET", "/Agent/me", token=token)
    if asked.status != 200:
        raise NotAsked(f"its token opens nothing: GET /Agent/me gives {asked.status}")
    return token


def _survives(lab: Lab, word: str, change: Raw) -> Finding:
    made = lab.application(word)
    token = _token_of(lab, made)
    _changed(lab, made, change)
    asked = lab.api("GET", "/Agent/me", token=token)
    return Finding(asked.status == 200, "yes" if asked.status == 200 else f"no: {asked.shape}")


@_writing("Does a token survive a new secret?", "yes, until it expires")
def _token_new_secret(lab: Lab) -> Finding:
    return _survives(lab, "token-secret", {"clientSecret": lab.new_secret()})


@_writing("Does a token survive the deactivation of its application?", "yes, until it expires")
def _token_inactive(lab: Lab) -> Finding:
    return _survives(lab, "token-inactive", {"inactive": True})


@_writing("What is answered to the login of an inactive application?", "401, error invalid_client")
def _login_inactive(lab: Lab) -> Finding:
    made = lab.application("inactive")
    _changed(lab, made, {"inactive": True})
    reply = lab.login(made)
    return Finding((reply.status, reply.error) == (401, "invalid_client"), _of_token(reply))


@_writing("What is answered to a login whose agent is disabled?", "401, error invalid_client")
def _login_disabled_agent(lab: Lab) -> Finding:
    agent = lab.agent("disabled")
    made = lab.application("of-disabled", loginas_agent_id=agent["id"])
    _logs_in(lab, made)
    reply = lab.api("POST", "/Agent", body=[{"id": agent["id"], "isdisabled": True}])
    if not reply.done:
        raise NotAsked(f"it was not disabled: {reply.shape}")
    reply = lab.login(made)
    return Finding((reply.status, reply.error) == (401, "invalid_client"), _of_token(reply))


@_writing("What is answered to a scope that exists and was not granted?", "400, error invalid_scope")
def _scope_not_granted(lab: Lab) -> Finding:
    made = lab.application("scope")
    _logs_in(lab, made)
    reply = lab.login(made, scope="edit:tickets")
    return Finding((reply.status, reply.error) == (400, "invalid_scope"), _of_token(reply))


@_writing("Does an administrator with the scope all:standard see applications?", "no: 403, no body")
def _standard_scope(lab: Lab) -> Finding:
    me = lab.me().get("id")
    if me is None:
        raise NotAsked("Halo does not say which agent this run logs in as")
    made = lab.application("standard", loginas_agent_id=me, scopes=[{"name": "all:standard"}])
    reply = lab.login(made, scope="all:standard")
    token = reply.row.get("access_token")
    if not isinstance(token, str) or not token:
        raise NotAsked(f"the application does not log in: {_of_token(reply)}")
    asked = lab.api("GET", "/Application", token=token)
    return Finding((asked.status, asked.data) == (403, None), f"{asked.status}, {_kind(asked)}")


@_writing("What becomes of an application that is deleted?", "it is gone: 404")
def _application_deleted(lab: Lab) -> Finding:
    made = lab.application("deleted")
    reply = lab.api("DELETE", f"/Application/{made.id}")
    read = lab.read(f"/Application/{made.id}", lambda one: one.status == 404)[0]
    return Finding(reply.done and read.status == 404, f"DELETE {reply.status}, GET {read.status}")


# Errors, and how soon a write shows


@_writing("Is a field accepted that Halo does not know?", "yes")
def _field_unknown(lab: Lab) -> Finding:
    made = lab.application("field")
    reply = lab.api("POST", "/Application", body=[{"id": made.id, "haloops_unknown_field": 1}])
    return Finding(reply.done, "yes" if reply.done else reply.shape)


@_writing("What is answered to a value of a wrong type?", "400, an object with [0].id")
def _wrong_type(lab: Lab) -> Finding:
    reply = lab.post_agent({"id": "x", "name": lab.name("type")})
    return Finding(reply.status == 400 and "[0].id" in reply.row, reply.shape)


@_writing("What is answered to a value that breaks a rule?", "400, a text")
def _refusal(lab: Lab) -> Finding:
    made = lab.application("refusal")
    reply = lab.api("POST", "/Application", body=[{"id": made.id, "loginas_agent_id": NO_ID}])
    return Finding(reply.status == 400 and isinstance(reply.data, str), reply.shape)


@_writing("How soon is a change of an object readable?", "at once")
def _object_readable(lab: Lab) -> Finding:
    agent = lab.agent("readable")
    email = "new-" + agent["name"] + _AT
    reply = lab.api("POST", "/Agent", body=[{"id": agent["id"], "email": email}])
    if not reply.done:
        raise NotAsked(f"the change was not taken: {reply.shape}")
    read, looks = lab.read(f"/Agent/{agent['id']}", lambda one: one.row.get("email") == email)
    if read.row.get("email") != email:
        return Finding(False, "not within seconds")
    return Finding(looks == 1, "at once" if looks == 1 else f"at look {looks}")


@_writing("How soon does the list show a new object?", "at once")
def _list_shows(lab: Lab) -> Finding:
    agent = lab.agent("listed")
    looks = lab.listed("/Agent", EVERYONE, agent["id"])
    observed = "at once" if looks == 1 else f"at look {looks}" if looks else "not within seconds"
    return Finding(looks == 1, observed)


# Halo's database, by a report that is not stored


def _select(lab: Lab, sql: str) -> list[Raw]:
    """The rows of a SELECT (``POST /Report`` with ``_loadreportonly``, which stores nothing)."""
    claims = {str(claim.get("type")): str(claim.get("value")) for claim in lab.me().get("claims") or []}
    # by Halo's long names, or by its codes
    allowed = ("Administration", "SA", "Can_Use_Reports", "Rx")
    if claims and not any(claims.get(name, "").lower() in ("true", "1", "2") for name in allowed):
        raise NotAsked("the login agent may not run reports")
    report = {"name": lab.name("report"), "sql": sql, "_loadreportonly": True}
    reply = _permitted(lab.api("POST", "/Report", body=[report]))
    inner = reply.row.get("report")
    rows = (inner if isinstance(inner, dict) else reply.row).get("rows")
    if not reply.done or not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise NotAsked(f"the report gives no rows: {reply.shape}")
    return [{str(name).lower(): value for name, value in row.items()} for row in rows]


@_writing("How is a client secret stored?", "as a hash (PBKDF2)", reports=True)
def _secret_stored(lab: Lab) -> Finding:
    made = lab.application("stored")
    rows = _select(
        lab,
        f"SELECT LEN(ClientSecret) AS SecretLength, LEFT(ClientSecret, {len(HASH)}) AS SecretStart "
        f"FROM NHD_IDENTITY_Application WHERE ClientId = '{made.client_id}'",
    )
    if len(rows) != 1:
        raise NotAsked("the report does not show the application")
    hashed = rows[0].get("secretstart") == HASH
    length = rows[0].get("secretlength")
    how = "as a hash (PBKDF2)" if hashed else "otherwise than as such a hash"
    return Finding(hashed, f"{how}, of {length if isinstance(length, int) else 'an unknown number of'} characters")


# a POST, though it changes nothing
@_writing("Which values of GrantType are stored?", "none, or names of OAuth's grants", reports=True)
def _grant_types_stored(lab: Lab) -> Finding:
    rows = _select(lab, "SELECT DISTINCT GrantType, CredentialType FROM NHD_IDENTITY_Application")
    known = ("", CLIENT_CREDENTIALS, "authorization_code", "implicit", "password")
    grants = sorted({str(row.get("granttype") or "") for row in rows})
    types = sorted({str(row.get("credentialtype")) for row in rows})
    observed = f"GrantType {_list([_value(one) for one in grants])}; CredentialType {_list([_value(i) for i in types])}"
    return Finding(set(grants) <= set(known), observed)


# Answers


def answered(question: Question, lab: Lab) -> dict[str, str]:
    """Ask a question, and give its row: ``{question, text, assumed, answer, observed}``."""
    try:
        found = question.ask(lab)
    except NotAsked as reason:
        return row(question, NOT_ASKED, str(reason))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        # one answer in a form that nobody thought of must not hide the others
        return row(question, NOT_ASKED, f"an answer has a form that was not expected ({type(error).__name__})")
    return row(question, AS_ASSUMED if found.as_assumed else OTHERWISE, found.observed)


def row(question: Question, answer: str, observed: str) -> dict[str, str]:
    """A row of the result.

    :param answer: as assumed, otherwise, not asked; the latter two are followed by what was observed, or by the reason
    """
    said = answer if answer == AS_ASSUMED else f"{answer}: {observed}"
    return {
        "question": question.key,
        "text": question.text,
        "assumed": question.assumed,
        "answer": said,
        "observed": "" if answer == NOT_ASKED else observed,
    }


def summary(rows: t.Iterable[t.Mapping[str, str]]) -> dict[str, int]:
    """How many of each answer: ``{as_assumed, otherwise, not_asked}``."""
    said = [one["answer"].partition(":")[0] for one in rows]
    return {word.replace(" ", "_"): said.count(word) for word in (AS_ASSUMED, OTHERWISE, NOT_ASKED)}


def table(rows: t.Iterable[t.Mapping[str, str]]) -> str:
    """The rows as a table in Markdown; what is not as assumed first."""
    order = (OTHERWISE, NOT_ASKED, AS_ASSUMED)
    ordered = sorted(rows, key=lambda one: order.index(one["answer"].partition(":")[0]))
    lines = ["| question | assumed | answer | observed |", "| --- | --- | --- | --- |"]
    for one in ordered:
        cells = [one["text"], one["assumed"], one["answer"], one["observed"]]
        lines.append("| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in cells) + " |")
    return "\n".join(lines)


def secret_shape(value: t.Any) -> str:
    """What is in the place of a secret, without it."""
    if value is None:
        return "nothing"
    text = str(value)
    if not text:
        return "an empty text"
    if set(text) <= set("*•."):
        return "a mask"
    return f"{len(text)} characters, {'a hash' if text.startswith(HASH) else 'no mask and no known hash'}"


def _permitted(reply: Reply) -> Reply:
    """The answer itself, unless it says that this login may not ask.

    :raises NotAsked: it does
    """
    if reply.status in (401, 403):
        raise NotAsked(f"this login is refused with {reply.status}")
    return reply


def _rows(reply: Reply) -> list[Raw]:
    found = reply.data
    if isinstance(found, dict):
        found = next((value for value in found.values() if isinstance(value, list)), None)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _kind(reply: Reply) -> str:
    """The shape alone; of what there are many, not how many."""
    if isinstance(reply.data, list):
        return "an array"
    return reply.shape.partition(", ")[2]


def _of_token(reply: Reply) -> str:
    if reply.status == 200 and reply.row.get("access_token"):
        return "200, a token"
    return reply.shape


def _list(names: t.Iterable[str]) -> str:
    return ", ".join(names) or "none"


def _value(value: t.Any) -> str:
    """A value of an enumeration, so that it is not taken for none."""
    text = str(value)
    return text[:40] if re.fullmatch(r"[\w .-]+", text) else "(empty)" if not text else "(unprintable)"
