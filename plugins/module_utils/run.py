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

from .auth import Connection, Login, NullTokenCache
from .client import SETTLE, Client, Raw
from .errors import HaloError, LoginError, printable, redact
from .http import Say, Transport, nobody
from .plan import Change, plan
from .resources.agent import AGENT, guard_retirement
from .secret import Rotation, needs_new_secret, new_secret, secret_in_force
from .spec import NameRef, OneRef, Option, Ref, Refs, Resource, Spec, Target, compose, fold

Params = t.Mapping[str, t.Any]
Result = dict[str, t.Any]

DETAILS = {"includedetails": "true"}
LONGEST_NAME = 255
MOST_NAMES = 40
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclasses.dataclass(frozen=True)
class Context:
    """One call: the user's options, whether it is in check mode, and the tenant's API."""

    params: Params = dataclasses.field(repr=False)
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


def execute(
    operation: Operation,
    params: Params,
    *,
    check_mode: bool,
    tokens: NullTokenCache | None = None,
    say: Say = nobody,
) -> Result:
    """Run one operation against one tenant and return the module's result.

    :param params: validated options
    :param tokens: where access tokens are shared with other tasks of the run
    :param say: called with a line for a person, before a longer wait
    :raises HaloError: with the instance named
    """
    connection = Connection.from_params(params)
    transport = Transport(
        connection.url,
        verify=connection.verify,
        timeout=connection.timeout,
        retry_seconds=connection.retry_seconds,
        say=say,
    )
    try:
        client = Client(transport, Login(connection, transport, tokens))
        options = operation.spec.options
        client.secrets += [str(params[name]) for name in options if options[name].get("no_log") and params.get(name)]
        result = operation.run(Context(params, check_mode, client))
        if client.warnings:
            # names in them are Halo's
            result["warnings"] = [printable(text) for text in client.warnings]
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
        options["cached_id"] = {"type": resource.id_type}
        options["state"] = {"type": "str", "choices": ["present", "absent"], "default": "present"}
        options["properties"] = {"type": "dict"}
        constraints["required_one_of"] = [["name", resource.id_option]]
        constraints["mutually_exclusive"] = [["cached_id", resource.id_option]]
    options.update({name: dict(option) for name, option in resource.extra.items()})
    if "login_agent_id" in options:
        constraints.setdefault("mutually_exclusive", []).append(["login_agent", "login_agent_id"])
    may_return_secret = _sets_secret if resource.secret else (lambda params: False)
    return Operation(Spec(options, constraints), functools.partial(run_resource, resource), may_return_secret)


def _sets_secret(params: Params) -> bool:
    defers = params.get("defer_rotation") and not params.get("new_client_secret")
    return params.get("state") != "absent" and params.get("regenerate_secret") != "never" and not defers


@dataclasses.dataclass(frozen=True)
class Planned:
    """What is to be done to one object, all guards passed and nothing written.

    :param current: Halo's object, None where there is none; with its details, unless nothing is to be done
    """

    resource: Resource
    params: Params = dataclasses.field(repr=False)
    current: Raw | None = dataclasses.field(repr=False)
    desired: dict[str, t.Any]
    change: Change
    rotation: Rotation
    client_id: str | None = None

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
    result = apply(context.client, planned)
    if planned.change.action == "create":
        _await_in_list(resource, context.client, params=context.params)
    return result


def _await_in_list(resource: Resource, client: Client, params: Params) -> None:
    """Wait a moment for the list to show what was just made: a later task that names it would make it again."""
    for seconds in (0.0, *SETTLE):
        if seconds:
            client.pause(seconds)
        # it is made, whatever goes wrong now
        with contextlib.suppress(HaloError):
            if _again(resource, client, params["name"]):
                return
    client.warnings.append(
        f"{_subject(resource, params)} was made, and Halo's list does not show it yet: a task that names it before the "
        "list does may make another one."
    )


def plan_resource(
    resource: Resource, client: Client, params: Params, resolved: t.Mapping[str, t.Any] | None = None
) -> Planned:
    """Look the object up and decide what to do to it.

    :param resolved: values that need no look-up any more, option to value
    :raises HaloError: an option is wrong
    :raises Refused: a guard forbids the change
    """
    subject = _subject(resource, params)
    with naming(subject):
        _check_options(resource, params)
        found, is_row = _find(resource, client, params)
        state = params.get("state", "present")
        if found and is_row:
            settled = _settled(resource, params, found) if state == "present" and not resolved else None
            if settled:
                return Planned(resource, params, found, {}, settled, Rotation())
            found = _listed(resource, client, found)
        current = _with_names(resource, client, found)
        desired = _desired(resource, client, params, current, resolved or {}) if state == "present" else {}
        change, rotation = _decide(resource, params, current, desired, state)
        if resource.guard:
            resource.guard(client, params, current, change, rotation)
        client.warnings += [f"{subject} {text}" for text in resource.advise(change)]
        return Planned(resource, params, current, desired, change, rotation)


def rebind(planned: Planned, agent: Ref, client_secret: str, client_id: str | None = None) -> Planned:
    """The same plan with the login agent and a new secret in it, which ``defer_rotation`` had left out. Reads nothing.

    :param client_id: for an application that is to be made
    """
    params = {
        **planned.params,
        "regenerate_secret": "always",
        "new_client_secret": client_secret,
        "defer_rotation": False,
    }
    desired = {**planned.desired, "login_agent": agent}
    change, rotation = _decide(planned.resource, params, planned.current, desired, "present")
    return dataclasses.replace(
        planned, params=params, desired=desired, change=change, rotation=rotation, client_id=client_id
    )


def apply(client: Client, planned: Planned, on_saved: t.Callable[[Raw, str], None] | None = None) -> Result:
    """Carry out what was planned, and return the module's result.

    :param on_saved: called with Halo's raw answer to the POST and the client secret in force (empty where none was
        set), before anything else can fail; both may hold secrets
    """
    with naming(_subject(planned.resource, planned.params)):
        return _apply(client, planned, on_saved)


def retire(client: Client, agent_id: t.Any, how: str) -> str:
    """Disable or delete an agent that served its time, and read back that it is so.

    :param how: disable or delete
    :returns: ``disabled`` or ``deleted``; also where it was so already
    :raises Refused: it is a human, or something still logs in as it; it stays as it is
    :raises HaloError: it cannot be seen that it is disabled or gone
    """
    raw = _seen(client, agent_id, client.cached(AGENT.path, AGENT.query))
    if raw is None:
        return "deleted"
    if how == "disable" and raw.get("isdisabled"):
        return "disabled"
    guard_retirement(client, raw)
    name = raw.get("name")
    if how == "delete":
        client.delete(_path(AGENT, agent_id))
    else:
        client.save(AGENT.path, {"id": raw["id"], "isdisabled": True})
    for seconds in (0.0, *SETTLE):
        # an accepted write can be readable late
        if seconds:
            client.pause(seconds)
        try:
            raw = _seen(client, agent_id, client.list(AGENT.path, AGENT.query))
        except HaloError:
            if seconds == SETTLE[-1]:
                raise
            continue
        if raw is None:
            return "deleted"
        if how == "disable" and raw.get("isdisabled"):
            return "disabled"
    still = "there" if how == "delete" else "enabled"
    raise HaloError(
        f"Halo answered without an error, and the agent '{name}' is still {still}.",
        hint="Run again, or do it in Halo.",
    )


def _seen(client: Client, agent_id: t.Any, rows: list[Raw]) -> Raw | None:
    """An agent with its details; None where neither the list nor a look by its id shows it.

    :raises HaloError: the two contradict each other
    """
    row = next((row for row in rows if fold(row.get("id")) == fold(agent_id)), None)
    # who asks looks again by itself
    return _listed(AGENT, client, row, again=False) if row else _details(AGENT, client, agent_id)


@contextlib.contextmanager
def naming(subject: str) -> t.Iterator[None]:
    """Let errors of what happens inside name the object concerned, such as ``application 'Reporting'``."""
    try:
        yield
    except HaloError as error:
        error.about(subject=subject)
        raise


def _subject(resource: Resource, params: Params) -> str:
    if resource.singleton:
        return resource.noun
    identity = params.get(resource.id_option)
    return f"{resource.noun} {identity}" if identity is not None else f"{resource.noun} '{params.get('name')}'"


def _check_options(resource: Resource, params: Params) -> None:
    """Find what is wrong whatever Halo says.

    :raises HaloError: an option cannot be right
    """
    name = params.get("name")
    if name is not None:
        if not name.strip():
            raise HaloError("the name must not be empty.")
        if len(name) > LONGEST_NAME:
            raise HaloError(f"the name has {len(name)} characters, more than {LONGEST_NAME}.")
        if _CONTROL.search(name):
            raise HaloError("the name holds a line break or another control character.")
    if params.get("login_type") == "user" and (params.get("login_agent") or params.get("login_agent_id")):
        raise HaloError("login_type user and a login agent contradict each other.")
    for field in resource.fields:
        if params.get(field.name) is not None:
            field.check(params[field.name])
    modelled = {fold(api): field.name for field in resource.fields for api in field.sent}
    for given in params.get("properties") or {}:
        if fold(given) in modelled:
            raise HaloError(f"properties holds {given}.", hint=f"Use the option {modelled[fold(given)]} for it.")
        if fold(given) in (fold(name) for name in ("id", *resource.reserved)):
            raise HaloError(f"properties must not hold {given}.")


def _path(resource: Resource, identity: t.Any) -> str:
    return f"{resource.path}/{quote(str(identity), safe='')}"


def _details(resource: Resource, client: Client, identity: t.Any) -> Raw | None:
    """The object with this id and its details; None where Halo says that there is none.

    :raises HaloError: Halo answers nothing, or with another object
    """
    raw = client.get(_path(resource, identity), DETAILS)
    if raw is not None and fold(raw.get("id")) != fold(identity):
        what = f"another one ({raw['id']})" if raw.get("id") is not None else "nothing"
        raise HaloError(
            f"GET {_path(resource, identity)} gave {what} instead of the {resource.noun}.",
            hint="Nothing was changed on its word; run again.",
        )
    return raw


def _listed(resource: Resource, client: Client, row: Raw, *, again: bool = True) -> Raw:
    """The object of a list's row with its details.

    :param again: look again where it cannot be read: an accepted write can be readable late
    :raises HaloError: it cannot be read, which does not mean that there is none
    """
    found = None
    for seconds in (0.0, *(SETTLE if again else ())):
        if seconds:
            client.pause(seconds)
        found = _details(resource, client, row["id"])
        if found is not None:
            break
    if found is None:
        raise HaloError(
            f"it is in the list with the id {row['id']} and cannot be read.",
            method="GET",
            path=_path(resource, row["id"]),
            status=404,
            hint="Run again; if it stays so, check the roles of the login agent.",
        )
    return found


def _is_named(resource: Resource, raw: Raw, name: str) -> bool:
    return fold(raw.get(resource.name_api)) == fold(name)


def _only(resource: Resource, found: list[Raw]) -> Raw | None:
    """The one of the objects of one name.

    :raises HaloError: there are several
    """
    if len(found) > 1:
        ids = ", ".join(str(row.get("id")) for row in found)
        raise HaloError(
            f"there are {len(found)} of this name, with the ids {ids}.",
            hint=f"Say which one with {resource.id_option}, or rename or delete the other in Halo.",
        )
    return found[0] if found else None


def _named(resource: Resource, rows: list[Raw], name: str) -> Raw | None:
    """The list row of the one object with this name.

    :raises HaloError: there are several
    """
    return _only(resource, [row for row in rows if _is_named(resource, row, name)])


def _find(resource: Resource, client: Client, params: Params) -> tuple[Raw | None, bool]:
    """The object, None where there is none, and whether it is the mere row of a list.

    The list is always read, since it alone shows a second object of the name. An object by an id that is known without
    it counts where the list does not show its name: what was just written can be readable late.
    """
    if resource.singleton:
        found = client.get(resource.path)
        if not found:
            raise HaloError(f"GET {resource.path} gave nothing.", hint="The login agent must be an administrator.")
        return found, False
    identity = params.get(resource.id_option)
    if identity is not None:
        found = _details(resource, client, identity)
        if found is None and params["state"] == "present":
            raise HaloError("there is none with this id.", hint="Leave the id out to create one.")
        return found, False
    name = params["name"]
    row = _named(resource, client.cached(resource.path, resource.query), name)
    made = client.made.get((resource.path, fold(name)))
    if params.get("renamed_from") and made is None:
        return _find_renamed(resource, client, params, row)
    cached = made if made is not None else params.get("cached_id")
    if cached is None or (row and fold(row["id"]) == fold(cached)):
        return row, True
    found = _details(resource, client, cached)
    if found is None and made is not None and row is None:
        raise HaloError(f"it was made in this run with the id {made} and cannot be read yet.", hint="Run again.")
    if found and _is_named(resource, found, name):
        return _only(resource, [*([row] if row else []), found]), False
    return row, True


def _find_renamed(resource: Resource, client: Client, params: Params, row: Raw | None) -> tuple[Raw | None, bool]:
    """The same for one that had the name ``renamed_from`` before: what is known by its id or its client ID comes first.

    :param row: the one that has the new name
    :raises HaloError: it is not plain which one is meant
    """
    name, old = params["name"], params["renamed_from"]
    rows = client.cached(resource.path, resource.query)
    known, is_row = _known(resource, rows, params), True
    if known is None and params.get("cached_id") is not None:
        known, is_row = _details(resource, client, params["cached_id"]), False
    with naming(f"{resource.noun} '{old}'"):
        older = known or _named(resource, rows, old)
    if known and not (_is_named(resource, known, name) or _is_named(resource, known, old)):
        raise HaloError(
            f"the one that the store knows has the id {known['id']} and is called '{known.get(resource.name_api)}' in "
            f"Halo by now, neither that nor '{old}'.",
            hint=f"Nothing was changed. Call it '{old}' in Halo again, or leave renamed_from out.",
        )
    if row and older and fold(row["id"]) != fold(older["id"]):
        raise HaloError(
            f"there are both '{name}' with the id {row['id']} and '{old}' with the id {older['id']}, and the one "
            "cannot become the other.",
            hint="Nothing was changed. Delete or rename one of them in Halo, or leave renamed_from out.",
        )
    return (known, is_row) if known else (row or older, True)


def _known(resource: Resource, rows: list[Raw], params: Params) -> Raw | None:
    """The row of the object whose id, or else whose client ID, is remembered."""
    keys = [("id", params.get("cached_id"))]
    if resource.secret:
        keys.append((resource.secret.client_id_api, params.get("cached_client_id")))
    matches = (row for api, value in keys if value is not None for row in rows if fold(row.get(api)) == fold(value))
    return next(matches, None)


def _settled(resource: Resource, params: Params, row: Raw) -> Change | None:
    """The plan by a list's row alone, which saves a request; None where it takes the details.

    It does where the row does not say all, and where anything is to be changed.
    """
    if resource.secret or params.get("properties") or not all(field.is_covered_by(row) for field in resource.fields):
        return None
    desired: dict[str, t.Any] = {field.name: params.get(field.name) for field in resource.fields}
    for field in resource.fields:
        if isinstance(field, Refs) and desired[field.name] is not None:
            refs = [_by_name(field.read(row), word, switches) for word, switches in field.parse(desired[field.name])]
            if None in refs:
                return None
            desired[field.name] = refs
    change = plan(resource, row, desired, append=bool(params.get("append")))
    return None if change.changed else change


def _by_name(refs: t.Iterable[Ref], word: str, switches: t.Mapping[str, bool]) -> Ref | None:
    """The one of these that is called ``word``; a word that is an id may still be the name of another one."""
    found = [ref for ref in refs if fold(ref.name) == fold(word)]
    return Ref(found[0].id, found[0].name, switches) if len(found) == 1 else None


def _with_names(resource: Resource, client: Client, current: Raw | None, known: Ref | None = None) -> Raw | None:
    """``current`` with the names of what it refers to by id alone.

    :param known: one whose name need not be looked up
    """
    for field in resource.fields if current else ():
        if isinstance(field, OneRef) and not field.name_api:
            ref = field.read({**(current or {}), field.name_key: None})
            if ref.id is None:
                continue
            if known is None or ref.key != known.key:
                rows = client.cached(field.target.path, field.target.query)
                known = next((Ref(row["id"], row.get("name")) for row in rows if fold(row["id"]) == ref.key), None)
            current = {**(current or {}), field.name_key: known.name if known else None}
    return current


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
            identity = params.get(field.name + "_id")
            if identity is not None:
                desired[field.name] = _login_agent(client, _by_id(field.target, client, identity))
            elif value is not None:
                desired[field.name] = _login_agent(client, _one(field.target, client, value))
        elif value is None:
            continue
        elif isinstance(field, Refs):
            desired[field.name] = _several(field, client, value, field.read(current or {}))
        elif isinstance(field, NameRef) and value.strip():
            if not field.same(field.read(current or {}), value):
                desired[field.name] = _one(field.target, client, value).get("name")
        elif isinstance(value, str) and field.name == "name":
            desired[field.name] = compose(value)
    if desired.get("login_agent") is not None and "login_type" in desired and desired["login_type"] is None:
        desired["login_type"] = "agent"
    return desired


def _several(field: Refs, client: Client, items: list[t.Any], now: list[Ref]) -> list[Ref]:
    """What the items mean; what is there already under its name needs no look-up, and that is the usual case."""
    refs = {}
    for word, switches in field.parse(items):
        ref = _by_name(now, word, switches)
        if ref is None or ref.id is None:
            row = _one(field.target, client, word)
            ref = Ref(row.get("id"), row.get("name"), switches)
        refs[ref.key] = ref
    return list(refs.values())


def _one(target: Target, client: Client, word: t.Any) -> Raw:
    """The row of the one object that ``word`` means, by name or else by id.

    :raises HaloError: none or several do
    """
    rows = client.cached(target.path, target.query)
    named = [row for row in rows if fold(row.get("name")) == fold(word)]
    found = named or [row for row in rows if fold(word) in {fold(row.get(key)) for key in ("id", *target.more_ids)}]
    if len(found) == 1:
        return found[0]
    if found:
        ids = ", ".join(str(row.get("id")) for row in found)
        raise HaloError(f"{len(found)} {target.label}s are called '{word}'; their ids are {ids}.", hint="Give the id.")
    names = sorted((str(row.get("name")) for row in rows), key=fold)
    there = ", ".join(names[:MOST_NAMES])
    if len(names) > MOST_NAMES:
        there += f" and {len(names) - MOST_NAMES} more"
    raise HaloError(f"there is no {target.label} '{word}'.", hint=f"There are: {there or 'none'}.")


def _by_id(target: Target, client: Client, identity: t.Any) -> Raw:
    """The row of the object with this id; one that the list does not show yet is asked for.

    :raises HaloError: there is none
    """
    rows = client.cached(target.path, target.query)
    found = next((row for row in rows if fold(row["id"]) == fold(identity)), None) or client.get(
        f"{target.path}/{quote(str(identity), safe='')}"
    )
    if not found or fold(found.get("id")) != fold(identity):
        raise HaloError(f"there is no {target.label} with the id {identity}.")
    return found


def _login_agent(client: Client, row: Raw) -> Ref:
    if row.get("isdisabled"):
        client.warnings.append(f"agent '{row.get('name')}' is disabled: what logs in as it cannot log in.")
    return Ref(row.get("id"), row.get("name"))


def _decide(
    resource: Resource, params: Params, current: Raw | None, desired: dict[str, t.Any], state: str
) -> tuple[Change, Rotation]:
    """The change, and whether a new secret goes with it."""
    how: dict[str, t.Any] = {
        "state": state,
        "append": bool(params.get("append")),
        "properties": params.get("properties"),
    }
    change = plan(resource, current, desired, **how)
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
        change = plan(resource, current, kept, **how)
    return change, rotation


def _apply(client: Client, planned: Planned, on_saved: t.Callable[[Raw, str], None] | None) -> Result:
    """Send the change: one DELETE, or one POST that holds the change and, where one is due, the new secret."""
    resource, params, current = planned.resource, planned.params, planned.current
    change, rotation = planned.change, planned.rotation
    if change.action == "delete":
        identity = (current or {})["id"]
        client.delete(_path(resource, identity))
        _await_gone(resource, client, identity)
        client.made = {key: made for key, made in client.made.items() if fold(made) != fold(identity)}
        return _result(resource, change, rotation, None)

    payload = dict(change.payload)
    secret = in_force = ""
    if resource.secret and rotation.performed:
        secret = params.get("new_client_secret") or new_secret()
        client.secrets.append(secret)
        payload[resource.secret.api] = secret
    if current is None:
        if resource.secret:
            payload.setdefault(resource.secret.client_id_api, planned.client_id or str(uuid.uuid4()))
        saved = client.save(resource.path, payload, find=lambda: _again(resource, client, params["name"]))
    else:
        saved = client.save(resource.path, {**({"id": current["id"]} if "id" in current else {}), **payload})
    if resource.secret and secret:
        in_force = secret_in_force(secret, (saved or {}).get(resource.secret.api))
        client.secrets.append(in_force)
    if on_saved:
        on_saved(saved or {}, in_force)

    now = _whole(resource, client, planned, saved)
    view = resource.public(now)
    if current is None:
        _check_name(planned, now)
        client.made[resource.path, fold(params["name"])] = now["id"]
    _complain(client, planned, now)
    if rotation.required and not rotation.performed:
        subject = _subject(resource, params)
        client.warnings.append(f"{subject} needs a new client secret and was given none: it cannot log in.")
    result = _result(resource, dataclasses.replace(change, after=view), rotation, view)
    if in_force and in_force != params.get("new_client_secret"):
        result["client_secret"] = in_force
    return result


def _await_gone(resource: Resource, client: Client, identity: t.Any) -> None:
    """Read back that a removal had effect.

    :raises HaloError: the object is still there
    """
    for seconds in (0.0, *SETTLE):
        # an accepted write can be readable late
        if seconds:
            client.pause(seconds)
        if _details(resource, client, identity) is None:
            return
    raise HaloError(
        f"Halo answered without an error, and it is still there with the id {identity}.",
        hint="Run again, or delete it in Halo.",
    )


def _again(resource: Resource, client: Client, name: str) -> Raw | None:
    """Look for what a creation without an answer may have made."""
    return _named(resource, client.list(resource.path, resource.query), name)


def _whole(resource: Resource, client: Client, planned: Planned, saved: Raw | None) -> Raw:
    """The saved object with its details; read again where the answer does not hold them."""
    current, params = planned.current, planned.params
    secret = resource.secret.api if resource.secret else None
    answer = {name: value for name, value in (saved or {}).items() if name != secret}
    if resource.singleton:
        whole = {**(current or {}), **answer} if answer else _find(resource, client, params)[0]
        return _with_names(resource, client, whole, planned.desired.get("login_agent")) or {}
    identity = (current or answer).get("id")
    is_it = identity is not None and fold(answer.get("id")) == fold(identity)
    if is_it and all(answer.get(name) is not None for name in (resource.name_api, *resource.details)):
        return answer
    found = None
    for seconds in (0.0, *SETTLE):
        # an accepted write can be readable late
        if seconds:
            client.pause(seconds)
        if identity is None:
            identity = (_again(resource, client, params["name"]) or {}).get("id")
        found = None if identity is None else _details(resource, client, identity)
        if found is not None and not _lost(planned, found):
            break
    if found is None:
        raise HaloError(
            f"it was saved{'' if identity is None else f' with the id {identity}'} and cannot be read back.",
            hint="Check in Halo what is there.",
        )
    return found


def _check_name(planned: Planned, now: Raw) -> None:
    """Fail where Halo gave a new object another name: the next run would not find it and make one more.

    :raises HaloError: it did
    """
    sent, kept = planned.params["name"], now.get(planned.resource.name_api)
    if fold(kept) != fold(sent):
        raise HaloError(
            f"Halo made it under another name: '{kept}' instead of '{sent}', with the id {now.get('id')}. Each further "
            "run would make one more.",
            hint=f"Delete the {planned.resource.noun} {now.get('id')} in Halo, and choose a name that Halo keeps.",
        )


def _lost(planned: Planned, now: Raw) -> t.Sequence[str]:
    """The fields that were sent and that the object does not have so."""
    sent = {name: planned.desired[name] for name in planned.change.fields if name in planned.desired}
    return plan(planned.resource, now, sent, append=bool(planned.params.get("append"))).fields


def _complain(client: Client, planned: Planned, now: Raw) -> None:
    """Warn of what Halo accepted without a word and did not keep: each run would report it as a change."""
    lost = _lost(planned, now)
    if lost:
        client.warnings.append(f"Halo answered without an error and did not keep: {', '.join(lost)}.")


def _result(resource: Resource, change: Change, rotation: Rotation, view: t.Any) -> Result:
    before, after = dict(change.before or {}), dict(change.after or {})
    if rotation.performed:
        # says in the diff that there is a new one, not which
        after["client_secret"] = f"new ({rotation.reason})"
        if before:
            before["client_secret"] = "as it was"
    result: Result = {
        "changed": change.changed or rotation.performed,
        "diff": {"before": before, "after": after},
        resource.key: view,
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
                rows = [row for row in rows if _is_named(resource, row, name)]
        rows = [row for row in rows if resource.keep(row, params)]
        if identity is None and (name is not None or resource.sparse):
            rows = [row if _is_whole(resource, row) else _listed(resource, client, row) for row in rows]
        views = sorted((resource.public(row) for row in rows), key=lambda view: (fold(view["name"]), fold(view["id"])))
        return {"changed": False, resource.plural: views}

    return Operation(spec, run)


def _is_whole(resource: Resource, row: Raw) -> bool:
    # an empty list in a row may be one that Halo's list does not fill
    return all(row.get(name) for name in resource.details)


def try_login(client: Client, *, whom: bool = True) -> tuple[Result, LoginError | None]:
    """Whether the connection's credentials let in, and as whom.

    :param whom: whether to ask as whom
    :returns: ``{valid, agent, scope, expires_in, error}`` and the refusal; ``agent`` is None where Halo does not say
    :raises HaloError: Halo could not be asked
    """
    answer: Result = {"valid": False, "agent": None, "scope": None, "expires_in": None, "error": None}
    login = client.login
    me: Raw = {}
    try:
        if not login.connection.access_token:
            token = login.adopt(login.request_token())
            answer.update(scope=token.scope, expires_in=token.expires_in)
        if whom or login.connection.access_token:
            me = client.me()
    except LoginError as error:
        answer["error"] = redact(str(error.about(instance=client.instance)), login.secrets())
        return answer, error
    except HaloError as error:
        if error.status not in (401, 403):
            raise
        answer["error"] = str(error.about(instance=client.instance))
        if error.status == 401:
            about = {**error.failure(), "instance": error.instance}
            return answer, LoginError(error.message, **about)
    answer["valid"] = True
    if me.get("id") is not None:
        answer["agent"] = {"id": me["id"], "name": me.get("name"), "api_only": bool(me.get("isapiagent"))}
    return answer, None


def login_info() -> Operation:
    """The operation behind ``halo_login_info``."""

    def run(context: Context) -> Result:
        answer, refusal = try_login(context.client)
        if refusal and context.params.get("require"):
            raise refusal
        return {"changed": False, **answer}

    return Operation(Spec({"require": {"type": "bool", "default": False}}), run)
