# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a module does: look the object up, plan, apply, say what happened.

The same functions serve a module in a process of its own and an action plugin inside the controller's worker; they know
neither.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import re
import typing as t
import uuid
from urllib.parse import quote

from .auth import Connection, Login, NoTokens
from .client import Client, Raw
from .errors import HaloError, LoginError, redact
from .http import Transport
from .plan import Change, plan
from .rotation import Rotation, needs_new_secret, new_secret, secret_in_force
from .spec import NameRef, OneRef, Option, Ref, Refs, Resource, Spec, Target, fold

Params = t.Mapping[str, t.Any]
Result = dict[str, t.Any]

DETAILS = {"includedetails": "true"}
LONGEST_NAME = 255
SHOWN_NAMES = 40


@dataclasses.dataclass(frozen=True)
class Context:
    """One call: the user's options, whether it is a rehearsal, and the tenant's API."""

    params: Params
    check_mode: bool
    client: Client


@dataclasses.dataclass(frozen=True)
class Operation:
    """A module without its documentation.

    :param run: does the work; raises HaloError
    :param may_return_secret: whether a call with these options may have a client secret in its result
    """

    spec: Spec
    run: t.Callable[[Context], Result]
    may_return_secret: t.Callable[[Params], bool] = lambda params: False


def execute(operation: Operation, params: Params, *, check_mode: bool, tokens: NoTokens | None = None) -> Result:
    """Run one operation against one tenant and return the module's result.

    :param params: validated options
    :param tokens: where access tokens are shared with other tasks of the run
    :raises HaloError: with the instance named
    """
    connection = Connection.from_params(params)
    transport = Transport(
        connection.url, verify=connection.verify, timeout=connection.timeout, retry_seconds=connection.retry_seconds
    )
    try:
        client = Client(transport, Login(connection, transport, tokens))
        options = operation.spec.options
        client.secrets += [str(params[name]) for name in options if options[name].get("no_log") and params.get(name)]
        result = operation.run(Context(params, check_mode, client))
        if client.warnings:
            result["warnings"] = client.warnings
        return result
    except HaloError as error:
        error.about(instance=connection.url)
        raise
    finally:
        transport.close()


def manage(resource: Resource) -> Operation:
    """The operation behind the module that creates, changes and removes objects of this kind."""
    options: Option = resource.options()
    constraints: dict[str, t.Any] = {}
    if not resource.singleton:
        options[resource.id_option] = {"type": resource.id_type}
        options["known_id"] = {"type": resource.id_type}
        options["state"] = {"type": "str", "choices": ["present", "absent"], "default": "present"}
        options["properties"] = {"type": "dict"}
        constraints["required_one_of"] = [["name", resource.id_option]]
        constraints["mutually_exclusive"] = [["known_id", resource.id_option]]
    options.update({name: dict(option) for name, option in resource.extra.items()})
    if "login_agent_id" in options:
        constraints.setdefault("mutually_exclusive", []).append(["login_agent", "login_agent_id"])
        constraints["required_by"] = {"known_login_agent": ["login_agent_id"]}
    may_return_secret = _sets_secret if resource.secret else (lambda params: False)
    return Operation(Spec(options, constraints), functools.partial(run_resource, resource), may_return_secret)


def _sets_secret(params: Params) -> bool:
    defers = params.get("defer_rotation") and not params.get("new_client_secret")
    return params.get("state") != "absent" and params.get("regenerate_secret") != "never" and not defers


@dataclasses.dataclass(frozen=True)
class Planned:
    """What is to be done to one object, all guards passed and nothing written."""

    resource: Resource
    params: Params
    current: Raw | None
    desired: dict[str, t.Any]
    change: Change
    rotation: Rotation

    def result(self) -> Result:
        """The result that check mode predicts, and the real one where there is nothing to do."""
        return _result(self.resource, self.change, self.rotation, self.change.after)


def run_resource(resource: Resource, context: Context) -> Result:
    """Bring one object to what the options say, or, in check mode, say what that would take.

    :returns: ``{changed, diff, <resource.key>}``, with ``rotation`` and perhaps ``client_secret`` for a bearer of one
    :raises HaloError: nothing was changed, unless the error says otherwise
    """
    planned = plan_resource(resource, context.client, context.params)
    if context.check_mode or not (planned.change.changed or planned.rotation.performed):
        return planned.result()
    return apply(context.client, planned)


def plan_resource(
    resource: Resource, client: Client, params: Params, resolved: t.Mapping[str, t.Any] | None = None
) -> Planned:
    """Look the object up and decide what to do to it.

    :param resolved: values that need no look-up any more, option to value
    :raises HaloError: an option is wrong or a guard forbids the change
    """
    with _naming(resource, params):
        _check_options(resource, params)
        current = _find(resource, client, params)
        state = params.get("state", "present")
        desired = _desired(resource, client, params, current, resolved or {}) if state == "present" else {}
        change, rotation = _decide(resource, params, current, desired, state)
        if resource.guard:
            resource.guard(client, params, current, change, rotation)
        return Planned(resource, params, current, desired, change, rotation)


def apply(client: Client, planned: Planned) -> Result:
    """Carry out what was planned, and return the module's result."""
    with _naming(planned.resource, planned.params):
        return _apply(client, planned)


@contextlib.contextmanager
def _naming(resource: Resource, params: Params) -> t.Iterator[None]:
    try:
        yield
    except HaloError as error:
        error.about(subject=_subject(resource, params))
        raise


def _subject(resource: Resource, params: Params) -> str:
    if resource.singleton:
        return resource.noun
    identity = params.get(resource.id_option)
    return f"{resource.noun} {identity}" if identity is not None else f"{resource.noun} '{params.get('name')}'"


def _check_options(resource: Resource, params: Params) -> None:
    name = params.get("name")
    if name is not None:
        if not name.strip():
            raise HaloError("the name must not be empty.")
        if len(name) > LONGEST_NAME:
            raise HaloError(f"the name has {len(name)} characters, more than {LONGEST_NAME}.")
        if re.search(r"[\x00-\x1f\x7f]", name):
            raise HaloError("the name holds a line break or another control character.")
    if params.get("login_type") == "user" and (params.get("login_agent") or params.get("login_agent_id")):
        raise HaloError("login_type user and a login agent contradict each other.")
    modelled = {fold(api): field.name for field in resource.fields for api in field.sent}
    for given in params.get("properties") or {}:
        if fold(given) in modelled:
            raise HaloError(f"properties holds {given}.", hint=f"Use the option {modelled[fold(given)]} for it.")
        if fold(given) in (fold(name) for name in ("id", *resource.reserved)):
            raise HaloError(f"properties must not hold {given}.")


def _path(resource: Resource, identity: t.Any) -> str:
    return f"{resource.path}/{quote(str(identity), safe='')}"


def _details(resource: Resource, client: Client, identity: t.Any) -> Raw | None:
    if resource.singleton:
        return client.get(resource.path)
    raw = client.get(_path(resource, identity), DETAILS)
    return raw if raw and fold(raw.get("id")) == fold(identity) else None


def _named(resource: Resource, client: Client, name: str) -> Raw | None:
    """The list row of the one object with this name.

    :raises HaloError: there are several
    """
    rows = [row for row in client.list(resource.path, resource.query) if fold(row.get(resource.name_api)) == fold(name)]
    if len(rows) > 1:
        ids = ", ".join(str(row.get("id")) for row in rows)
        raise HaloError(
            f"there are {len(rows)} of this name, with the ids {ids}.", hint=f"Say which one with {resource.id_option}."
        )
    return rows[0] if rows else None


def _find(resource: Resource, client: Client, params: Params) -> Raw | None:
    """The object with its details, None where there is none."""
    if resource.singleton:
        found = client.get(resource.path)
        if found is None:
            raise HaloError(f"GET {resource.path} gave nothing.", hint="The login agent must be an administrator.")
        return found
    identity = params.get(resource.id_option)
    if identity is not None:
        found = _details(resource, client, identity)
        if found is None and params["state"] == "present":
            raise HaloError("there is none with this id.", hint="Leave the id out to create one.")
        return found
    if params.get("known_id") is not None:
        found = _details(resource, client, params["known_id"])
        if found and fold(found.get(resource.name_api)) == fold(params["name"]):
            return found
    row = _named(resource, client, params["name"])
    return _details(resource, client, row["id"]) if row else None


def _desired(
    resource: Resource, client: Client, params: Params, current: Raw | None, resolved: t.Mapping[str, t.Any]
) -> dict[str, t.Any]:
    """The options that the user set, with every reference resolved to an id and a name."""
    desired = {field.name: params.get(field.name) for field in resource.fields}
    if current is None:
        desired.update({name: value for name, value in resource.defaults.items() if desired.get(name) is None})
    for field in resource.fields:
        value = desired[field.name]
        if field.name in resolved:
            desired[field.name] = resolved[field.name]
        elif isinstance(field, OneRef):
            identity, known_as = params.get(field.name + "_id"), params.get("known_" + field.name)
            if identity is not None:
                bound = Ref(identity, known_as) if known_as else field.read(current or {})
                desired[field.name] = _by_id(field.target, client, identity, bound)
            elif value is not None:
                desired[field.name] = _one(field.target, client, value)
        elif value is None:
            continue
        elif isinstance(field, Refs):
            desired[field.name] = _several(field, client, value, field.read(current or {}))
        elif isinstance(field, NameRef) and value.strip():
            if field.canonical(value) != field.canonical(field.read(current or {})):
                desired[field.name] = _one(field.target, client, value).name
        elif isinstance(value, str) and field.name == "name":
            desired[field.name] = value.strip()
    if desired.get("login_agent") is not None and "login_type" in desired and desired["login_type"] is None:
        desired["login_type"] = "agent"
    return desired


def _several(field: Refs, client: Client, words: list[str], now: list[Ref]) -> list[Ref]:
    """What the words mean; what is there already needs no look-up, and that is the usual case."""
    there = [next((ref for ref in now if ref.id is not None and ref.meant_by(word)), None) for word in words]
    known = [ref for ref in there if ref]
    found = known if len(known) == len(words) else [_one(field.target, client, word) for word in words]
    return list({fold(ref.id): ref for ref in found}.values())


def _one(target: Target, client: Client, word: t.Any) -> Ref:
    """The one object that ``word`` means, by name or id.

    :raises HaloError: none or several do
    """
    rows = client.cached(target.path, target.query)
    named = [row for row in rows if fold(row.get("name")) == fold(word)]
    found = named or [row for row in rows if fold(word) in {fold(row.get(key)) for key in ("id", *target.more_ids)}]
    if len(found) == 1:
        return Ref(found[0].get("id"), found[0].get("name"))
    if found:
        ids = ", ".join(str(row.get("id")) for row in found)
        raise HaloError(f"{len(found)} {target.label}s are called '{word}'; their ids are {ids}.", hint="Give the id.")
    names = sorted((str(row.get("name")) for row in rows), key=fold)
    there = ", ".join(names[:SHOWN_NAMES])
    if len(names) > SHOWN_NAMES:
        there += f" and {len(names) - SHOWN_NAMES} more"
    raise HaloError(f"there is no {target.label} '{word}'.", hint=f"There are: {there or 'none'}.")


def _by_id(target: Target, client: Client, identity: t.Any, now: Ref) -> Ref:
    if now.id is not None and fold(now.id) == fold(identity):
        return now
    found = client.get(f"{target.path}/{quote(str(identity), safe='')}")
    if found is None:
        raise HaloError(f"there is no {target.label} with the id {identity}.")
    if found.get("isdisabled"):
        client.warnings.append(f"{target.label} '{found.get('name')}' is disabled: what logs in as it cannot log in.")
    return Ref(found.get("id"), found.get("name"))


def _decide(
    resource: Resource, params: Params, current: Raw | None, desired: dict[str, t.Any], state: str
) -> tuple[Change, Rotation]:
    """The change, and whether a new secret goes with it."""
    wanted: dict[str, t.Any] = {
        "state": state,
        "append": bool(params.get("append")),
        "properties": params.get("properties"),
    }
    change = plan(resource, current, desired, **wanted)
    if not resource.secret or change.after is None:
        return change, Rotation()
    policy = params["regenerate_secret"]
    if policy != "always" and not resource.secret.needs(change.after):
        return change, Rotation()
    rotation = needs_new_secret(
        change.before,
        change.after,
        policy,
        given=bool(params.get("new_client_secret")),
        deferred=params["defer_rotation"],
    )
    if rotation.required and not rotation.performed and params["defer_rotation"]:
        if current is None:
            return dataclasses.replace(change, action="none"), rotation
        kept = {name: value for name, value in desired.items() if name not in ("login_agent", "login_type")}
        change = plan(resource, current, kept, **wanted)
    return change, rotation


def _apply(client: Client, planned: Planned) -> Result:
    """Send the change: one DELETE, or one POST that holds the change and, where one is due, the new secret."""
    resource, params, current = planned.resource, planned.params, planned.current
    change, rotation = planned.change, planned.rotation
    if change.action == "delete":
        client.delete(_path(resource, (current or {})["id"]))
        return _result(resource, change, rotation, None)

    payload = dict(change.payload)
    secret = None
    if resource.secret and rotation.performed:
        secret = params.get("new_client_secret") or new_secret()
        client.secrets.append(secret)
        payload[resource.secret.api] = secret
    if current is None:
        if resource.secret:
            payload.setdefault(resource.secret.client_id_api, str(uuid.uuid4()))
        saved = client.save(resource.path, payload, find=lambda: _named(resource, client, params["name"]))
    else:
        saved = client.save(resource.path, {**({"id": current["id"]} if "id" in current else {}), **payload})

    now = _whole(resource, client, current, saved, params)
    shown = resource.public(now)
    _complain(client, planned, now)
    if rotation.required and not rotation.performed:
        subject = _subject(resource, params)
        client.warnings.append(f"{subject} needs a new client secret and was given none: it cannot log in.")
    result = _result(resource, dataclasses.replace(change, after=shown), rotation, shown)
    if resource.secret and secret:
        in_force = secret_in_force(secret, (saved or {}).get(resource.secret.api))
        if in_force != params.get("new_client_secret"):
            client.secrets.append(in_force)
            result["client_secret"] = in_force
    return result


def _whole(resource: Resource, client: Client, current: Raw | None, saved: Raw | None, params: Params) -> Raw:
    """The saved object with its details; read again where the answer does not hold them."""
    identity = (current or saved or {}).get("id")
    secret = resource.secret.api if resource.secret else None
    told = {name: value for name, value in (saved or {}).items() if name != secret}
    if resource.singleton and told:
        return {**(current or {}), **told}
    is_it = identity is not None and fold(told.get("id")) == fold(identity)
    if is_it and all(name in told for name in resource.details):
        return told
    if identity is None and not resource.singleton:
        identity = (_named(resource, client, params["name"]) or {}).get("id")
    found = _details(resource, client, identity)
    if found is None:
        raise HaloError("it was saved and cannot be read back.", hint="Check in Halo what is there.")
    return found


def _complain(client: Client, planned: Planned, now: Raw) -> None:
    """Warn of what Halo accepted without a word and did not keep: each run would report it as a change."""
    sent = {name: planned.desired[name] for name in planned.change.fields if name in planned.desired}
    lost = plan(planned.resource, now, sent, append=bool(planned.params.get("append"))).fields
    if lost:
        client.warnings.append(f"Halo answered without an error and did not keep: {', '.join(lost)}.")


def _result(resource: Resource, change: Change, rotation: Rotation, shown: t.Any) -> Result:
    before, after = dict(change.before or {}), dict(change.after or {})
    if rotation.performed:
        # says in the diff that there is a new one, not which
        after["client_secret"] = f"new ({rotation.reason})"
        if before:
            before["client_secret"] = "as it was"
    result: Result = {
        "changed": change.changed or rotation.performed,
        "diff": {"before": before, "after": after},
        resource.key: shown,
    }
    if resource.secret:
        result["rotation"] = rotation.public()
    return result


def look_up(resource: Resource) -> Operation:
    """The operation behind an info module: all objects of a kind, or those with a name or an id."""
    spec = Spec(
        {"name": {"type": "str"}, resource.id_option: {"type": resource.id_type}, **resource.filters},
        {"mutually_exclusive": [["name", resource.id_option]]},
    )

    def run(context: Context) -> Result:
        client, params = context.client, context.params
        identity, name = params.get(resource.id_option), params.get("name")
        if identity is not None:
            found = _details(resource, client, identity)
            rows = [found] if found else []
        else:
            rows = client.list(resource.path, resource.query)
            if name is not None:
                rows = [row for row in rows if fold(row.get(resource.name_api)) == fold(name)]
        rows = [row for row in rows if resource.keep(row, params)]
        if name is not None or resource.secret:
            # an application's list row lacks its scopes; there are few of them. Agents are many, and their rows say
            # enough.
            rows = [row if _is_whole(resource, row) else _details(resource, client, row["id"]) or row for row in rows]
        shown = sorted((resource.public(row) for row in rows), key=lambda view: (fold(view["name"]), fold(view["id"])))
        return {"changed": False, resource.plural: shown}

    return Operation(spec, run)


def _is_whole(resource: Resource, row: Raw) -> bool:
    return all(name in row for name in resource.details)


def try_login(client: Client) -> tuple[Result, LoginError | None]:
    """Whether the connection's credentials let in, and as whom.

    :returns: ``{valid, agent, scope, expires_in, error}`` and the refusal; ``agent`` is None where Halo does not tell
    :raises HaloError: Halo could not be asked
    """
    told: Result = {"valid": False, "agent": None, "scope": None, "expires_in": None, "error": None}
    login = client.login
    try:
        if not login.connection.access_token:
            token = login.adopt(login.request_token())
            told.update(scope=token.scope, expires_in=token.expires_in)
        me = client.get("/Agent/me") or {}
    except LoginError as error:
        told["error"] = redact(str(error.about(instance=client.instance)), login.secrets())
        return told, error
    except HaloError as error:
        if error.status not in (401, 403):
            raise
        told["error"] = str(error.about(instance=client.instance))
        if error.status == 401:
            return told, LoginError(error.message)
        me = {}
    told["valid"] = True
    if me.get("id") is not None:
        told["agent"] = {"id": me["id"], "name": me.get("name"), "api_only": bool(me.get("isapiagent"))}
    return told, None


def login_info() -> Operation:
    """The operation behind ``halo_login_info``."""
    return Operation(Spec({}), lambda context: {"changed": False, **try_login(context.client)[0]})
