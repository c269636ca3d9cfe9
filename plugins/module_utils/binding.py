# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bindings: an API-only agent, an application or the Halo Integrator that logs in as it, and the stored secret.

All bindings of a tenant are looked at before the first is changed. What needs no new secret is converged here; what
needs one is returned as a list of what is to be done, since a new secret goes to the store before it goes to Halo.
"""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

from .client import Client
from .errors import HaloError, LoginError
from .lifecycle import LABEL_KEYS, LABELS, Decision, Entry, Facts, decide, entry, expired
from .resources.agent import AGENT
from .resources.application import APPLICATION, METHODS
from .resources.integrator import INTEGRATOR
from .rotation import Rotation
from .run import Context, Operation, Params, Planned, Result, apply, plan_resource, try_login
from .spec import Option, Ref, Resource, Spec, fold

# what the role's tasks need of a binding as the user wrote it
PASSED_ON = ("previous_agent", "on_rotated", "allow_self", "allow_system", "allow_hosted")

# stands for the id of an agent that the run is yet to make
NEW = "new"


def _part(resource: Resource, without: tuple[str, ...]) -> Option:
    options = {name: option for name, option in resource.options().items() if name not in without}
    return {**options, "properties": {"type": "dict"}}


BINDING: Option = {
    "name": {"type": "str", "required": True},
    "kind": {"type": "str", "choices": ["application", "integrator"], "default": "application"},
    "agent": {
        "type": "dict",
        "required": True,
        "options": {
            **_part(AGENT, ("name",)),
            "name": {"type": "str", "required": True},
            "append": {"type": "bool", "default": False},
            "allow_conversion": {"type": "bool", "default": False},
        },
    },
    "application": {"type": "dict", "options": _part(APPLICATION, ("name", "login_agent", "login_type"))},
    "previous_agent": {"type": "str", "choices": ["keep", "disable", "delete"], "default": "keep"},
    "max_age_days": {"type": "int"},
    "on_rotated": {"type": "path"},
    "allow_self": {"type": "bool", "default": False},
    "allow_system": {"type": "bool", "default": False},
    "allow_hosted": {"type": "bool", "default": False},
}

LABEL: Option = {name: {"type": "str", **({"no_log": True} if name == "client_secret" else {})} for name in LABEL_KEYS}
ENTRY: Option = {
    **{name: {"type": "dict", "options": LABEL, "no_log": False} for name in LABELS},
    "owed": {"type": "dict", "options": {"deliver": {"type": "bool"}, "retire": {"type": "str"}}},
    "origin": {"type": "str"},
}


def bindings() -> Operation:
    """The operation behind ``halo_binding``."""
    return Operation(
        Spec(
            {
                "bindings": {"type": "list", "elements": "dict", "required": True, "options": BINDING},
                "stored": {
                    "type": "list",
                    "elements": "dict",
                    "no_log": False,
                    "options": {"name": {"type": "str", "required": True}, **ENTRY},
                },
                "store": {"type": "str"},
                "store_dir": {"type": "path"},
                "rotate": {"type": "bool", "default": False},
                "verify": {"type": "bool", "default": True},
            }
        ),
        converge,
    )


@dataclasses.dataclass
class Binding:
    """One binding on its way through a run."""

    wanted: Params
    stored: Entry
    agent: Planned
    login: Planned

    @property
    def name(self) -> str:
        return str(self.wanted["name"])

    @property
    def hosted(self) -> bool:
        return self.login.resource is INTEGRATOR and bool((self.login.current or {}).get("hashostedintegrator"))

    @property
    def wakes_up(self) -> bool:
        """Whether the agent or the application is disabled and is to be enabled."""
        return any("enabled" in planned.change.fields and planned.current for planned in (self.agent, self.login))

    def facts(self, rotate: bool) -> Facts:
        """What is known before any login was tried."""
        pending, current = self.stored["pending"], self.stored["current"]
        now = datetime.datetime.now(datetime.UTC)
        return Facts(
            halo=self.login.rotation.reason,
            has_pending=bool(pending),
            pending_reason=str((pending or {}).get("reason") or "none"),
            has_current=bool(current),
            requested=rotate,
            expired=expired(current, self.wanted["max_age_days"], now),
            hosted=self.hosted and not self.wanted["allow_hosted"] and not rotate,
        )


def converge(context: Context) -> Result:
    """Converge all bindings of one tenant as far as no new secret is needed.

    :returns: ``{changed, diff, bindings: {name: result}, todo: [what is still to be done], ...}``; no secret in
        it
    :raises HaloError: something is wrong with a binding; if it could be known beforehand, no binding was changed
    """
    client, params = context.client, context.params
    wanted = sorted(params["bindings"], key=lambda one: bool(one["allow_self"]))
    names = [fold(one["name"]) for one in wanted]
    for name in names:
        if names.count(name) > 1:
            raise HaloError(f"two bindings are called '{name}'.", hint="The name is the key in the store.")
    stored = {fold(one["name"]): entry(one) for one in params["stored"] or []}
    login = _log_in(client, wanted, stored)
    planned = [_plan(client, one, stored.get(fold(one["name"])) or entry(None)) for one in wanted]
    for binding in planned:
        _can_log_in(binding)
        _forbid(client, binding, decide(binding.facts(params["rotate"]), params["verify"]))

    result: Result = {
        "changed": False,
        "instance": client.instance,
        "rehearsal": context.check_mode,
        "login": login,
        "bindings": {},
        "todo": [],
        "diff": {"before": {}, "after": {}},
    }
    made: set[str] = set()
    for binding in planned:
        with _naming(binding):
            if not context.check_mode:
                binding = _write(client, binding, made)
            _conclude(context, binding, result)
    return result


def _log_in(client: Client, wanted: list[Params], stored: dict[str, Entry]) -> dict[str, str] | None:
    """Log in; where a binding is the run's own application, its stored secrets count when the given one does not.

    :returns: the binding's name and the label of the secret that was used, None for the given one
    """
    own = fold(client.login.connection.client_id)
    candidates = [
        (one["name"], label, stored[fold(one["name"])][label])
        for one in wanted
        if one["allow_self"] and fold(one["name"]) in stored
        for label in ("current", "pending")
        if own and fold((stored[fold(one["name"])][label] or {}).get("client_id")) == own
    ]
    try:
        client.login.token()
    except LoginError as refused:
        for name, label, secret in candidates if refused.code == "invalid_client" else []:
            client.login.use(secret["client_secret"])
            try:
                client.login.token()
            except LoginError:
                continue
            return {"name": name, "label": label}
        raise
    return None


class _naming:
    """Errors of what happens inside name the binding."""

    def __init__(self, binding: Binding) -> None:
        self._subject = f"binding '{binding.name}'"

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: t.Any, error: t.Any, trace: t.Any) -> None:
        if isinstance(error, HaloError):
            error.about(subject=self._subject)


def _plan(client: Client, wanted: Params, stored: Entry) -> Binding:
    agent = _plan_agent(client, wanted, stored)
    identity = (agent.current or {}).get("id", NEW)
    login_agent = Ref(identity, (agent.change.after or {}).get("name"))
    common = {
        "login_agent": None,
        "login_agent_id": None,
        "regenerate_secret": "on_agent_change",
        "new_client_secret": None,
        "defer_rotation": True,
        "allow_self": wanted["allow_self"],
    }
    if wanted["kind"] == "integrator":
        params = {**common, "allow_hosted": wanted["allow_hosted"]}
        return Binding(wanted, stored, agent, plan_resource(INTEGRATOR, client, params, {"login_agent": login_agent}))
    application = wanted["application"] or {}
    params = {
        **{field.name: None for field in APPLICATION.fields},
        **common,
        "enabled": True,
        "properties": None,
        **application,
        "name": wanted["name"],
        "state": "present",
        "known_id": _known(stored, "application_id"),
        "application_id": None,
        "allow_system": wanted["allow_system"],
    }
    return Binding(wanted, stored, agent, plan_resource(APPLICATION, client, params, {"login_agent": login_agent}))


def _plan_agent(client: Client, wanted: Params, stored: Entry) -> Planned:
    name = wanted["agent"]["name"]
    known = _known(stored, "agent_id", lambda label: fold(label["agent_name"]) == fold(name))
    params = {**wanted["agent"], "state": "present", "agent_id": None, "known_id": known, "force": False}
    return plan_resource(AGENT, client, params)


def _known(stored: Entry, key: str, which: t.Callable[[Params], bool] = lambda label: True) -> t.Any:
    """An id that the store remembers; it saves a search, and is checked against the name."""
    found = (stored[label] for label in ("pending", "current") if stored[label])
    return next((label[key] for label in found if label.get(key) and which(label)), None)


def _can_log_in(binding: Binding) -> None:
    """Refuse what could never be proven: a secret that nobody can log in with, which each run would replace.

    :raises HaloError: the agent or the application is to be disabled, or logs in without client credentials
    """
    for planned in (binding.agent, binding.login):
        shown = planned.change.after or {}
        subject = f"{planned.resource.noun} '{shown.get('name') or binding.name}'"
        if shown.get("enabled") is False:
            raise HaloError(
                "it would be disabled, and what a binding names must be able to log in.",
                subject=subject,
                hint="Leave enabled out, or take it out of service with the playbook haloops.halo.decommission.",
            )
        method = shown.get("authentication_method")
        if method in METHODS and method != "client_credentials":
            raise HaloError(
                f"its authentication_method is {method}, and a binding logs in with a client ID and secret.",
                subject=subject,
                hint="Set authentication_method: client_credentials, or use the module halo_application for it.",
            )


def _forbid(client: Client, binding: Binding, decision: Decision) -> None:
    """Call the guard for a rotation that Halo does not demand but the user or the store does."""
    if decision.rotate and binding.login.resource.guard and not binding.login.rotation.required:
        login = binding.login
        try:
            binding.login.resource.guard(
                client, login.params, login.current, login.change, Rotation(decision.reason, performed=True)
            )
        except HaloError as error:
            error.about(subject=f"{login.resource.noun} '{binding.name}'")
            raise


def _write(client: Client, binding: Binding, made: set[str]) -> Binding:
    """Send what needs no new secret: the agent, and the application apart from its login agent."""
    name = fold(binding.wanted["agent"]["name"])
    if binding.agent.current is None and name in made:
        # an earlier binding of this run has made the same agent
        binding = _plan(client, binding.wanted, binding.stored)
    for planned in (binding.agent, binding.login):
        if planned.change.changed:
            shown = apply(client, planned)[planned.resource.key]
            done = dataclasses.replace(planned, change=dataclasses.replace(planned.change, after=shown))
            if planned is binding.agent:
                made.add(name)
                binding = dataclasses.replace(binding, agent=done)
            else:
                binding = dataclasses.replace(binding, login=done)
    return binding


def _conclude(context: Context, binding: Binding, result: Result) -> None:
    """Try the stored secrets where that matters, decide, and add to the result."""
    decision, verified = _judge(context, binding)
    todo = _todo(context, binding, decision)
    busy = any(todo[step] for step in ("promote", "rotate", "deliver", "retire"))
    changed = busy or any(planned.change.changed for planned in (binding.agent, binding.login))
    if busy:
        result["todo"].append(todo)
    if changed:
        result["changed"] = True
        for when in ("before", "after"):
            result["diff"][when][binding.name] = _shown(binding, when, decision)
    result["bindings"][binding.name] = {
        **{name: todo[name] for name in ("kind", "agent_id", "agent_name", "application_id", "client_id")},
        "hosted": binding.hosted,
        "changed": changed,
        "rotated": context.check_mode and decision.rotate,
        "reason": decision.reason,
        "verified": None if decision.rotate else verified,
        "previous_agent_id": todo["previous_agent_id"],
        "previous_agent": None,
        "handover": None,
    }


def _judge(context: Context, binding: Binding) -> tuple[Decision, bool | None]:
    """The decision, and whether the stored secret is proven; None where it was not tried."""
    stored, verify = binding.stored, context.params["verify"]
    facts = binding.facts(context.params["rotate"])
    verified = None
    if facts.has_pending:
        valid, verified = _logs_in(context, binding, stored["pending"])
        facts = dataclasses.replace(facts, pending_valid=valid)
    decision = decide(facts, verify)
    if decision.test_current and context.check_mode and binding.wakes_up:
        # what is disabled now cannot log in, and will be able to
        return Decision(), None
    if decision.test_current:
        verified = _logs_in(context, binding, stored["current"])[1]
        decision = decide(dataclasses.replace(facts, current_valid=verified), verify)
        _forbid(context.client, binding, decision)
    return decision, verified


def _logs_in(context: Context, binding: Binding, label: Params) -> tuple[bool, bool]:
    """Whether a stored secret logs in, and whether it does so as the right agent.

    :raises HaloError: it may be the right one, and Halo does not grant the application's scopes
    """
    login = binding.login.change.after or {}
    known_as = login.get("client_id") or label["client_id"]
    if not known_as or binding.login.rotation.reason == "created":
        return False, False
    # check mode has not granted the new scopes
    granted = (binding.login.change.before if context.check_mode else login) or {}
    scope = " ".join(granted.get("scopes") or []) or context.client.login.connection.scope
    told, refusal = try_login(context.client.with_login(known_as, label["client_secret"], scope))
    if refusal and refusal.code == "invalid_scope":
        raise HaloError(
            "its scopes cannot be had, so its secret cannot be proven.",
            answer=refusal.answer,
            hint="Check the scopes of the application.",
        )
    seen = (told["agent"] or {}).get("id")
    wanted = (binding.agent.change.after or {}).get("id")
    return told["valid"], told["valid"] and (seen is None or fold(seen) == fold(wanted))


def _todo(context: Context, binding: Binding, decision: Decision) -> dict[str, t.Any]:
    """What the role's tasks need to know to do what was decided."""
    wanted, stored = binding.wanted, binding.stored
    agent, login = binding.agent.change.after or {}, binding.login.change.after or {}
    previous = binding.login.rotation.previous_agent_id
    if decision.promote and stored["current"]:
        was, now = (fold(stored[label]["agent_id"]) for label in ("current", "pending"))
        previous = previous or (stored["current"]["agent_id"] if was != now else None)
    own = fold(context.client.login.connection.client_id)
    return {
        "name": binding.name,
        "kind": wanted["kind"],
        "promote": decision.promote,
        "rotate": decision.rotate,
        "reason": decision.reason,
        "deliver": stored["owed"]["deliver"],
        "retire": stored["owed"]["retire"],
        "previous_agent_id": previous,
        "retires": previous if wanted["previous_agent"] != "keep" else None,
        "agent_id": agent.get("id"),
        "agent_name": agent.get("name"),
        "application_id": login.get("id"),
        "client_id": login.get("client_id"),
        "scope": " ".join(login.get("scopes") or []),
        "own": bool(own) and fold(login.get("client_id")) == own,
        "handover": _handover(context.client, binding, login.get("client_id")) if binding.hosted else None,
        **{name: wanted[name] for name in PASSED_ON},
        "application": {name: value for name, value in (wanted["application"] or {}).items() if value is not None},
    }


def _handover(client: Client, binding: Binding, client_id: t.Any) -> str:
    """What Halo's support has to be told of a hosted Integrator; it names the client ID, not the secret."""
    agent = (binding.agent.change.after or {}).get("name")
    return (
        f"Please reconnect the Halo Integrator that you host for {client.instance} (client ID {client_id}). It now "
        f'logs in as the agent "{agent}", and its client secret has been re-generated. We will hand the new secret '
        "over in the way that you prefer."
    )


def _shown(binding: Binding, when: str, decision: Decision) -> Result:
    login = binding.login.resource.key
    shown = {
        "agent": getattr(binding.agent.change, when) or {},
        login: dict(getattr(binding.login.change, when) or {}),
    }
    if when == "after" and decision.rotate:
        shown[login]["client_secret"] = f"new ({decision.reason})"
        shown[login]["login_agent"] = {name: shown["agent"].get(name) for name in ("id", "name")}
    return shown
