# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The self test: asks an instance the questions of :mod:`questions` with throw-away objects, and removes these.

It runs where its user has named the instance in so many words. Whatever it makes has a name that only it gives, with
the run's id in it; by that name a later run finds what a killed one left. It deletes nothing else.
"""

from __future__ import annotations

import re
import secrets
import typing as t
import uuid
from urllib.parse import quote

from .auth import Connection
from .client import AGENTS, APPLICATIONS, SETTLE, Client, Raw
from .errors import HaloError
from .http import Response
from .questions import (
    CLIENT_CREDENTIALS,
    DETAILS,
    EVERYONE,
    NOT_ASKED,
    QUESTIONS,
    SCOPE,
    Application,
    NotAsked,
    Question,
    Reply,
    answered,
    row,
    summary,
    table,
)
from .resources.agent import logging_in_as
from .resources.application import is_system
from .run import Context, Operation, Result
from .secret import new_secret, secret_in_force
from .spec import Option, Spec, fold

PREFIX = "haloops-self-test-"
OWN_NAME = re.compile(PREFIX + "[0-9a-f]{12}-[a-z]+(-[a-z]+)*")
# in this order: while an application logs in as an agent, the agent stays
NAMED_BY = {APPLICATIONS: "displayName", AGENTS: "name"}

OPTIONS: dict[str, Option] = {
    "confirm": {"type": "str", "required": True},
    "cleanup": {"type": "bool", "default": False},
    "questions": {"type": "list", "elements": "str", "choices": [question.key for question in QUESTIONS]},
    "reports": {"type": "bool", "default": False},
    "path": {"type": "path"},
}


def is_own(name: t.Any) -> bool:
    """Whether a name is one that the self test gives."""
    return isinstance(name, str) and OWN_NAME.fullmatch(name) is not None


def consents(confirm: str, connection: Connection) -> bool:
    """Whether the user has named this very instance: its address, with or without the scheme, or its tenant."""
    address = connection.url.partition("://")[2]
    given = fold(confirm).rstrip("/")
    return bool(given) and given in {fold(connection.url), fold(address), fold(connection.tenant)}


class Bench:
    """The :class:`questions.Lab` on a real instance.

    ``made``: the names of what was made, by path and id; ``wrote``: whether anything may have been.
    """

    def __init__(self, client: Client) -> None:
        self.made: dict[tuple[str, str], str] = {}
        self.wrote = False
        self._client = client
        self._run = secrets.token_hex(6)
        self._login_agent: Raw | None = None

    def api(
        self, method: str, path: str, *, query: Raw | None = None, body: t.Any = None, token: str | None = None
    ) -> Reply:
        what = {"query": query, **({} if body is None else {"body": body})}
        return _reply(self._client.ask(method, path, token=token, **what))

    def rows(self, path: str, query: Raw | None = None) -> list[Raw]:
        try:
            return self._client.list(path, query)
        except HaloError as error:
            raise NotAsked(f"GET {path} gives no list{f' ({error.status})' if error.status else ''}") from None

    def read(self, path: str, accept: t.Callable[[Reply], bool]) -> tuple[Reply, int]:
        reply = self.api("GET", path, query=DETAILS)
        looks = 1
        for seconds in SETTLE:
            if accept(reply):
                break
            self._client.pause(seconds)
            reply = self.api("GET", path, query=DETAILS)
            looks += 1
        return reply, looks

    def listed(self, path: str, query: Raw, identity: t.Any) -> int:
        for look, seconds in enumerate((0.0, *SETTLE), 1):
            if seconds:
                self._client.pause(seconds)
            if any(fold(one.get("id")) == fold(identity) for one in self.rows(path, query)):
                return look
        return 0

    def me(self) -> Raw:
        return self._client.me()

    def own_client_id(self) -> str:
        own = self._client.login.connection
        if not own.client_id or own.access_token:
            raise NotAsked("halo_access_token does not say of which application it is")
        return own.client_id

    def own_scope(self) -> str:
        return self._client.login.connection.scope

    def login(self, application: Application | None, secret: str | None = None, **form: str) -> Reply:
        if application is None:
            self.own_client_id()
            own: dict[str, str] = {}
        else:
            own = {
                "client_id": application.client_id,
                "client_secret": secret or application.secret,
                "scope": SCOPE,
            }
        reply = _reply(self._client.login.ask(**{**own, **form}))
        token = reply.row.get("access_token")
        if isinstance(token, str):
            self._client.secrets.append(token)
        return reply

    def name(self, word: str) -> str:
        found = f"{PREFIX}{self._run}-{word}"
        if not is_own(found):
            raise ValueError(word)
        return found

    def agent(self, word: str, **fields: t.Any) -> Raw:
        name = self.name(word)
        reply = self.post_agent({"name": name, "isapiagent": True, "email": f"{name}@example.invalid", **fields})
        return _made(reply, "agent", "name", name)

    def post_agent(self, sent: Raw) -> Reply:
        return self._post(AGENTS, sent)

    def application(self, word: str, **fields: t.Any) -> Application:
        if "loginas_agent_id" not in fields:
            if self._login_agent is None:
                self._login_agent = self.agent("login")
            fields["loginas_agent_id"] = self._login_agent["id"]
        name, secret, client_id = self.name(word), self.new_secret(), str(uuid.uuid4())
        sent = {
            "displayName": name,
            "grant_type": CLIENT_CREDENTIALS,
            "allowagents": True,
            "scopes": [{"name": SCOPE}],
            "clientId": client_id,
            "clientSecret": secret,
            **fields,
        }
        reply = self._post(APPLICATIONS, sent)
        found = _made(reply, "application", "displayName", name)
        in_force = secret_in_force(secret, found.get("clientSecret"))
        self._client.secrets.append(in_force)
        return Application(
            str(found["id"]), name, client_id, str(found.get("clientId") or client_id), secret, in_force, reply
        )

    def new_secret(self) -> str:
        found = new_secret()
        self._client.secrets.append(found)
        return found

    def _post(self, path: str, sent: Raw) -> Reply:
        # where the answer is lost, the name gives away what was made
        self.wrote = True
        reply = self.api("POST", path, body=[sent])
        name, identity = sent[NAMED_BY[path]], reply.row.get("id")
        # an id counts where the answer is of the object that was sent, and of no other
        if reply.done and identity is not None and reply.row.get(NAMED_BY[path]) == name:
            self.made[path, str(identity)] = name
        return reply


def _made(reply: Reply, noun: str, named_by: str, name: str) -> Raw:
    if not reply.done:
        raise NotAsked(f"no throw-away {noun} could be made: {reply.shape}")
    if reply.row.get("id") is None or reply.row.get(named_by) != name:
        raise NotAsked(f"the answer does not show the throw-away {noun} that was made: {reply.shape}")
    return reply.row


def _reply(response: Response) -> Reply:
    return Reply(response.status, response.data, response.is_json)


class Removal(t.NamedTuple):
    """The names of what was removed, and of what stayed, with the reason."""

    removed: list[str]
    left: list[str]


def found(client: Client) -> list[tuple[str, Raw]]:
    """All objects of the self test, by path: applications, then agents.

    :raises HaloError: they cannot be listed
    """
    return [
        (path, one)
        for path, named_by in NAMED_BY.items()
        for one in client.list(path, EVERYONE if path == AGENTS else None)
        if is_own(one.get(named_by))
    ]


def remove(client: Client, made: t.Mapping[tuple[str, str], str]) -> Removal:
    """Remove what was made, and whatever else has a name of the self test.

    :param made: what this run made: it need not be readable yet to be deleted
    :raises HaloError: what is there cannot be listed
    """
    removal = Removal([], [])
    for path in NAMED_BY:
        for (of, identity), name in made.items():
            if of == path:
                _remove(client, path, identity, name, removal)
    for path, one in found(client):
        if (path, str(one["id"])) not in made:
            _remove(client, path, one["id"], one[NAMED_BY[path]], removal, look=True)
    return removal


def _remove(client: Client, path: str, identity: t.Any, name: str, removal: Removal, *, look: bool = False) -> None:
    """Remove one object, and read back that it is gone.

    :param look: whether to look first what it is; what this run itself made need not be readable yet
    """
    whole = f"{path}/{quote(str(identity), safe='')}"
    try:
        if look:
            now = _see(client, whole)
            if now is None:
                return
            if reason := _protected(client, path, identity, now):
                removal.left.append(f"{name}: {reason}")
                return
        client.delete(whole)
        for seconds in (0.0, *SETTLE):
            if seconds:
                client.pause(seconds)
            now = client.get(whole, DETAILS)
            if now is None:
                removal.removed.append(name)
                return
        still = "disabled" if now and now.get("isdisabled") else "there"
        removal.left.append(f"{name}: Halo answered without an error, and it is still {still}")
    except HaloError as error:
        removal.left.append(f"{name}: {error.message}")


def _see(client: Client, whole: str) -> Raw | None:
    """The object that a list has, which may be readable late; None where there is none, since the list may be late."""
    for seconds in (0.0, *SETTLE):
        if seconds:
            client.pause(seconds)
        now = client.get(whole, DETAILS)
        if now is not None:
            return now
    return None


def _protected(client: Client, path: str, identity: t.Any, now: Raw) -> str:
    """Why an object is not removed, whatever the list says of it; empty for nothing."""
    if fold(now.get("id")) != fold(identity) or not is_own(now.get(NAMED_BY[path])):
        return "another object has its id"
    if path == APPLICATIONS:
        own = client.login.connection.client_id
        if is_system(now) or (own and fold(now.get("clientId")) == fold(own)):
            return "it is what this run logs in with, or an application of Halo's own"
        return ""
    users = logging_in_as(client, identity)
    return f"it is the login agent of {', '.join(users)}" if users else ""


def self_test() -> Operation:
    """The operation behind ``halo_self_test``."""
    return Operation(Spec(OPTIONS), _run)


def _run(context: Context) -> Result:
    client, params = context.client, context.params
    own = client.login.connection
    if not consents(params["confirm"], own):
        raise HaloError(
            "the self test makes and deletes throw-away agents and applications, and was not confirmed for this "
            "instance.",
            hint="Nothing was done. Take a trial instance, and give its address or its tenant name with confirm "
            "(halo_self_test_confirm).",
        )
    # whoever is refused altogether need not be asked a question
    client.login.token()
    bench = Bench(client)
    removal, refusal = Removal([], []), ""
    try:
        if context.check_mode:
            there = [str(one.get(NAMED_BY[path])) for path, one in found(client)]
            removal.left.extend(f"{name}: an earlier run left it" for name in there)
        else:
            removal = remove(client, {})
    except HaloError as error:
        if params["cleanup"] or error.status == 401:
            raise
        # what cannot be listed cannot be removed: nothing is made then
        refusal = f"what it makes could not be found again: {error.message}"
    rows: list[dict[str, str]] = []
    if not params["cleanup"]:
        asked = [one for one in QUESTIONS if one.key in (params["questions"] or (one.key,))]
        try:
            rows = [_ask(question, bench, context, refusal) for question in asked]
        finally:
            if bench.wrote:
                removal.left[:] = _clean_up(client, bench)
    if removal.left:
        client.warnings.append(f"The self test could not remove {'; '.join(removal.left)}.")
    return {
        "changed": bench.wrote or bool(removal.removed),
        "rows": rows,
        "summary": summary(rows),
        "table": table(rows) if rows else "",
        "instance": client.instance,
        "halo_version": _version(bench),
        "removed": removal.removed,
        "left": removal.left,
    }


def _clean_up(client: Client, bench: Bench) -> list[str]:
    """Remove what this run made; returns what stayed."""
    try:
        return remove(client, bench.made).left
    except HaloError as error:
        return [f"what has a name that begins with {PREFIX}, if there is any: {error.message}"]


def _version(bench: Bench) -> str | None:
    """The version of Halo, as far as it says so."""
    try:
        found = bench.api("GET", "/InstanceInfo").row.get("app_version")
    except HaloError:
        return None
    return found if isinstance(found, str) and re.fullmatch(r"[\w.-]{1,40}", found) else None


def _ask(question: Question, bench: Bench, context: Context, refusal: str) -> dict[str, str]:
    reason = ""
    if question.reports and not context.params["reports"]:
        reason = "reports is false"
    elif question.writes and context.check_mode:
        reason = "it takes a write, and this is check mode"
    elif question.writes:
        reason = refusal
    if reason:
        return row(question, NOT_ASKED, reason)
    try:
        return answered(question, bench)
    except HaloError as error:
        return row(question, NOT_ASKED, error.message)
