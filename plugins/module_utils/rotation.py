# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The program that makes a new secret: create, set, test, finish, over the ports Store, Halo and Trail.

A secret is in the store before Halo gets it, and what was in force stays there until the new one is proven. So at any
instant a crash leaves the secret in force readable, and the next run goes on from what the store says. What is to be
done is decided in :mod:`.lifecycle`; nothing here knows HTTP, files or Ansible.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import typing as t
import uuid

from .errors import AmbiguousWrite, HaloError, Refused
from .lifecycle import (
    HALO_REASONS,
    MARKER,
    Decision,
    Entry,
    Facts,
    Label,
    acknowledge,
    adopt,
    amend,
    create,
    decide,
    expired,
    finish,
    is_copy,
    is_in_service,
    late_seconds,
    rename,
    secrets_of,
    to_restore,
)
from .schedule import Age
from .secret import new_secret
from .spec import fold
from .trail import Notes, NullTrail, Trail

Version = t.Any

TEST_ATTEMPTS = 4
TEST_PAUSE = 1.0


class Store(t.Protocol):
    """Where entries are kept, one for each binding of one tenant."""

    def read(self, name: str) -> tuple[Entry, Version]:
        """The entry of a binding, an empty one where there is none, and the version that a write must name.

        :raises HaloError: it cannot be read, or is not what this store writes
        """

    def write(self, name: str, entry: Entry, version: Version) -> Version:
        """Replace the entry; it is durable on return.

        :raises StaleEntry: someone else wrote it since it was read
        :raises HaloError: it could not be written; the old one is still there
        """

    def names(self) -> list[str]:
        """The bindings that there is an entry of."""

    def others(self, names: t.Iterable[str]) -> dict[str, Entry]:
        """The entries of all bindings but these, by name; what is not asked for is not read.

        :raises HaloError: they cannot be listed, or one is not what this store writes
        """

    def hold(self) -> t.ContextManager[None]:
        """Work on the tenant alone.

        :raises TenantBusy: someone else does
        """


@dataclasses.dataclass(frozen=True)
class Seen:
    """What a look at Halo showed of one binding.

    :param reason: why Halo demands a new secret: one of HALO_REASONS, or none
    :param exists: the application, or the Integrator, is there
    :param new_agent: the agent has yet to be made; ``agent_id`` is None then
    :param scope: what to ask for when its secret is tested, separated by blanks
    :param previous_agent_id: what it logs in as now, where that is another agent than it shall be
    :param hosted: Halo hosts the Integrator, and the user has not allowed a new secret
    :param untestable: what is disabled now would be enabled, so that check mode cannot try its secret
    :param changes: something in Halo is not as declared
    """

    reason: str
    exists: bool
    new_agent: bool
    agent_id: t.Any
    agent_name: str
    application_id: t.Any
    client_id: str | None
    scope: str
    previous_agent_id: t.Any = None
    hosted: bool = False
    untestable: bool = False
    changes: bool = False


@dataclasses.dataclass(frozen=True)
class Proof:
    """What became of a login: whether it was let in, and as which agent; None where that was not asked or not said."""

    valid: bool
    agent_id: t.Any = None
    reason: str = ""

    def by(self, agent_id: t.Any) -> bool:
        """Whether it logged in as this agent, as far as Halo says."""
        return self.valid and (self.agent_id is None or fold(self.agent_id) == fold(agent_id))


class Halo(t.Protocol):
    """One binding in Halo: the agent, and the application or Integrator that logs in as it."""

    def look(self) -> Seen:
        """Read what is there and plan; writes nothing.

        :raises HaloError: something is wrong with the binding, or a guard forbids it
        """

    def allow(self, reason: str) -> None:
        """Pass the guards for a new secret that Halo does not demand.

        :raises HaloError: one says no
        """

    def prepare(self) -> t.Any:
        """Write what needs no new secret: the agent, and the application apart from its login. Gives the agent's id."""

    def set(self, label: Label, answered: t.Callable[[Label], None]) -> None:
        """The one POST: the login agent and the secret of ``label`` together.

        :param answered: called with the client ID, the secret in force and the application's id as Halo answered them,
            before anything else can fail
        :raises AmbiguousWrite: it may or may not have been carried out
        """

    def test(self, label: Label, *, whom: bool) -> Proof:
        """Log in with a secret; ``whom`` asks Halo as which agent.

        :raises HaloError: Halo could not be asked
        """

    def rights(self, label: Label) -> list[str]:
        """Ask, with the secret that was tested last or else that of ``label``, for what it is to open; writes nothing.

        :returns: what is refused, in sentences
        :raises HaloError: Halo could not be asked
        """

    def retire(self, agent_id: t.Any) -> str:
        """Disable or delete an agent and read back that it is so; gives ``disabled`` or ``deleted``.

        :raises Refused: a guard says no
        """


class Clock(t.Protocol):
    def now(self) -> datetime.datetime:
        """The time, with its zone."""

    def sleep(self, seconds: float) -> None:
        """Wait."""


@dataclasses.dataclass(frozen=True)
class Wish:
    """What the user wants of a binding's secret.

    :param previous_agent: keep, disable, delete
    :param deliver: a new secret has to be delivered by tasks of the user's own
    :param requested: make a new secret now; ``rollback``: set the previous one again
    :param adopt: one of ``lifecycle.ADOPT``; ``adopt_secret`` is the one to take over
    :param rights: what it opens has to be asked for, once it has logged in
    """

    name: str
    previous_agent: str = "keep"
    age: Age = dataclasses.field(default_factory=Age)
    deliver: bool = False
    requested: bool = False
    rollback: bool = False
    verify: bool = True
    adopt: str = "false"
    adopt_secret: str | None = dataclasses.field(default=None, repr=False)
    rights: bool = False


@dataclasses.dataclass
class Outcome:
    """What became of one binding's secret."""

    rotated: bool = False
    changed: bool = False
    reason: str = "none"
    verified: bool | None = None
    previous_agent: str | None = None
    warnings: list[str] = dataclasses.field(default_factory=list)
    errors: list[HaloError] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Ledger:
    """One binding's entry, and the version that the next write must name.

    :param old: what the store has under an old name of the binding; ``entry`` is that one's then, and still to be
        written: see :meth:`take_over`
    """

    store: Store
    name: str
    entry: Entry
    version: Version
    old: Ledger | None = None

    @classmethod
    def read(cls, store: Store, name: str, renamed_from: str | None = None) -> Ledger:
        """
        :raises HaloError: it cannot be read, or both names have secrets of their own
        """
        ledger = cls(store, name, *store.read(name))
        old = cls(store, renamed_from, *store.read(renamed_from)) if renamed_from else None
        if old and is_in_service(old.entry):
            if is_in_service(ledger.entry) and not is_copy(ledger.entry, old.entry):
                raise HaloError(
                    f"the store has secrets of '{name}' and of '{renamed_from}', and the one cannot become the other.",
                    hint="Nothing was changed. Leave renamed_from out to keep both, each as a binding of its own; or "
                    "take the one that is not needed out of service, with the playbook haloops.halo.decommission.",
                )
            old.name = old.entry["binding"] or old.name
            ledger.old, ledger.entry = old, rename(old.entry, name)[0]
        return ledger

    @property
    def kept_as(self) -> str:
        """The name that the entry has in the store now."""
        return self.old.name if self.old else self.name

    def take_over(self) -> None:
        """Make the entry of the old name that of the new one, and then empty the old one.

        A run that is killed in between leaves two that say the same, for the next one to go on from.
        """
        if self.old:
            self.version = self.store.write(self.name, self.entry, self.version)
            self.old.write(rename(self.old.entry, self.name)[1])
            self.old = None

    def write(self, new: Entry) -> None:
        if new != self.entry:
            self.version = self.store.write(self.name, new, self.version)
            self.entry = new


@contextlib.contextmanager
def alone(
    store: Store,
    names: t.Iterable[str],
    *,
    timeout: float,
    clock: Clock,
    check_mode: bool = False,
    renamed: t.Mapping[str, str] | None = None,
) -> t.Iterator[dict[str, Ledger | HaloError]]:
    """Work on a tenant alone, with the entries of its bindings; an entry that cannot be read is its error.

    What a killed run had sent may still be on its way: the rest of its time-out is waited for before Halo is looked
    at, or what it makes would be made again.

    :param timeout: seconds after which a request of an earlier run is over
    :param renamed: the names that some of the bindings had before
    :raises TenantBusy: someone else is at work
    """
    with contextlib.nullcontext() if check_mode else store.hold():
        ledgers: dict[str, Ledger | HaloError] = {}
        late = 0.0
        for name in names:
            try:
                ledgers[name] = ledger = Ledger.read(store, name, (renamed or {}).get(name))
            except HaloError as error:
                ledgers[name] = error
            else:
                late = max(late, late_seconds(ledger.entry["pending"], timeout, clock.now()))
        if late and not check_mode:
            clock.sleep(late)
        yield ledgers


class Work:
    """One binding on its way through a run: :meth:`consider` it, then :meth:`carry_out`."""

    def __init__(self, ledger: Ledger, halo: Halo, wish: Wish, clock: Clock, trail: Trail | None = None) -> None:
        self.ledger = ledger
        self.halo = halo
        self.wish = wish
        self.clock = clock
        self.seen: Seen
        self.outcome = Outcome()
        self._adopted: Label | None = None
        self._decision = Decision()
        self.trail = trail or NullTrail()
        self._notes = Notes(self.trail, wish.name, self.outcome.warnings, self._secrets)
        self.renamed_from = ledger.old.name if ledger.old else None

    def consider(self) -> None:
        """Look at Halo, and refuse what can be refused before anything is written.

        :raises HaloError: nothing was changed
        """
        seen = self.seen = self.halo.look()
        if self.wish.rollback:
            to_restore(self._stored, seen.application_id, seen.client_id)
        decision = self._decision = self._decide()
        if decision.refuse:
            raise HaloError(
                "it is there, and the store knows no secret of it.",
                hint="Someone may be using its secret, so none was made. If another store, another address or tenant "
                "name (localhost is not 127.0.0.1) or another name of the binding was used before, use that again; or "
                "set adopt: rotate to replace the secret, or adopt: proven with adopt_secret to take it over.",
            )
        if decision.prove:
            self._adopted = self._prove()
        if decision.rotate and seen.reason == "none" and not self._stored["pending"]:
            self.halo.allow(decision.reason)

    def carry_out(self, *, check_mode: bool) -> Outcome:
        """Do what is to be done, or, in check mode, say what that would be.

        :raises HaloError: what was done until then is in the store
        """
        outcome = self.outcome
        if not check_mode and self._is_change_ahead():
            self.trail.check()
        if not check_mode and self.renamed_from:
            with self._step("move", "renamed"):
                self.ledger.take_over()
        outcome.changed = bool(self.renamed_from)
        if not check_mode and not self.seen.new_agent:
            # first, for what is disabled or lacks its scopes could not be tried
            self.halo.prepare()
        decision = self._judge(check_mode)
        outcome.reason = decision.reason
        outcome.rotated = decision.promote or decision.rotate
        outcome.changed |= outcome.rotated or bool(self._adopted) or self._is_outstanding()
        if check_mode:
            if self.wish.rights and outcome.verified:
                self.halo.rights(self._stored["current"] or self._stored["pending"] or {})
            return outcome
        if self._adopted:
            with self._step("adopt", "proven"):
                self.ledger.write(adopt(self._stored, self._adopted))
        if decision.promote:
            self._promote()
        if decision.rotate:
            if decision.reason == "requested" and self._is_pending_an_old_one():
                # it may still be on its way, so it is not overwritten; and who asks for a new one does not want it
                self._rotate("rollback")
            self._rotate(decision.reason)
        if not self._is_refused():
            self._retire()
        return outcome

    # What is known

    @property
    def _stored(self) -> Entry:
        return self.ledger.entry

    def _facts(self) -> Facts:
        """What is known before any login was tried."""
        pending, current = self._stored["pending"], self._stored["current"]
        return Facts(
            halo=self.seen.reason,
            has_pending=bool(pending),
            pending_reason=str((pending or {}).get("reason") or "none"),
            has_current=bool(current),
            requested=self.wish.requested,
            rollback=self.wish.rollback,
            expired=expired(current, self.wish.age, self.clock.now()),
            hosted=self.seen.hosted and not (self.wish.requested or self.wish.rollback),
            adopt=self.wish.adopt,
        )

    def _decide(self, **known: t.Any) -> Decision:
        return decide(dataclasses.replace(self._facts(), **known), self.wish.verify)

    def _is_change_ahead(self) -> bool:
        """Whether anything will be changed, as far as that is known before a login."""
        stored = self._stored
        known = self.seen.changes or stored["pending"] or stored["outstanding"]["retire"] or self._adopted
        return bool(known or self.renamed_from or self._decision.rotate)

    def _judge(self, check_mode: bool) -> Decision:
        """The decision, after the logins that it takes."""
        known: dict[str, t.Any] = {}
        if self._adopted:
            self.outcome.verified = True
            return Decision(reason="none")
        if self._stored["pending"] and self.seen.exists:
            proof = self.halo.test(self._stored["pending"], whom=False)
            known["pending_valid"] = proof.valid
            self.outcome.verified = proof.by(self.seen.agent_id)
        decision = self._decide(**known)
        if decision.test_current:
            if check_mode and self.seen.untestable:
                return Decision()
            proof = self.halo.test(self._stored["current"], whom=False)
            self.outcome.verified = known["current_valid"] = proof.by(self.seen.agent_id)
            decision = self._decide(**known)
        if decision.rotate:
            self.outcome.verified = None
        return decision

    def _prove(self) -> Label:
        """The secret that the user gives as a label, proven to log in.

        :raises HaloError: it does not, or there is none
        """
        if not self.wish.adopt_secret:
            raise HaloError("adopt: proven needs adopt_secret, the client secret to take over.")
        label = self._label("none", self.wish.adopt_secret)
        proof = self.halo.test(label, whom=True)
        if not proof.by(self.seen.agent_id):
            raise HaloError(
                f"adopt_secret does not log in as {self.seen.agent_name} ({proof.reason or 'another agent answered'}).",
                hint="Nothing was changed. Give the secret that is in force, or set adopt: rotate to replace it.",
            )
        return label

    def _is_pending_an_old_one(self) -> bool:
        """Whether a rollback was begun, and not finished."""
        pending, previous = self._stored["pending"], self._stored["previous"]
        return bool(pending and previous and pending["client_secret"] == previous["client_secret"])

    # The four steps

    def _rotate(self, reason: str) -> None:
        self.trail.check()
        if self.seen.reason == "none":
            self.halo.allow(reason)
        with self._step("rollback" if reason == "rollback" else "create", reason):
            self._create(reason)
        sent = self._stored["pending"]["client_secret"]
        try:
            with self._step("set", reason):
                if self.seen.new_agent:
                    made = {"agent_id": self.halo.prepare(), "made_at": self._now()}
                    # what is sent from here on may be late for as long again
                    self.ledger.write(amend(self._stored, made))
                self.halo.set(dict(self._stored["pending"]), self._note)
            with self._step("test", reason):
                self._test(reason)
        except HaloError as error:
            if not isinstance(error, AmbiguousWrite):
                # nothing is on its way: the next run need not wait for it
                with contextlib.suppress(HaloError):
                    self.ledger.write(amend(self._stored, {"in_flight": False}))
            raise
        if reason == "rollback" and self._stored["pending"]["client_secret"] != sent:
            self.outcome.warnings.append("Halo made a secret of its own instead of taking the previous one.")
        with self._step("finish", reason):
            self._finish()

    def _create(self, reason: str) -> None:
        before = self._stored["pending"] or {}
        label = self._label(reason, self._secret(reason, before.get("client_secret")))
        label["client_id"] = label["client_id"] or before.get("client_id") or str(uuid.uuid4())
        replaced = [*(before.get("replaces") or []), self.seen.previous_agent_id]
        label["replaces"] = list(dict.fromkeys(str(one) for one in replaced if one)) or None
        label["in_flight"] = True
        self.ledger.write(create(self._stored, label))

    def _secret(self, reason: str, begun: str | None) -> str:
        # one that was begun before may still be on its way to Halo, sent by a run that was killed
        if begun or reason != "rollback":
            return begun or new_secret()
        return str(self._stored["previous"]["client_secret"])

    def _label(self, reason: str, secret: str) -> Label:
        seen = self.seen
        return {
            "client_id": seen.client_id,
            "client_secret": secret,
            "application_id": seen.application_id,
            "agent_id": seen.agent_id,
            "agent_name": seen.agent_name,
            "scope": seen.scope,
            "made_at": self._now(),
            "reason": reason,
        }

    def _now(self) -> str:
        return self.clock.now().astimezone(datetime.UTC).isoformat(timespec="microseconds")

    def _note(self, answered: Label, durable: bool = True) -> None:
        """Keep what Halo answered. A secret or a client ID of its own making is written at once."""
        new = amend(self._stored, answered)
        now = self._stored["pending"]
        try:
            if durable and any(new["pending"][key] != now[key] for key in ("client_id", "client_secret")):
                self.ledger.write(new)
        finally:
            # with the next write it is written all the same; what is only Halo's to say, a killed run's successor asks
            self.ledger.entry = new

    def _test(self, reason: str) -> None:
        pending = self._stored["pending"]
        # as whom is asked where another agent takes over; nothing else can be logged in as one that was just made
        whom = bool({reason, self.seen.reason} & {*HALO_REASONS}) and not (self.seen.new_agent and self.seen.exists)
        for attempt in range(TEST_ATTEMPTS):
            if attempt:
                # what Halo accepted may take a moment to count
                self.clock.sleep(TEST_PAUSE)
            proof = self.halo.test(pending, whom=whom)
            if proof.valid:
                break
        if not proof.by(pending["agent_id"]):
            raise HaloError(
                f"the new secret is set in Halo and does not log in as {self.seen.agent_name}: "
                f"{proof.reason or f'the agent {proof.agent_id} answered'}.",
                hint="It is kept in the store as pending. Check the application in Halo and run again.",
            )
        self.outcome.verified = True

    def _promote(self) -> None:
        """Finish what an earlier run began; it may have been killed before it noted what Halo had answered."""
        seen = self.seen
        known: Label = {"application_id": seen.application_id, "client_id": seen.client_id}
        # Halo's word counts: one secret may have been sent for one agent, and then stored for another
        if seen.reason == "none":
            known |= {"agent_id": seen.agent_id, "agent_name": seen.agent_name}
        elif seen.previous_agent_id:
            known |= {"agent_id": seen.previous_agent_id}
        self._note(known, durable=False)
        cause = str(self._stored["pending"]["reason"])
        with self._step("test", cause):
            # it has just logged in
            pass
        with self._step("finish", cause):
            self._finish()

    def _finish(self) -> None:
        retire = self.wish.previous_agent != "keep"
        self.ledger.write(finish(self._stored, deliver=self.wish.deliver, retire=retire))

    # What is noted

    def _step(self, action: str, cause: str, agent: t.Any = None) -> t.ContextManager[None]:
        """Note how a step has ended; ``agent`` is another than the one that it logs in as."""
        before = self._stored["pending"]

        def about() -> tuple[t.Any, t.Any]:
            label = self._stored["pending"] or before or {}
            name = label.get("agent_name") or self.seen.agent_name
            return label.get("client_id") or self.seen.client_id, agent or name

        return self._notes.step(action, cause, about)

    def _secrets(self) -> list[str | None]:
        return [*secrets_of(self._stored), self.wish.adopt_secret]

    # What follows

    def _is_outstanding(self) -> bool:
        outstanding = self._stored["outstanding"]
        return bool((outstanding["deliver"] and self.wish.deliver) or outstanding["retire"])

    def _is_refused(self) -> bool:
        """Whether Halo refuses anything that the secret in force is to open; if so, it is an error of the outcome.

        The secret is stored by now, and stays. What was logged in as before is not retired until nothing is refused.
        """
        current = self._stored["current"]
        asked = self.outcome.verified or self._stored["outstanding"]["retire"]
        if not (self.wish.rights and current and asked):
            return False
        try:
            refused = self.halo.rights(current)
            for _attempt in range(1, TEST_ATTEMPTS if self.outcome.rotated or self.seen.changes else 1):
                if not refused:
                    break
                # what Halo accepted may take a moment to count, and what a token opens may stand in it
                self.clock.sleep(TEST_PAUSE)
                self.halo.test(current, whom=False)
                refused = self.halo.rights(current)
        except HaloError as error:
            self.outcome.errors.append(error)
            return True
        if refused:
            self.outcome.errors.append(
                HaloError(
                    f"it logs in, and {'; '.join(refused)}.",
                    hint="Its secret is stored and in force; a previous agent is not retired until nothing is refused. "
                    "Correct scopes, roles or teams, and run again.",
                )
            )
        return bool(refused)

    def _retire(self) -> None:
        """Retire the agents that are outstanding; what fails stays so, and the others are done."""
        in_use = {fold((self._stored["current"] or {}).get("agent_id")), fold(self.seen.agent_id)}
        for item in self._stored["outstanding"]["retire"]:
            agent_id = item["agent_id"]
            try:
                # the user's present word counts, and what is logged in as again is not retired
                if self.wish.previous_agent != "keep" and fold(agent_id) not in in_use:
                    with self._step("retire", self.outcome.reason, agent_id):
                        self.outcome.previous_agent = self.halo.retire(agent_id)
            except Refused as error:
                self.outcome.previous_agent = f"kept: {error.message}"
                self.outcome.warnings.append(f"the previous agent {agent_id} stays as it is: {error.message}")
            except HaloError as error:
                self.outcome.errors.append(error)
                continue
            self.ledger.write(acknowledge(self._stored, retired=item))


def orphans(store: Store, names: t.Iterable[str]) -> list[str]:
    """The bindings that have a secret in the store, in force or pending, and none of these names.

    :raises HaloError: they cannot be listed, or one is not what this store writes
    """
    declared = [*names]
    known = {fold(name) for name in declared}
    found = store.others([*declared, MARKER])
    return sorted(name for name, now in found.items() if is_in_service(now) and fold(name) not in known)


def deliver(store: Store, name: str, made_at: str, *, check_mode: bool = False) -> bool:
    """Note that a secret has been delivered; whether there was anything to note.

    :param made_at: of the secret that was delivered
    :raises TenantBusy: someone else is at work on the tenant
    """
    with contextlib.nullcontext() if check_mode else store.hold():
        ledger = Ledger.read(store, name)
        new = acknowledge(ledger.entry, delivered=made_at)
        changed = new != ledger.entry
        if not check_mode:
            ledger.write(new)
        return changed
