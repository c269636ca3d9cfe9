# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each request of each job with each fault: the jobs, the faults, and one trial of one fault at one request."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from unittest import mock

import urllib3.util.connection
from ansible_collections.haloops.halo.plugins.module_utils.client import Client
from ansible_collections.haloops.halo.plugins.module_utils.http import Transport
from ansible_collections.haloops.halo.plugins.module_utils.lifecycle import LABELS
from halo_sandbox.testing import Sandbox
from helpers import in_process
from role_runner import NAME, VAULT_PASSWORD, Fleet, Tenant, leaks

Variables = dict[str, Any]
Tasks = list[tuple[str, Variables]]
INTEGRATOR = "Halo Integrator"
OWN = "Own"
SECRETS = ("f1rst-secret/of+it", "sec0nd-secret/of+it")
# the id of the last agent that each tenant has from the start
FIRST = 7
# where a redirect leads: to the address of a Trap
TRAP = "TRAP"
# what is taken for too much
LARGEST = 200_000
# Seconds: when a request that got no answer is carried out, the time-out of a run that a fault strikes, and of others.
LATE, HURRY, CALM = 0.12, 0.25, 1.0


# Jobs


@dataclasses.dataclass(frozen=True)
class Job:
    """What a user runs: tasks in their order, to the first that fails; the next run is the same again.

    :param prepare: makes what is there before
    :param tasks: the modules and their options
    :param again: the options of the next run, where it is not the same
    """

    prepare: Callable[[Tenant], object]
    tasks: Callable[[Tenant], Tasks]
    again: Callable[[Tenant], Tasks] | None = None

    def next(self, tenant: Tenant) -> Tasks:
        return (self.again or self.tasks)(tenant)


def _engine(**options: Any) -> Callable[[Tenant], Tasks]:
    return lambda tenant: [("halo_binding", {"bindings": tenant.bindings, **options})]


def _bound(tenant: Tenant, **more: Any) -> None:
    tenant.bind(**more)
    outcome = tenant.fleet.run(tenant)
    assert not outcome.failed, outcome.message


def _to_a_new_agent(tenant: Tenant) -> None:
    _bound(tenant, previous_agent="delete")
    tenant.bind("api-successor")


def _to_another_agent(tenant: Tenant) -> None:
    _bound(tenant, previous_agent="disable")
    tenant.put_agent("api-successor")
    tenant.bind("api-successor")


def _integrator(tenant: Tenant) -> None:
    tenant.bind(name=INTEGRATOR, kind="integrator")


def _elsewhere(tenant: Tenant) -> None:
    """The authorisation server is not where it usually is, so that AuthInfo is asked."""
    tenant.sandbox.settings(tenant.name, auth_path="/elsewhere/auth")
    _bound(tenant)


def _two_agents(tenant: Tenant) -> None:
    tenant.known.update(SECRETS)
    for name in ("api-a", "api-b"):
        tenant.put_agent(name)


def _agent(_tenant: Tenant) -> Tasks:
    agent = {"name": "api-own", "roles": ["Read Only"], "teams": ["Projects"], "default_team": "Projects"}
    return [
        ("halo_api_agent", agent),
        ("halo_api_agent", {**agent, "email": "own@example.com"}),
        ("halo_api_agent", {"name": "api-own", "state": "absent"}),
    ]


def _application(_tenant: Tenant) -> Tasks:
    spec = {"name": OWN, "scopes": ["all"]}
    return [
        ("halo_application", {**spec, "login_agent": "api-a", "new_client_secret": SECRETS[0]}),
        ("halo_application", {**spec, "login_agent": "api-b", "new_client_secret": SECRETS[1]}),
    ]


def _removal(_tenant: Tenant) -> Tasks:
    return [("halo_application", {"name": OWN, "state": "absent"})]


def _module_of_integrator(_tenant: Tenant) -> Tasks:
    return [("halo_integrator", {"login_agent": "api-a", "new_client_secret": SECRETS[0]})]


def _info(_tenant: Tenant) -> Tasks:
    return [
        ("halo_login_info", {"require": True}),
        ("halo_api_agent_info", {"name": "api-automation"}),
        ("halo_application_info", {}),
    ]


JOBS = {
    "first provisioning": Job(lambda tenant: tenant.bind(), _engine()),
    "switch to a new agent, the old one deleted": Job(_to_a_new_agent, _engine()),
    "switch to another agent, the old one disabled": Job(_to_another_agent, _engine()),
    "new secret": Job(_bound, _engine(rotate=True), again=_engine()),
    "Halo Integrator": Job(_integrator, _engine()),
    "converged, AuthInfo asked": Job(_elsewhere, _engine()),
    "decommissioning": Job(_bound, _engine(state="absent")),
    "halo_api_agent": Job(lambda _tenant: None, _agent),
    "halo_application": Job(_two_agents, _application),
    "halo_application, removal": Job(lambda tenant: tenant.put_application(name=OWN), _removal),
    "halo_integrator": Job(_two_agents, _module_of_integrator),
    "info modules": Job(lambda _tenant: None, _info),
}
INFO = "info modules"


# Requests


@dataclasses.dataclass(frozen=True)
class Request:
    """The n-th request of a job with this method and path.

    :param path: a regular expression for what stands behind the tenant's address
    :param kind: one of KINDS
    """

    method: str
    path: str
    number: int
    kind: str

    def __str__(self) -> str:
        return f"{self.method} {self.path} {self.number}"


KINDS = ("token", "AuthInfo", "list", "object", "create", "update", "delete")
_IDS = re.compile(r"/(\d+|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$")


def requests_of(log: list[Variables], posts: list[str]) -> list[Request]:
    """The requests of a job.

    :param log: the sandbox's
    :param posts: whether each POST of it, those for tokens aside, is to create or to update
    """
    counts: Counter[tuple[str, str]] = Counter()
    kinds = iter(posts)
    found = []
    for one in log:
        path = "^" + _IDS.sub("/[0-9a-f-]+", one["path"]) + "$"
        counts[one["method"], path] += 1
        if one["kind"] in ("token", "authinfo"):
            kind = {"token": "token", "authinfo": "AuthInfo"}[one["kind"]]
        elif one["method"] == "POST" and one["kind"] == "api":
            kind = next(kinds)
        elif one["method"] == "DELETE":
            kind = "delete"
        else:
            kind = "object" if re.search(r"(\+|/me|/Control)\$$", path) else "list"
        # what is refused with 404 where the authorisation server is not
        kind = "token" if one["kind"] == "other" else kind
        found.append(Request(one["method"], path, counts[one["method"], path], kind))
    return found


# Faults


@dataclasses.dataclass(frozen=True)
class Fault:
    """One thing that goes wrong.

    :param spec: for the sandbox
    :param settings: of the sandbox's tenant, for the whole run
    :param refused: nobody listens, which only the client sees
    :param kinds: the requests that it makes sense for
    """

    spec: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    refused: bool = False
    kinds: tuple[str, ...] = KINDS


def _fault(kind: str, **spec: Any) -> Fault:
    return Fault({"kind": kind, **spec})


def _status(status: int, body: Any = None, **headers: str) -> Fault:
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return _fault("status", status=status, body=body, headers=headers)


def _life(expires_in: Any) -> Fault:
    return Fault({"kind": "edit_after", "body": {"expires_in": expires_in}}, kinds=("token",))


FAULTS = {
    "connection refused": Fault(refused=True),
    "reset before it is carried out": _fault("reset"),
    "reset while it is carried out": _fault("reset_late", seconds=LATE),
    "reset after it was carried out": _fault("reset_after"),
    "an answer that ends in its middle": _fault("truncate_after"),
    "no answer in time, not carried out": _fault("delay", seconds=60),
    "no answer in time, carried out": _fault("delay_after", seconds=60),
    "an answer of one byte a second": _fault("drip_after", seconds=1),
    "400, a bare JSON string": _status(400, '"Please fill in the name."'),
    "400, error and error_description": _status(400, {"error": "bad", "error_description": "No."}),
    "400, field errors": _status(400, {"[0].name": ["The name is too long."]}),
    "401": _status(401, {}),
    "403, empty": _fault("empty", status=403),
    "404": _status(404, {"Message": "It was not found."}),
    "409": _status(409, {"Message": "It is in use."}),
    "429": _status(429),
    "429, Retry-After 1": _status(429, Retry_After="1"),
    "429, Retry-After an hour": _status(429, Retry_After="3600"),
    "429, Retry-After a date": _status(429, Retry_After="Fri, 31 Dec 9999 23:59:59 GMT"),
    "429, Retry-After -5": _status(429, Retry_After="-5"),
    "429, Retry-After soon": _status(429, Retry_After="soon"),
    "500": _status(500),
    "500, carried out": _fault("status_after", status=500),
    "502, an HTML page, not carried out": _fault("html", status=502),
    "502, an HTML page, carried out later": _fault("html_late", status=502, seconds=LATE),
    "502, an HTML page, carried out": _fault("html_after", status=502),
    "503": _status(503),
    "504": _status(504),
    "504, carried out later": _fault("status_late", status=504, seconds=60),
    "an empty body": _fault("empty"),
    "an empty body, carried out": _fault("empty_after"),
    "null": _status(200, "null"),
    "null, carried out": _fault("status_after", status=200, body="null"),
    "JSON that is cut off": _status(200, '[{"id": 1, "na'),
    "a number": _status(200, "5"),
    "an empty list": _status(200, "[]"),
    "an empty object": _status(200, "{}"),
    "a list of numbers": _status(200, "[1, 2]"),
    "invalid UTF-8": _fault("garbage"),
    "another service's page": _status(200, "<html><title>Sign in</title></html>"),
    "the answer in a list": _fault("edit_after", edit="list"),
    "an object instead of a list": _fault("edit_after", edit="object"),
    "each object twice": _fault("edit_after", edit="twice"),
    "ids as texts": _fault("edit_after", edit="texts"),
    "a body that is too large": _status(200, "[" + " " * LARGEST),
    "a gzip bomb": _status(200, "[" + " " * LARGEST, Content_Encoding="gzip"),
    "a redirect to another host": _status(307, "", Location="http" + TRAP),
    "a redirect that makes a GET of it": _status(302, "", Location="http" + TRAP),
    "a redirect to another scheme": _status(308, "", Location="https" + TRAP),
    "a token that is dead at once": Fault(settings={"token_seconds": 0}, kinds=("token",)),
    "a token that is revoked": _fault("revoke"),
    "expires_in is 0": _life(0),
    "expires_in is negative": _life(-5),
    "expires_in has 400 digits": _life(10**399),
    "expires_in is a text": _life("soon"),
    "lists that lag three reads behind": Fault(settings={"list_lag": 3}, kinds=("create", "update", "delete")),
}
# To the end of the run as well: those that Halo and what stands before it are known for.
FOR_GOOD = (
    "connection refused",
    "reset before it is carried out",
    "reset after it was carried out",
    "no answer in time, carried out",
    "401",
    "403, empty",
    "404",
    "429",
    "500",
    "500, carried out",
    "502, an HTML page, not carried out",
    "503",
    "an empty body",
    "an empty list",
    "null, carried out",
    "invalid UTF-8",
)


# Trials


@dataclasses.dataclass(frozen=True)
class Cell:
    """A fault at a request of a job, once or from there to the end of the run."""

    job: str
    request: Request
    fault: str
    for_good: bool = False

    def __str__(self) -> str:
        return f"{self.job}, {self.request}: {self.fault}{', for good' if self.for_good else ''}"


def cells(job: str, requests: list[Request]) -> Iterator[Cell]:
    for request in requests:
        for name, fault in FAULTS.items():
            # what is a setting strikes wherever it can, so that one trial is enough
            if request.kind in fault.kinds and not (fault.settings and request.number > 1):
                yield Cell(job, request, name)
                if name in FOR_GOOD:
                    yield Cell(job, request, name, for_good=True)


class Trap:
    """A port that nothing may be sent to."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.settimeout(0)
        self.place = f"://127.0.0.1:{self._listening.getsockname()[1]}"

    def __enter__(self) -> Trap:
        return self

    def __exit__(self, *_error: object) -> None:
        self._listening.close()

    def caught(self) -> list[bytes]:
        """How whatever came begins."""
        found = []
        with contextlib.suppress(BlockingIOError):
            while True:
                with self._listening.accept()[0] as connection:
                    connection.settimeout(1)
                    found.append(connection.recv(200))
        return found


class Matrix:
    """Trials over the tenants of one fleet; ``timeout`` is that of requests, in seconds."""

    def __init__(self, fleet: Fleet, trap: Trap) -> None:
        self.fleet = fleet
        self.trap = trap
        self.timeout = CALM

    @property
    def sandbox(self) -> Sandbox:
        return self.fleet.sandbox

    def requests(self, job: str) -> tuple[list[Request], list[Variables]]:
        """The requests of a job in which nothing goes wrong, and the results of its tasks."""
        tenant = self._prepared(job)
        since = len(self.sandbox.requests(tenant.name))
        posts: list[str] = []
        real = Client._post

        def post(client: Client, path: str, payload: Variables) -> Any:
            posts.append("update" if "id" in payload or path == "/Control" else "create")
            return real(client, path, payload)

        with mock.patch.object(Client, "_post", post):
            results = self._run(tenant, JOBS[job].tasks(tenant))
        assert not results[-1].get("failed"), (job, results[-1]["msg"])
        return requests_of(self.sandbox.requests(tenant.name)[since:], posts), results

    def trial(self, cell: Cell, good: list[Variables], scale: int) -> bool:
        """Whether the run that the fault strikes succeeds; what must hold is asserted.

        :param good: the results where nothing goes wrong
        :param scale: of the time-out of the run that the fault strikes
        """
        tenant = self._prepared(cell.job)
        before = tenant.stored
        with self._fault(tenant, cell):
            try:
                self.timeout = scale * HURRY
                results = self._run(tenant, JOBS[cell.job].tasks(tenant))
            finally:
                self.timeout = CALM
        ok = not results[-1].get("failed")
        if not ok:
            assert tenant.url in results[-1]["msg"], (str(cell), results[-1]["msg"])
        elif cell.job == INFO and cell.fault != "ids as texts":
            assert _told(results, good), f"{cell}: {results}"
        self._holds(tenant, cell)
        results = self._run(tenant, JOBS[cell.job].next(tenant))
        assert not results[-1].get("failed"), (str(cell), results[-1]["msg"])
        self._holds(tenant, cell)
        self._finished(tenant, cell, before)
        since = len(self._writes(tenant))
        if cell.job not in ("halo_api_agent", "halo_application"):
            results = self._run(tenant, JOBS[cell.job].next(tenant))
            assert not any(one.get("failed") or one.get("changed") for one in results), (str(cell), results)
            assert self._writes(tenant)[since:] == [], str(cell)
        return ok

    def _writes(self, tenant: Tenant) -> list[Variables]:
        return [one for one in self.sandbox.writes(tenant.name) if one["kind"] == "api"]

    def _prepared(self, job: str) -> Tenant:
        tenant = self.fleet.tenant()
        JOBS[job].prepare(tenant)
        return tenant

    def _run(self, tenant: Tenant, tasks: Tasks) -> list[Variables]:
        results = []
        for module, options in tasks:
            result = in_process.task(module, options, tenant.variables, tenant.inventory, vault_password=VAULT_PASSWORD)
            tenant.learn()
            shown = {name: value for name, value in result.items() if name not in ("invocation", "client_secret")}
            found = leaks([tenant], {"the result": json.dumps(shown, default=str).encode()})
            assert not found, (module, shown)
            assert "Unexpected" not in str(result.get("msg")), result["msg"]
            assert "Traceback" not in json.dumps(shown, default=str)
            results.append(shown)
            if result.get("failed"):
                break
        return results

    @contextlib.contextmanager
    def _fault(self, tenant: Tenant, cell: Cell) -> Iterator[None]:
        """The fault for one run. Afterwards what Halo still had to carry out is carried out."""
        fault, request = FAULTS[cell.fault], cell.request
        self.sandbox.settings(tenant.name, **fault.settings)
        if fault.spec:
            spec = json.loads(json.dumps(fault.spec).replace(TRAP, f"{self.trap.place}/{tenant.name}/{request.kind}"))
            where = {"tenant": tenant.name, "method": request.method, "path": request.path}
            number = self.sandbox.fault(**spec, **where, skip=request.number - 1, times=None if cell.for_good else 1)
        with _refused(tenant, request, cell.for_good) if fault.refused else contextlib.nullcontext():
            yield
        if fault.spec:
            (found,) = [one for one in self.sandbox.faults() if one["id"] == number]
            assert found["hits"], f"{cell}: it did not come to that"
        self.sandbox.control("DELETE", f"faults?tenant={tenant.name}")
        self.sandbox.settings(tenant.name, token_seconds=3600, list_lag=0)

    def _holds(self, tenant: Tenant, cell: Cell) -> None:
        """What must be true at any time: nothing is there twice, and the secret in force is known."""
        state, stored = tenant.state, tenant.stored
        for names in ([one["name"] for one in state["agents"]], [one["displayName"] for one in state["applications"]]):
            ours = [name for name in names if name.startswith(("api-", NAME, OWN))]
            assert len(set(ours)) == len(ours), (str(cell), ours)
        for binding in tenant.bindings:
            name = binding["name"]
            if name == INTEGRATOR:
                client_id = state["control"]["client_id_halointegrator"]
            elif not (there := tenant.applications(name)) or not there[0]["secret_set"]:
                continue
            else:
                client_id = there[0]["clientId"]
            labels = stored.get(name) or dict.fromkeys(LABELS)
            secrets = [labels[label]["client_secret"] for label in LABELS if labels[label]]
            known = any(tenant.logs_in(client_id, secret) for secret in secrets)
            # the Integrator's first secret is nobody's
            ours = name != INTEGRATOR or state["control"]["loginas_halointegrator"] > FIRST
            assert known or not ours, f"{cell}: a secret is lost"

    def _finished(self, tenant: Tenant, cell: Cell, before: dict[str, Variables]) -> None:
        """What must be true after the next run."""
        if cell.job == "decommissioning":
            assert tenant.applications(NAME) == []
            return
        for binding in tenant.bindings:
            name = binding["name"]
            assert tenant.proven(name), str(cell)
            entry = tenant.entry(name)
            assert (entry["pending"], entry["outstanding"]["retire"]) == (None, []), str(cell)
            was = before.get(name, {"attempt": 0})["attempt"]
            assert entry["attempt"] - was <= 2, f"{cell}: {entry['attempt'] - was} new secrets"
            if binding.get("previous_agent") == "delete":
                assert tenant.agents("api-ansible") == [], str(cell)
        if cell.job == "halo_api_agent":
            assert tenant.agents("api-own") == []
        if cell.job == "halo_application":
            row = tenant.application(OWN)
            assert tenant.logs_in(row["clientId"], SECRETS[1]) == tenant.agent("api-b")["id"], str(cell)
        if cell.job == "halo_integrator":
            client_id = tenant.state["control"]["client_id_halointegrator"]
            assert tenant.logs_in(client_id, SECRETS[0]) == tenant.agent("api-a")["id"], str(cell)
        if cell.job == "halo_application, removal":
            assert tenant.applications(OWN) == []


def _told(results: list[Variables], good: list[Variables]) -> bool:
    """Whether the info modules say the truth, as whom a login is alone may be left out."""

    def names(found: list[Variables]) -> list[Any]:
        return [[row["name"] for row in one.get("agents", one.get("applications", []))] for one in found]

    agents = [one[0]["agent"] and one[0]["agent"]["name"] for one in (results, good)]
    return names(results) == names(good) and results[0]["valid"] and agents[0] in (None, agents[1])


@contextlib.contextmanager
def _refused(tenant: Tenant, request: Request, for_good: bool) -> Iterator[None]:
    """Let nobody listen when a request is sent: for two attempts, or to the end of the run."""
    place = urllib3.util.connection
    send, connect = Transport.send, place.create_connection
    left = seen = 0

    def sent(transport: Any, method: str, url: str, **what: Any) -> Any:
        nonlocal left, seen
        if method == request.method and re.search(request.path, url.removeprefix(tenant.url)):
            seen += 1
            if seen == request.number:
                transport._adapter.poolmanager.clear()
                left = 10**6 if for_good else 2
        return send(transport, method, url, **what)

    def connected(*args: Any, **how: Any) -> Any:
        nonlocal left
        if left:
            left -= 1
            raise ConnectionRefusedError(111, "Connection refused")
        return connect(*args, **how)

    with mock.patch.object(Transport, "send", sent), mock.patch.object(place, "create_connection", connected):
        yield
    assert seen >= request.number
