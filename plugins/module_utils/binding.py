# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One tenant's bindings: look at all of them, decide, carry out.

A binding is an API-only agent, an application or the Halo Integrator that logs in as it, and the stored secret. What
can be known to be wrong is found before anything is written; after that each binding's failure is its own.
"""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

from ansible.module_utils.parsing.convert_bool import boolean

from .access import ask, held, look_up
from .client import Client
from .errors import HaloError, LoginError, Refused, one_line, redact
from .lifecycle import ADOPT, MARKER, Entry, Label, due_at, is_empty, made_at, secrets_of
from .lifecycle import dismantle as without_application
from .options import complaints
from .resources.agent import AGENT
from .resources.application import APPLICATION, METHODS
from .resources.integrator import INTEGRATOR
from .rights import EMPTY, RIGHTS, Known, refused, sentence, without_scope
from .rotation import Clock, Ledger, Outcome, Proof, Seen, Store, Wish, Work, alone, orphans
from .run import Params, Planned, Result, apply, naming, plan_resource, rebind, retire, try_login
from .schedule import DEFAULT_JITTER, MOST_JITTER, Age, Window, age_key, window
from .secret import Rotation
from .spec import FLEET, Option, Ref, Resource, Spec, compose, fold
from .trail import Notes, NullTrail, Trail

# stands for the id of an agent that the run is yet to make
NEW = "new"
# why a secret is replaced, where that is neither Halo's doing nor the user's
SECRET_DRIFT = {"invalid": "secret: the stored one does not log in", "missing": "secret: the store has none"}


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
    "can": {"type": "list", "elements": "str", "choices": list(RIGHTS)},
    "previous_agent": {"type": "str", "choices": ["keep", "disable", "delete"], "default": "keep"},
    "max_age_days": {"type": "int"},
    "on_rotated": {"type": "path"},
    "adopt": {"type": "str", "choices": list(ADOPT), "default": "false"},
    "adopt_secret": {"type": "str", "no_log": True},
    "renamed_from": {"type": "str"},
    "allow_self": {"type": "bool", "default": False},
    "allow_system": {"type": "bool", "default": False},
    "allow_hosted": {"type": "bool", "default": False},
}

BINDINGS = Spec(
    {
        "bindings": {"type": "list", "elements": "dict", "options": BINDING},
        "bindings_extra": {"type": "list", "elements": "dict", "default": []},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "acknowledge": {
            "type": "dict",
            "options": {"name": {"type": "str", "required": True}, "made_at": {"type": "str", "required": True}},
        },
        "store": {"type": "str"},
        "store_dir": {"type": "path"},
        "store_options": {"type": "dict", "no_log": False},
        "store_key": {"type": "str", "no_log": False},
        # true, false or rollback, in every spelling that is taken for a boolean
        "rotate": {"type": "raw", "default": False},
        "verify": {"type": "bool", "default": True},
        "jitter": {"type": "float", "default": DEFAULT_JITTER},
        "window": {
            "type": "dict",
            "options": {
                "days": {"type": "list", "elements": "str"},
                "from": {"type": "raw"},
                "to": {"type": "raw"},
                "timezone": {"type": "str"},
            },
        },
        "log_path": {"type": "path"},
        "defer_failure": {"type": "bool", "default": False},
        "fleet": FLEET,
        "decommission_agent": {"type": "str", "choices": ["keep", "disable", "delete"], "default": "disable"},
        "decommission_adopted": {"type": "bool", "default": False},
    },
    {"required_one_of": [["bindings", "acknowledge"]], "mutually_exclusive": [["bindings", "acknowledge"]]},
)


@dataclasses.dataclass(frozen=True)
class Tenant:
    """Everything that a run over one tenant works with.

    :param timeout: seconds after which a request is over
    :param window: when what is due by age alone may be done; None for any time
    """

    client: Client
    store: Store
    clock: Clock
    timeout: float
    check_mode: bool = False
    window: Window | None = None
    trail: Trail = dataclasses.field(default_factory=NullTrail)


def converge(tenant: Tenant, params: Params) -> Result:
    """Converge all bindings of one tenant, secrets included.

    :param params: the options of ``halo_binding``, validated
    :returns: ``{changed, diff, instance, check_mode, bindings: {name: result}, pending_actions: [...], orphans:
        [name]}``, with ``failed`` and ``msg`` where a binding failed; no secret in it
    :raises HaloError: something is wrong with the tenant or with the bindings together; nothing was changed
    """
    specs = _checked(params["bindings"])
    _check_rights(specs)
    tenant = dataclasses.replace(tenant, window=_when(params))
    params = {**params, "rotate": asked_for(params["rotate"])}
    client = tenant.client
    client.secrets += [str(spec["adopt_secret"]) for spec in specs if spec["adopt_secret"]]
    result: Result = {
        "changed": False,
        "instance": client.instance,
        "check_mode": tenant.check_mode,
        "bindings": {},
        "pending_actions": [],
        "diff": {"before": {}, "after": {}},
    }
    names, renamed = _names(specs)
    with alone(
        tenant.store,
        names,
        timeout=tenant.timeout,
        clock=tenant.clock,
        check_mode=tenant.check_mode,
        renamed=renamed,
    ) as ledgers:
        result["orphans"] = _orphans(tenant, [*names, *renamed.values()])
        login = _log_in(client, specs, ledgers)
        bindings = [_Binding(tenant, spec, ledgers[str(spec["name"])], params) for spec in specs]
        for binding in bindings:
            binding.attempt(binding.consider)
        written: set[str] = set()
        for binding in bindings:
            if fold(binding.spec["agent"]["name"]) in written:
                # an earlier binding of this run has made or changed the same agent
                binding.attempt(binding.consider)
            binding.attempt(binding.carry_out)
            if binding.writes_agent:
                written.add(fold(binding.spec["agent"]["name"]))
            binding.conclude(result)
    rotated = [binding.name for binding in bindings if binding.own and binding.has_new_secret]
    if own := (login and login.kept_as) or (rotated and not tenant.check_mode and rotated[0]):
        result["pending_actions"].insert(0, {"action": "own_login", "name": own})
    errors = [binding.error for binding in bindings if binding.error]
    return _failed(result, errors, of=len(bindings), defer=params["defer_failure"])


def _names(specs: t.Sequence[Params]) -> tuple[list[str], dict[str, str]]:
    """The names of bindings, and those that some of them had before."""
    renamed = {str(spec["name"]): spec["renamed_from"] for spec in specs if spec["renamed_from"]}
    return [str(spec["name"]) for spec in specs], renamed


def _orphans(tenant: Tenant, names: t.Sequence[str]) -> list[str]:
    """The bindings that the store has a secret of and nobody declares, with a warning; what cannot be listed is one."""
    warnings = tenant.client.warnings
    try:
        found = orphans(tenant.store, names)
    except HaloError as error:
        warnings.append(f"the store was not searched for bindings that are no longer declared: {error}")
        return []
    if found:
        listed = ", ".join(f"'{one_line(name)}'" for name in found)
        warnings.append(
            f"the store has secrets of bindings that are not declared: {listed}. If one was renamed, say so with "
            "renamed_from; if it is not needed any more, take it out of service with the playbook "
            "haloops.halo.decommission."
        )
    return found


def _failed(result: Result, errors: list[HaloError], *, of: int, defer: bool = False) -> Result:
    """The result with what failed; not as a failure where actions are pending and their caller fails after them."""
    if errors:
        texts = [f"{name}: {row['error']}" for name, row in result["bindings"].items() if row["error"]]
        result["failed"] = not (defer and result["pending_actions"])
        result["msg"] = str(errors[0]) if of == 1 else f"{len(texts)} of {of} bindings failed: " + " / ".join(texts)
        result["error"] = errors[0].failure()
    return result


def _checked(bindings: t.Sequence[Params]) -> list[Params]:
    """The bindings in the order of the work, the run's own login last.

    :raises HaloError: two of them contradict each other, or one cannot be right whatever Halo says
    """
    # what is empty counts as not set
    named: list[Params] = [{**one, "renamed_from": compose(one["renamed_from"] or "") or None} for one in bindings]
    specs = sorted(named, key=lambda one: bool(one["allow_self"]))
    seen: dict[str, Params] = {}
    agents: dict[str, Params] = {}
    for spec in specs:
        name = fold(spec["name"])
        if name in seen:
            raise HaloError(f"two bindings are called '{name}'.", hint="The name is the key in the store.")
        if name == MARKER:
            raise HaloError(f"a binding cannot be called '{MARKER}': the preflight keeps its marker there.")
        seen[name] = spec
        agent = spec["agent"]
        other = agents.setdefault(fold(agent["name"]), spec)
        differ = sorted(key for key in agent if key != "name" and _contradict(agent[key], other["agent"][key]))
        if differ:
            raise HaloError(
                f"the bindings '{other['name']}' and '{spec['name']}' give the agent '{agent['name']}' different "
                f"settings ({', '.join(differ)}), so that each run would change it.",
                hint="Give both the same, or each an agent of its own.",
            )
        if spec["kind"] == "integrator" and spec["application"]:
            raise HaloError(
                "the Halo Integrator has no options of an application.",
                subject=f"binding '{spec['name']}'",
                hint="Leave application out.",
            )
    _check_renaming(specs, seen)
    return specs


def _check_rights(specs: t.Sequence[Params]) -> None:
    """See that the scopes of each binding, where it declares them, can grant what it is to be able to do.

    :raises HaloError: those of one cannot
    """
    for spec in specs:
        scopes = (spec["application"] or {}).get("scopes")
        missing = without_scope(spec["can"] or (), scopes or ())
        if scopes and missing:
            listed = ", ".join(f"{scope} for '{name}'" for name, scope in missing.items())
            raise HaloError(
                f"can holds what none of application.scopes grants; missing: {listed}.",
                subject=f"binding '{spec['name']}'",
                hint="Nothing was changed. Add the scope, or take the right out.",
            )


def _check_renaming(specs: t.Sequence[Params], declared: t.Mapping[str, Params]) -> None:
    """See that each old name is of one binding alone.

    :param declared: the bindings by their folded names
    :raises HaloError: one is not
    """
    taken: dict[str, Params] = {}
    for spec in specs:
        old = fold(spec["renamed_from"])
        if not old:
            continue
        other = declared.get(old) or taken.get(old)
        taken[old] = spec
        if other is spec:
            raise HaloError(
                f"renamed_from is '{spec['renamed_from']}', its own name: letter case and blanks do not count.",
                subject=f"binding '{spec['name']}'",
                hint="Leave renamed_from out.",
            )
        if other:
            what = "is declared as a binding too" if old in declared else f"is what '{other['name']}' was called too"
            raise HaloError(
                f"it is renamed from '{spec['renamed_from']}', and that {what}.",
                subject=f"binding '{spec['name']}'",
                hint="Nothing was changed. Leave renamed_from out where the renaming is done; one thing can become "
                "one other at a time.",
            )


def _contradict(one: t.Any, other: t.Any) -> bool:
    """Whether two values of an option cannot both be; what is not set leaves the other alone, and lists are sets."""
    if one is None or other is None:
        return False
    if isinstance(one, list):
        return {fold(str(item)) for item in one} != {fold(str(item)) for item in other}
    return bool(one != other)


def _when(params: Params) -> Window | None:
    """The window in which what is due by age may be done.

    :raises HaloError: jitter or window are wrong
    """
    if not 0 <= params["jitter"] <= MOST_JITTER:
        raise HaloError(f"jitter must be 0 to {MOST_JITTER:g} (per cent of max_age_days), not {params['jitter']:g}.")
    return window(params["window"])


def asked_for(rotate: t.Any) -> str:
    """What the option ``rotate`` asks for: ``requested``, ``rollback``, or nothing.

    :raises HaloError: it is neither rollback nor a boolean
    """
    if str(rotate).strip().lower() == "rollback":
        return "rollback"
    try:
        return "requested" if boolean(rotate) else ""
    except TypeError:
        choices: Option = {"rotate": {"choices": ["true", "false", "rollback"]}}
        complaint = complaints(choices, {"rotate": rotate})[0]
        text = complaint if complaint.endswith("?") else f"{complaint}."
        raise HaloError(text, hint="Nothing was changed.") from None


def _log_in(
    client: Client, specs: list[Params], ledgers: t.Mapping[str, Ledger | HaloError]
) -> Ledger | None:
    """Log in; where a binding is the run's own application, its stored secrets count when the given one does not.

    :returns: the binding whose stored secret was used, None for the given one
    """
    own = fold(client.login.connection.client_id)
    try:
        client.login.token()
        return None
    except LoginError as refused:
        if refused.code != "invalid_client" or not own:
            raise
        for spec in specs if own else []:
            ledger = ledgers[str(spec["name"])]
            if not spec["allow_self"] or not isinstance(ledger, Ledger):
                continue
            for label in ("current", "pending"):
                stored = ledger.entry[label]
                if stored and fold(stored["client_id"]) == own:
                    client.login.use(stored["client_secret"])
                    try:
                        client.login.token()
                        return ledger
                    except LoginError:
                        continue
        raise


class _Binding:
    """One binding on its way through a run: its wish, its Halo, its failure."""

    def __init__(self, tenant: Tenant, spec: Params, ledger: Ledger | HaloError, params: Params) -> None:
        self.tenant = tenant
        self.spec = spec
        self.name = str(spec["name"])
        self.error: HaloError | None = None
        self.outcome = Outcome()
        moves = isinstance(ledger, Ledger) and ledger.old is not None
        self.halo = _InHalo(tenant, spec, ledger.entry if isinstance(ledger, Ledger) else {}, moves)
        self.work: Work | None = None
        # as the store has it before the run changes it
        self.found: Entry = ledger.entry if isinstance(ledger, Ledger) else {}
        self.refused: list[str] = []
        self.warnings: list[str] = []
        self.age = Age(
            spec["max_age_days"],
            float(params["jitter"]),
            tenant.window,
            key=age_key(tenant.client.instance, tenant.client.login.connection.tenant, self.name),
        )
        wish = Wish(
            self.name,
            previous_agent=spec["previous_agent"],
            age=self.age,
            deliver=bool(spec["on_rotated"]),
            requested=params["rotate"] == "requested",
            rollback=params["rotate"] == "rollback",
            verify=params["verify"],
            adopt=spec["adopt"],
            adopt_secret=spec["adopt_secret"],
            rights=bool(spec["can"]),
        )
        if isinstance(ledger, Ledger):
            self.work = Work(ledger, self.halo, wish, tenant.clock, tenant.trail)
        else:
            self.error = ledger
            ledger.about(subject=f"binding '{self.name}'")

    def attempt(self, step: t.Callable[[], None]) -> None:
        """Take a step unless an earlier one failed; what fails is this binding's error, and what warns its warning."""
        if self.error:
            return
        client = self.tenant.client
        before = len(client.warnings)
        try:
            with naming(f"binding '{self.name}'"):
                step()
        except HaloError as error:
            self.error = error.about(instance=client.instance)
        self.warnings += client.warnings[before:]
        del client.warnings[before:]

    def consider(self) -> None:
        # a second look repeats what the first one warned of
        self.warnings.clear()
        if not self.work:
            return
        try:
            self.work.consider()
        except Refused:
            self.refused = self.halo.drift_behind_guards()
            raise

    def carry_out(self) -> None:
        if not self.work:
            return
        self.outcome = self.work.outcome
        try:
            self.work.carry_out(check_mode=self.tenant.check_mode)
        finally:
            self.warnings += self.outcome.warnings
            self.warnings += [f"right: {sentence(one)}" for one in self.halo.found_rights if one["state"] == EMPTY]
        if self.outcome.errors:
            raise self.outcome.errors[0]

    @property
    def writes_agent(self) -> bool:
        return self.halo.looked and self.halo.agent.change.changed and not self.tenant.check_mode

    @property
    def own(self) -> bool:
        """Whether the run itself logs in with this binding's application."""
        return self.halo.looked and self.halo.is_own()

    @property
    def has_new_secret(self) -> bool:
        """Whether another secret is in force, or would be, than when the run began; what failed later changes none."""
        made = [(entry.get("current") or {}).get("made_at") for entry in (self.found, self._entry)]
        return self.outcome.rotated and (made[0] != made[1] or not self.error)

    @property
    def _entry(self) -> Entry:
        return self.work.ledger.entry if self.work else {}

    def stored_drift(self) -> list[str]:
        """What was wrong with the stored secret, and what an earlier run left undone, in sentences."""
        found, outcome = self.found, self.outcome
        if not found:
            return []
        said = []
        if found["pending"] and outcome.rotated:
            since = found["pending"]["made_at"]
            said.append(f"secret: one is pending since {since}, from a run that did not finish")
        elif outcome.reason == "expired":
            said.append(self._aged(found["current"]))
        elif outcome.reason in SECRET_DRIFT:
            said.append(SECRET_DRIFT[outcome.reason])
        if found["outstanding"]["deliver"] and self.spec["on_rotated"]:
            said.append("secret: it has yet to be delivered by on_rotated")
        if retire := ", ".join(str(item["agent_id"]) for item in found["outstanding"]["retire"]):
            said.append(f"previous agent: {retire} has yet to be retired")
        return said

    def _aged(self, current: Label) -> str:
        made, due, days = made_at(current), due_at(current, self.age), self.age.max_age_days
        if made is None or due is None or days is None:
            return "secret: its age is not known"
        full = made + datetime.timedelta(days=days)
        if self.tenant.clock.now() >= full:
            return f"secret: expired on {full:%Y-%m-%d} (max_age_days: {days})"
        return f"secret: due since {due:%Y-%m-%d} (max_age_days: {days})"

    def conclude(self, result: Result) -> None:
        """Add this binding to the result of the run."""
        halo, outcome = self.halo, self.outcome
        stored = self._entry
        label = stored.get("current") or stored.get("pending") or {}
        drift = [*(halo.drift() if halo.looked else self.refused), *self.stored_drift()]
        if self.work and self.work.renamed_from:
            drift.append(f"stored secret: under the name {self.work.renamed_from} instead of {self.name}")
        drift += [f"right: {text}" for text in refused({"rights": halo.found_rights})]
        changed = outcome.changed or (halo.looked and halo.changed)
        handover = halo.handover(label.get("client_id")) if halo.looked and halo.hosted and outcome.rotated else None
        due = due_at(stored.get("current"), self.age)
        agent = halo.agent.change.after or {} if halo.looked else {}
        login = halo.login.change.after or {} if halo.looked else {}
        result["bindings"][self.name] = {
            "kind": self.spec["kind"],
            "agent_id": halo.agent_id if halo.looked else label.get("agent_id"),
            "agent_name": agent.get("name") or self.spec["agent"]["name"],
            "application_id": label.get("application_id") or login.get("id"),
            "client_id": label.get("client_id") or login.get("client_id"),
            "hosted": halo.looked and halo.hosted,
            "changed": changed,
            "rotated": outcome.rotated,
            "reason": outcome.reason,
            "verified": outcome.verified,
            "made_at": (stored.get("current") or {}).get("made_at"),
            "due_at": due.isoformat(timespec="seconds") if due else None,
            "rights": halo.found_rights,
            "drift": drift,
            "previous_agent_id": halo.login.rotation.previous_agent_id if halo.looked else None,
            "previous_agent": outcome.previous_agent,
            "warnings": list(dict.fromkeys(self.warnings)),
            "error": str(self.error) if self.error else None,
            "hint": self.error.hint if self.error else None,
            "handover": handover,
        }
        self.tenant.client.warnings += [f"binding '{self.name}': {text}" for text in dict.fromkeys(self.warnings)]
        if changed:
            result["changed"] = True
            for when in ("before", "after"):
                result["diff"][when][self.name] = halo.view(when, outcome)
        if self.tenant.check_mode or (self.error and stored.get("pending")):
            # a secret that is about to be replaced would be delivered in vain
            return
        if self.work and self.work.ledger.old:
            # nothing is stored yet under the name by which it would be read
            return
        made_at = (stored.get("outstanding") or {}).get("deliver")
        if made_at and self.spec["on_rotated"]:
            result["pending_actions"].append(
                {
                    "action": "deliver",
                    "name": self.name,
                    "kind": self.spec["kind"],
                    "made_at": made_at,
                    "on_rotated": self.spec["on_rotated"],
                }
            )
        if handover:
            result["pending_actions"].append({"action": "handover", "name": self.name})


class _InHalo:
    """The port ``rotation.Halo`` for one binding, over Halo's API."""

    agent: Planned
    login: Planned

    def __init__(self, tenant: Tenant, spec: Params, stored: Entry, moves: bool) -> None:
        """
        :param moves: ``stored`` is what the store has under the old name
        """
        self._moves = moves
        self._client = tenant.client
        self._tenant = tenant
        self._spec = spec
        self._stored = stored
        self.looked = False
        self.agent_id: t.Any = None
        self.changed = False
        # what is to be said of the agent that it logs in as now
        self._remark = ""
        self.found_rights: list[Result] = []
        # the login that was proven last, and the scopes that it has
        self._proven: Client | None = None
        self._granted = ""

    # What is there

    def look(self) -> Seen:
        """Read agent and application, and plan both. Halo's ``/Agent`` and ``/Application`` or ``/Control``."""
        self.agent = self._plan_agent()
        self.agent_id = (self.agent.current or {}).get("id")
        name = str((self.agent.change.after or {}).get("name"))
        self.login = self._plan_login(Ref(NEW if self.agent.current is None else self.agent_id, name))
        self.looked = True
        self._can_log_in()
        if self._moves:
            _check_taken(self.login, self._spec["renamed_from"], self._stored)
        login, rotation = self.login.change.after or {}, self.login.rotation
        self._remark = self._about(rotation.previous_agent_id)
        exists = self.login.current is not None
        self.changed = self.agent.change.changed or self.login.change.changed
        # check mode has not granted the new scopes
        granted = (self.login.change.before if self._tenant.check_mode else None) or login
        return Seen(
            reason=rotation.reason,
            exists=exists,
            new_agent=self.agent.current is None,
            agent_id=self.agent_id,
            agent_name=name,
            application_id=(self.login.current or {}).get("id"),
            client_id=(self.login.change.before or {}).get("client_id"),
            scope=" ".join(granted.get("scopes") or []),
            previous_agent_id=rotation.previous_agent_id,
            hosted=self.hosted and not self._spec["allow_hosted"],
            changes=self.changed,
            untestable=any("enabled" in one.change.fields and one.current for one in (self.agent, self.login)),
        )

    def _about(self, agent_id: t.Any) -> str:
        """What is wrong with an agent to log in as. Halo's ``/Agent``, which was read before."""
        if agent_id is None:
            return ""
        rows = self._client.cached(AGENT.path, AGENT.query)
        row = next((row for row in rows if fold(row["id"]) == fold(agent_id)), None)
        if row is None:
            return " (no such agent)"
        return "" if row.get("isapiagent") else " (a human agent)"

    def _plan_agent(self) -> Planned:
        name = self._spec["agent"]["name"]
        cached = self._cached("agent_id", lambda label: fold(label["agent_name"]) == fold(name))
        params = {**self._spec["agent"], "state": "present", "agent_id": None, "cached_id": cached, "force": False}
        return plan_resource(AGENT, self._client, params)

    def _plan_login(self, agent: Ref) -> Planned:
        common = {
            "regenerate_secret": "on_agent_change",
            "new_client_secret": None,
            "defer_rotation": True,
            "allow_self": self._spec["allow_self"],
        }
        if self._spec["kind"] == "integrator":
            params = {**common, "allow_hosted": self._spec["allow_hosted"]}
            return plan_resource(INTEGRATOR, self._client, params, {"login_agent": agent})
        params = {
            **{field.name: None for field in APPLICATION.fields},
            **common,
            "enabled": True,
            "properties": None,
            **(self._spec["application"] or {}),
            "name": self._spec["name"],
            "state": "present",
            "cached_id": self._cached("application_id"),
            "cached_client_id": self._cached("client_id"),
            "renamed_from": self._spec["renamed_from"],
            "application_id": None,
            "allow_system": self._spec["allow_system"],
        }
        return plan_resource(APPLICATION, self._client, params, {"login_agent": agent})

    def _cached(self, key: str, which: t.Callable[[Label], bool] = lambda label: True) -> t.Any:
        """An id that the store remembers, for where Halo's list does not show yet what was just written."""
        found = (self._stored.get(label) for label in ("pending", "current"))
        return next((label[key] for label in found if label and label.get(key) and which(label)), None)

    def _can_log_in(self) -> None:
        """Refuse what could never be proven: a secret that nobody can log in with, which each run would replace.

        :raises HaloError: the agent or the application would be disabled, logs in without client credentials, or is to
            be made without scopes
        """
        for planned in (self.agent, self.login):
            view = planned.change.after or {}
            subject = f"{planned.resource.noun} '{view.get('name') or self._spec['name']}'"
            if view.get("enabled") is False:
                raise HaloError(
                    "it would be disabled, and what a binding names must be able to log in.",
                    subject=subject,
                    hint="Leave enabled out, or take it out of service with the playbook haloops.halo.decommission.",
                )
            method = view.get("authentication_method")
            if method in METHODS and method != "client_credentials":
                raise HaloError(
                    f"its authentication_method is {method}, and a binding logs in with a client ID and secret.",
                    subject=subject,
                    hint="Set authentication_method: client_credentials, or use the module halo_application for it.",
                )
        application = self._spec["application"] or {}
        makes = self.login.resource is APPLICATION and self.login.current is None
        if makes and not application.get("scopes"):
            raise HaloError(
                "application.scopes is missing: Halo has no application of this name, and one without scopes lets "
                "nobody in.",
                hint="List what it may do, as in application: {scopes: [read:tickets]}, or correct the name.",
            )
        if application.get("scopes") == []:
            raise HaloError(
                "application.scopes is empty: an application without scopes lets nobody in.",
                hint="List what it may do, as in application: {scopes: [read:tickets]}, or leave scopes out.",
            )

    @property
    def hosted(self) -> bool:
        return self.login.resource is INTEGRATOR and bool((self.login.current or {}).get("hashostedintegrator"))

    def is_own(self) -> bool:
        """Whether the run itself logs in with this application."""
        own = fold(self._client.login.connection.client_id)
        return bool(own) and fold((self.login.change.before or {}).get("client_id")) == own

    # The port's other calls

    def allow(self, reason: str) -> None:
        """Call the guard for a rotation that Halo does not demand but the user or the store does."""
        login = self.login
        if login.resource.guard:
            with naming(f"{login.resource.noun} '{self._spec['name']}'"):
                rotation = Rotation(reason, performed=True)
                login.resource.guard(self._client, login.params, login.current, login.change, rotation)

    def prepare(self) -> t.Any:
        """Write the agent, and the application where no new secret goes with it in the same request."""
        if self.agent.change.changed:
            done = apply(self._client, self.agent)[AGENT.key]
            self.agent = _done(self.agent, done)
            self.agent_id = done["id"]
        if self.login.change.changed and not self.login.rotation.required:
            self.login = _done(self.login, apply(self._client, self.login)[self.login.resource.key])
        return self.agent_id

    def set(self, label: Label, answered: t.Callable[[Label], None]) -> None:
        """``POST /Application`` or ``POST /Control``: all that differs, the login agent and the secret together."""
        final = rebind(self.login, Ref(self.agent_id, None), label["client_secret"], label["client_id"])

        secrets = [label["client_secret"]]

        def note(saved: t.Mapping[str, t.Any], in_force: str) -> None:
            secrets.append(in_force)
            api = final.resource.secret.client_id_api if final.resource.secret else ""
            known = {"client_id": saved.get(api) or None, "client_secret": in_force}
            if not final.resource.singleton:
                known["application_id"] = saved.get("id")
            answered(known)

        view = apply(self._client, final, note)[final.resource.key]
        bound = (view.get("login_agent") or {}).get("id")
        if fold(bound) != fold(self.agent_id):
            raise HaloError(
                f"Halo took the new secret and did not keep the login agent: it is {bound} instead of {self.agent_id}.",
                hint="Check in Halo whether the agent may be chosen there, and run again.",
            )
        answered({"application_id": view.get("id"), "client_id": view.get("client_id")})
        own = self.is_own()
        self.login = dataclasses.replace(self.login, change=dataclasses.replace(self.login.change, after=view))
        if own:
            self._client.login.use(secrets[-1])

    def test(self, label: Label, *, whom: bool) -> Proof:
        """``POST /token`` with the secret, and ``GET /Agent/me`` where it is asked as whom."""
        known_as = (self.login.change.before or {}).get("client_id") or label["client_id"]
        if not known_as:
            return Proof(False, reason="it has no client ID")
        granted = label.get("scope") or self._client.login.connection.scope
        view = self.login.change.before if self._tenant.check_mode else self.login.change.after
        scope = " ".join((view or {}).get("scopes") or []) or granted
        client = self._client.with_login(known_as, label["client_secret"], scope)
        response, refusal = try_login(client, whom=whom)
        if refusal and refusal.code == "invalid_scope":
            raise HaloError(
                "its scopes cannot be had, so its secret cannot be proven.",
                answer=refusal.answer,
                hint="Check the scopes of the application.",
            )
        reason = one_line(redact(str(response["error"] or ""), [label["client_secret"]]))
        self._proven = client if response["valid"] else None
        self._granted = response["scope"] or scope
        return Proof(response["valid"], (response["agent"] or {}).get("id"), reason)

    def rights(self, label: Label) -> list[str]:
        """``GET`` one row of whatever ``can`` names, with the binding's own token; see :mod:`.rights`."""
        proof = None if self._proven else self.test(label, whom=False)
        if not self._proven:
            raise HaloError(f"its rights cannot be asked for, since it does not log in ({proof and proof.reason}).")
        self.found_rights = ask(self._proven, self._spec["can"], self._known)
        return refused({"rights": self.found_rights})

    def _known(self) -> Known:
        """What can be read of the scopes, roles and teams that it logs in with, by the run's own login."""
        view = self.login.change.before if self._tenant.check_mode else self.login.change.after
        scopes, granted = (view or {}).get("scopes"), frozenset(self._granted.split())
        permissions, teams = held(self._client, look_up(self._client, self.agent_id))
        return Known(granted, None if scopes is None else frozenset(scopes), permissions, teams)

    def retire(self, agent_id: t.Any) -> str:
        """``POST`` or ``DELETE /Agent``, and a look whether it had effect."""
        with naming(f"previous agent {agent_id}"):
            return retire(self._client, agent_id, self._spec["previous_agent"])

    # What is said of it

    def drift(self) -> list[str]:
        """What is not as declared, in sentences: of the agent, and of what logs in as it."""
        # what an agent has too would be taken for the agent's
        both = ("name:", "enabled:")
        login = [f"application {text}" if text.startswith(both) else text for text in self.login.change.drift()]
        rotation = self.login.rotation
        was = (self.login.change.before or {}).get("login_agent") or {}
        if rotation.reason == "created":
            login = ["there is no such application"]
        elif self.login.current is None:
            login = []
        elif rotation.previous_agent_id is not None or rotation.reason == "agent_changed":
            name = was.get("name") or was.get("id") or "nobody"
            agent = (self.agent.change.after or {}).get("name")
            login.append(f"login agent: {name}{self._remark} instead of {agent}")
        elif rotation.reason == "login_type_changed":
            login.append(f"login type: {(self.login.change.before or {}).get('login_type')} instead of agent")
        return [*self.agent.change.drift(), *login]

    def drift_behind_guards(self) -> list[str]:
        """What a guard keeps from being changed is drift as well: the same with all that may be allowed allowed."""
        allowed = dict.fromkeys(("allow_self", "allow_system", "allow_hosted"), True)
        agent = {**self._spec["agent"], "allow_conversion": True}
        other = _InHalo(self._tenant, {**self._spec, **allowed, "agent": agent}, self._stored, self._moves)
        try:
            other.look()
        except HaloError:
            return other.drift() if other.looked else []
        return other.drift()

    def handover(self, client_id: t.Any) -> str:
        """The text for Halo's support where it hosts the Integrator; it names the client ID, not the secret."""
        agent = (self.agent.change.after or {}).get("name")
        return (
            f"Please reconnect the Halo Integrator that you host for {self._client.instance} (client ID {client_id}). "
            f'It now logs in as the agent "{agent}", and its client secret has been re-generated. We will hand the new '
            "secret over in the way that you prefer."
        )

    def view(self, when: str, outcome: Outcome) -> Result:
        """The part of the diff: agent and application ``before`` or ``after``."""
        key = self.login.resource.key
        view = {
            "agent": getattr(self.agent.change, when) or {},
            key: dict(getattr(self.login.change, when) or {}),
        }
        if when == "after" and outcome.rotated:
            view[key]["client_secret"] = f"{'previous' if outcome.reason == 'rollback' else 'new'} ({outcome.reason})"
            view[key]["login_agent"] = {name: view["agent"].get(name) for name in ("id", "name")}
        return view


def _check_taken(planned: Planned, old: str, stored: Entry) -> None:
    """Refuse to take what the store has under the old name for the secret of something else that has the new one.

    :raises HaloError: it is another one's
    """
    view = planned.change.before or {}
    labels = [label for label in (stored["pending"], stored["current"]) if label]
    known = {fold(label[key]) for label in labels for key in ("application_id", "client_id")}
    if not view.get("client_id") or fold(view.get("name")) == fold(old):
        return
    if known.isdisjoint({fold(view["client_id"]), fold(view.get("id"))}):
        raise HaloError(
            f"the {planned.resource.noun} that is there has the client ID {view['client_id']}, and the secret that is "
            f"stored as '{old}' is of another one.",
            hint="Nothing was changed. Leave renamed_from out, or delete or rename that one in Halo.",
        )


def _done(planned: Planned, view: Result) -> Planned:
    return dataclasses.replace(planned, change=dataclasses.replace(planned.change, after=view))


# The way out


@dataclasses.dataclass
class _Leaving:
    """A binding that is to be taken out of service, all guards passed and nothing written."""

    name: str
    ledger: Ledger
    label: Label
    application: Planned | None


def decommission(tenant: Tenant, params: Params) -> Result:
    """Take bindings out of service: delete the applications, retire the agents, keep the last secrets as previous.

    :returns: as :func:`converge`
    :raises HaloError: one of them must not be; nothing was changed
    """
    result: Result = {
        "changed": False,
        "instance": tenant.client.instance,
        "check_mode": tenant.check_mode,
        "bindings": {},
        "pending_actions": [],
        "diff": {"before": {}, "after": {}},
    }
    specs = _checked(params["bindings"])
    names, renamed = _names(specs)
    errors: list[HaloError] = []
    with alone(
        tenant.store,
        names,
        timeout=tenant.timeout,
        clock=tenant.clock,
        check_mode=tenant.check_mode,
        renamed=renamed,
    ) as ledgers:
        leaving = []
        for spec in specs:
            with naming(f"binding '{spec['name']}'"):
                leaving.append(_leave(tenant, spec, ledgers[str(spec["name"])], params["decommission_adopted"]))
        for one in leaving:
            row: Result = {
                "changed": False,
                "application_id": one.label.get("application_id"),
                "client_id": one.label.get("client_id"),
                "agent_id": one.label.get("agent_id"),
                "agent_name": one.label.get("agent_name"),
                "previous_agent": None,
                "warnings": [],
                "error": None,
                "hint": None,
            }
            try:
                with naming(f"binding '{one.name}'"):
                    _take_out(tenant, one, params["decommission_agent"], row)
            except HaloError as error:
                row["error"] = str(error.about(instance=tenant.client.instance))
                row["hint"] = error.hint
                errors.append(error)
            result["bindings"][one.name] = row
            if row["changed"]:
                result["changed"] = True
                before = one.application.change.before if one.application else None
                result["diff"]["before"][one.name] = {"application": before}
                result["diff"]["after"][one.name] = {"application": None}
    return _failed(result, errors, of=len(leaving))


def _leave(tenant: Tenant, spec: Params, ledger: Ledger | HaloError, adopted: bool) -> _Leaving:
    """Look whether a binding may be taken out of service.

    :raises HaloError: it may not
    """
    if isinstance(ledger, HaloError):
        raise ledger
    if spec["kind"] == "integrator":
        raise HaloError("the Halo Integrator cannot be deleted.", hint="Let it log in as another agent instead.")
    label = ledger.entry["current"] or ledger.entry["pending"] or {}
    params = {
        **{field.name: None for field in APPLICATION.fields},
        "name": spec["name"],
        "state": "absent",
        "cached_id": label.get("application_id"),
        "cached_client_id": label.get("client_id"),
        # what has the old name and is not known is somebody else's by now
        "renamed_from": spec["renamed_from"] if label else None,
        "application_id": None,
        "properties": None,
        "regenerate_secret": "never",
        "defer_rotation": False,
        "allow_self": spec["allow_self"],
        "allow_system": spec["allow_system"],
    }
    planned = plan_resource(APPLICATION, tenant.client, params)
    if ledger.old:
        _check_taken(planned, spec["renamed_from"], ledger.entry)
    if planned.current is None:
        return _Leaving(str(spec["name"]), ledger, label, None)
    if not label:
        raise HaloError(
            "it is there, and the store knows nothing of it; nothing was changed.",
            hint="Check store, address and tenant name, or adopt it first (adopt: rotate).",
        )
    if label.get("application_id") and fold(label["application_id"]) != fold(planned.current["id"]):
        raise HaloError(
            f"it is another application ({planned.current['id']}) than the one that the store knows "
            f"({label['application_id']}); nothing was changed.",
            hint="Delete it in Halo, or give the binding its own name.",
        )
    if ledger.entry["origin"] != "created" and not adopted:
        raise HaloError(
            "the application was there before this collection gave it a secret; nothing was changed.",
            hint="Set halo_integration_decommission_adopted: true to delete it all the same.",
        )
    return _Leaving(str(spec["name"]), ledger, label, planned)


def _take_out(tenant: Tenant, one: _Leaving, how: str, row: Result) -> None:
    row["changed"] = one.application is not None or not is_empty(
        {**one.ledger.entry, "previous": None}
    )
    if tenant.check_mode or not row["changed"]:
        return
    tenant.trail.check()
    notes = Notes(tenant.trail, one.name, row["warnings"], lambda: secrets_of(one.ledger.entry))
    if one.ledger.old:
        with notes.step("move", "renamed", lambda: (row["client_id"], row["agent_name"])):
            one.ledger.take_over()
    if one.application:
        with notes.step("delete", "absent", lambda: (row["client_id"], row["agent_name"])):
            apply(tenant.client, one.application)
    if how != "keep" and one.label.get("agent_id"):
        row["previous_agent"] = _retired(tenant.client, one.label["agent_id"], how, row, notes)
    one.ledger.write(without_application(one.ledger.entry))


def _retired(client: Client, agent_id: t.Any, how: str, row: Result, notes: Notes) -> str:
    try:
        with notes.step("retire", "absent", lambda: (row["client_id"], agent_id)), naming(f"agent {agent_id}"):
            return retire(client, agent_id, how)
    except Refused as error:
        row["warnings"].append(f"the agent {agent_id} stays as it is: {error.message}")
        return f"kept: {error.message}"


class SystemClock:
    """The machine's own time."""

    def __init__(self, sleep: t.Callable[[float], None]) -> None:
        self.sleep = sleep

    def now(self) -> datetime.datetime:
        return datetime.datetime.now(datetime.UTC)
