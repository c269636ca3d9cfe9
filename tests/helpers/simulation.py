# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The engine of rotations over look-alikes of its ports: one tenant, one binding, any number of runs that go wrong.

What is simulated is the shipped code; a Halo, a store and a clock in memory take the place of the real ones, and break
what they promise at a call that a schedule names. A schedule is one line, and :func:`replay` plays it again::

    switch_new+disable; 7:late_kill@5; 4:error; -

is the case ``switch_new`` with ``previous_agent: disable``; a first run whose 7th call of a port is sent, carried out
during the 5th call from then on, and never heard of by the run, which is killed; a second one whose 4th call fails;
a third one that nothing happens to. A run that nothing happens to always follows, and after it the judgement.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import marshal
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from ansible_collections.haloops.halo.plugins.module_utils import lifecycle, rotation
from ansible_collections.haloops.halo.plugins.module_utils.errors import (
    AmbiguousWrite,
    HaloError,
    Refused,
    StaleEntry,
    TenantBusy,
)
from ansible_collections.haloops.halo.plugins.module_utils.schedule import Age
from ansible_collections.haloops.halo.plugins.module_utils.trail import Step

NAME = "Ticket integration"
# what the binding was called before
OLD = "Tickets"
TIMEOUT = 30.0
SECOND = 1_000_000
# what is sent is carried out within the time-out, if at all
ON_ITS_WAY = int((TIMEOUT - 1) * SECOND)
# of a Halo that is slow; its answers come within the time-out
SLOW = 27 * SECOND
# a secret that was there before, and that the store does not know
FOREIGN = "foreign"
BEGIN = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)


class Killed(BaseException):
    """The process of the run is gone. No HaloError, and nothing that a port does counts after it."""


class Violation(AssertionError):
    """The engine did what it must never do."""


class Application(NamedTuple):
    identity: str
    client_id: str
    secret: str
    agent_id: str | None
    login_type: str = "agent"
    name: str = NAME


class Kept(NamedTuple):
    """What the store has under one name: the entry, and of it the secrets that are pending, current, previous."""

    content: bytes | None = None
    secrets: tuple[str | None, ...] = (None, None, None)
    version: int = 0

    def entry(self) -> dict[str, Any]:
        return lifecycle.entry(marshal.loads(self.content) if self.content else None)


class Post(NamedTuple):
    """A request to make an agent (``secret`` is None) or to save the application."""

    agent: str
    application: str | None = None
    client_id: str | None = None
    secret: str | None = None
    name: str = NAME


class Late(NamedTuple):
    """A request that is carried out after ``calls`` more calls, or when ``deadline`` has come."""

    post: Post
    calls: int
    deadline: int


@dataclasses.dataclass(frozen=True)
class Flags:
    """What holds for a whole schedule.

    :param retire: the option ``previous_agent``
    :param deliver: the user has tasks in ``on_rotated``
    :param own_secret: Halo makes a secret of its own, whatever was sent
    :param own_id: Halo gives a new application a client ID of its own
    :param slow: each of Halo's answers takes nearly as long as the time-out
    :param verify: the option ``verify``
    :param human: a guard refuses to retire the agents that were there before
    :param trail: an audit trail is kept, and fails as a store does
    :param rights: Halo is asked what the secret opens, and may refuse it
    """

    retire: str = "keep"
    deliver: bool = False
    own_secret: bool = False
    own_id: bool = False
    slow: bool = False
    verify: bool = True
    human: bool = False
    trail: bool = False
    rights: bool = False

    @classmethod
    def parse(cls, words: list[str]) -> Flags:
        known: dict[str, Any] = {"disable": {"retire": "disable"}, "delete": {"retire": "delete"}}
        known |= {"noverify": {"verify": False}}
        switches = ("deliver", "own_secret", "own_id", "slow", "human", "trail", "rights")
        known |= {name: {name: True} for name in switches}
        return cls(**{name: value for word in words for name, value in known[word].items()})


class World:
    """What outlives a run: Halo, the store, the clock, the requests on their way, and the record of what happened.

    ``posted`` counts the secrets that came into force, ``moves`` the changes of the login agent, ``creates`` the
    secrets that were begun, ``finishes`` those that were finished, ``lost`` those that Halo made itself and nobody
    heard of, ``denied`` those in force that were not let in once.
    """

    def __init__(self, flags: Flags) -> None:
        self.flags = flags
        self.time = 0
        self.agents: dict[str, str] = {}
        self.disabled: frozenset[str] = frozenset()
        self.applications: tuple[Application, ...] = ()
        self.kept: dict[str, Kept] = {NAME: Kept()}
        self.held = False
        self.exclusive = True
        self.late: tuple[Late, ...] = ()
        self.numbers = 0
        # a real one: it takes part in each call, and must say what the look-alike says
        self.store: Any = None

        self.posted = self.moves = self.creates = self.finishes = self.lost = self.denied = self.writes = 0
        self.unheard: str | None = None
        self.proven: tuple[str, str | None] | None = None
        self.replaced: frozenset[str] = frozenset()
        self.to_retire: frozenset[str] = frozenset()
        self.to_deliver: str | None = None
        self.delivered: str | None = None

    def fork(self) -> World:
        new = object.__new__(World)
        new.__dict__.update(self.__dict__)
        new.agents = dict(self.agents)
        new.kept = dict(self.kept)
        return new

    # Halo

    def number(self, kind: str) -> str:
        self.numbers += 1
        return f"{kind}{self.numbers}"

    def agent(self, name: str) -> str | None:
        return next((identity for identity, other in self.agents.items() if other == name), None)

    def carry_out(self, post: Post) -> tuple[str, str, str] | str:
        """Do what a request asks for; gives the agent's id, or the application's id, client ID and secret."""
        self.writes += 1
        if post.secret is None:
            if self.agent(post.agent):
                raise Violation(f"a second agent is called {post.agent}")
            identity = self.number("agent-")
            self.agents[identity] = post.agent
            return identity
        secret = self.number("own-") if self.flags.own_secret else post.secret
        application = next((one for one in self.applications if one.identity == post.application), None)
        if application is None:
            if self.applications:
                raise Violation("a second application")
            client_id = self.number("client-") if self.flags.own_id else str(post.client_id)
            application = Application(self.number("application-"), client_id, "", post.agent, name=post.name)
        elif application.agent_id != post.agent:
            self.moves += 1
            if application.agent_id:
                self.replaced |= {application.agent_id}
                self.to_retire |= {application.agent_id}
        if application.secret != secret:
            self.posted += 1
            self.proven = None
            if self.unheard:
                self.lost += 1
            self.unheard = secret if self.flags.own_secret else None
        now = {"secret": secret, "agent_id": post.agent, "login_type": "agent", "name": post.name}
        self.applications = (application._replace(**now),)
        self.check()
        return application.identity, application.client_id, secret

    def arrive(self, calls: int = 0) -> None:
        """Carry out what was on its way and has come: ``calls`` more calls of a port were made."""
        late, self.late = self.late, ()
        for one in late:
            if one.calls <= calls or self.time >= one.deadline:
                self.carry_out(one.post)
            else:
                self.late += (one._replace(calls=one.calls - calls),)

    def elapse(self, duration: int) -> None:
        self.time += duration
        if self.late:
            self.arrive()

    # The store

    def save(self, entry: dict[str, Any], deliver: bool = False, name: str = NAME) -> None:
        (pending, current, previous), version = self.kept.get(name, Kept())[1:]
        secrets = tuple(entry[label] and entry[label]["client_secret"] for label in lifecycle.LABELS)
        # what only gets another name is neither made nor finished
        known = {secret for other, kept in self.kept.items() if other != name for secret in kept.secrets}
        begun, reason = secrets[0], (entry["pending"] or {}).get("reason")
        is_new = begun and begun != pending and begun not in known
        if is_new and reason == "rollback" and begun != previous and not self.flags.own_secret:
            raise Violation("a rollback makes a new secret")
        if begun and begun == previous and reason == "requested":
            raise Violation("an old secret is to be set, and a new one was asked for")
        self.kept[name] = Kept(marshal.dumps(entry), secrets, version + 1)
        self.writes += 1
        if not pending and secrets[0] and secrets[0] not in known:
            self.creates += 1
        new = secrets[1]
        if new and new != current and new not in known:
            if self.proven is None or self.proven[0] != new:
                raise Violation("a secret was finished before it was proven")
            if pending:
                self.finishes += 1
                self.to_deliver = new if deliver else self.to_deliver
        self.check()

    def check(self) -> None:
        """At every instant: the secret in force is in the store, if it is one of the engine's.

        The one exception is a secret that Halo made itself, until the engine has heard of it.
        """
        for one in self.applications:
            if any(one.secret in kept.secrets for kept in self.kept.values()):
                if self.unheard == one.secret:
                    self.unheard = None
            elif one.secret != self.unheard and one.secret != FOREIGN:
                raise Violation("the secret in force is not in the store")

    def key(self) -> Any:
        """All that what follows depends on, with names and times that only differ by chance made the same."""
        names: dict[Any, int] = {}

        def number(name: Any) -> Any:
            return names.setdefault(name, len(names)) if name else name

        entries = {name: self.kept[name].entry() for name in sorted(self.kept)}
        times = [""]
        for entry in entries.values():
            times += [entry[name]["made_at"] for name in lifecycle.LABELS if entry[name]]
            times += [item["made_at"] for item in entry["outstanding"]["retire"]]
            times.append(entry["outstanding"]["deliver"] or "")
        rank = {made_at: place for place, made_at in enumerate(sorted(set(times)))}
        stored = tuple(
            label
            and (
                number(label["client_id"]),
                number(label["client_secret"]),
                number(label["application_id"]),
                number(label["agent_id"]),
                label["agent_name"],
                label["reason"],
                tuple(map(number, label["replaces"] or ())),
                label["in_flight"] and round(self._age(label["made_at"])),
                self._age(label["made_at"]) > 86400,
                rank[label["made_at"]],
            )
            for entry in entries.values()
            for label in map(entry.get, lifecycle.LABELS)
        )
        outstanding = [entry["outstanding"] for entry in entries.values()]
        return (
            stored,
            tuple(
                tuple((number(item["agent_id"]), rank[item["made_at"]]) for item in o["retire"]) for o in outstanding
            ),
            tuple(rank[one["deliver"] or ""] for one in outstanding),
            tuple((name, entry["origin"], entry["renamed_to"]) for name, entry in entries.items()),
            tuple((number(identity), name, identity in self.disabled) for identity, name in self.agents.items()),
            tuple(
                (
                    number(one.identity),
                    number(one.client_id),
                    number(one.secret),
                    number(one.agent_id),
                    one.login_type,
                    one.name,
                )
                for one in self.applications
            ),
            tuple(
                (
                    number(one.post.agent),
                    number(one.post.application),
                    number(one.post.client_id),
                    number(one.post.secret),
                    one.post.name,
                    one.calls,
                    round((one.deadline - self.time) / SECOND),
                )
                for one in self.late
            ),
            (self.posted, self.moves, self.creates, self.finishes, self.lost, self.denied, number(self.unheard)),
            self.proven and tuple(map(number, self.proven)),
            tuple(sorted(map(number, sorted(self.replaced)))),
            tuple(sorted(map(number, sorted(self.to_retire)))),
            (number(self.to_deliver), number(self.delivered)),
        )

    def _age(self, made_at: str) -> float:
        return (self.now() - datetime.datetime.fromisoformat(made_at)).total_seconds()

    def now(self) -> datetime.datetime:
        return BEGIN + datetime.timedelta(microseconds=self.time)


@dataclasses.dataclass(frozen=True)
class Fault:
    """What becomes of the ``call``-th call of a run, counted from 1.

    ``kill``: the run is killed before it. ``error``: it is not carried out, and the run hears of an error. ``lost``: it
    is carried out, and the run hears of an error. ``refused``: Halo, or a guard, says a definite no. ``broken``: it is
    carried out and answered, and what follows it within the same call fails. ``deny``: a pending secret is not let in
    this once. ``forbid``: what the secret is to open is refused this once. ``late``: it is carried out ``after`` that
    many more calls, and the run's time-out is over before that. ``late_kill``: the same, and the run is killed instead.
    For a read ``error`` and ``lost`` are one; what a call cannot meet with does not happen to it.
    """

    call: int
    kind: str
    after: int = 0

    @classmethod
    def parse(cls, text: str) -> Fault:
        call, kind = text.strip().split(":")
        kind, _at, after = kind.partition("@")
        return cls(int(call), kind, int(after or 0))

    def __str__(self) -> str:
        return f"{self.call}:{self.kind}" + (f"@{self.after}" if self.after else "")


READ = ("kill", "error")
WRITE = ("kill", "error", "lost")
CREATE = ("kill", "error", "lost", "refused", "late", "late_kill")
SET = ("kill", "error", "lost", "refused", "broken", "late", "late_kill")


class Run:
    """One run: its side of the four ports, with every call counted.

    :param agent: the name of the agent that the binding shall log in as
    :param renamed_from: what the binding was called before
    :param turn: called before each call, so that another run can go on meanwhile
    """

    def __init__(
        self,
        world: World,
        wish: rotation.Wish,
        agent: str,
        faults: tuple[Fault, ...] = (),
        turn: Callable[[], None] | None = None,
        renamed_from: str | None = None,
    ) -> None:
        self.world = world
        self.wish = wish
        self.name = wish.name
        self.renamed_from = renamed_from
        self.agent = agent
        self.faults = {fault.call: fault for fault in faults}
        self.turn = turn
        self.trace: list[tuple[str, tuple[str, ...]]] = []
        self.result = ""
        self.error: HaloError | None = None
        self.rotated = False
        self.killed = False
        self.lines: list[tuple[str, str, bool]] = []
        self.checked = False
        # the secret that opens all that it is to open
        self.opens: str | None = None
        # the calls that a fault has befallen
        self.met: list[str] = []

    def go(self) -> Run:
        """As the module and the role do it: converge, and then the user's tasks where something is outstanding."""
        try:
            self._go()
        except TenantBusy as error:
            self.result, self.error = "busy", error
        except HaloError as error:
            self.result, self.error = "error", error
        except Killed:
            self.result = "killed"
        else:
            self.result = "ok"
        return self

    def _go(self) -> None:
        failed: HaloError | None = None
        renamed = {self.name: self.renamed_from} if self.renamed_from else {}
        with rotation.alone(self, [self.name], timeout=TIMEOUT, clock=self, renamed=renamed) as ledgers:
            ledger = ledgers[self.name]
            if isinstance(ledger, HaloError):
                raise ledger
            self.known = [label for label in map(ledger.entry.get, ("pending", "current")) if label]
            work = rotation.Work(ledger, self, self.wish, self, self if self.world.flags.trail else None)
            try:
                work.consider()
                work.carry_out(check_mode=False)
            except HaloError as error:
                failed = error
            if work.outcome.errors:
                failed = failed or work.outcome.errors[0]
            self.rotated = work.outcome.rotated
            # what is not moved yet cannot be read by its name
            made_at = None if ledger.old else ledger.entry["outstanding"]["deliver"]
        if made_at and self.wish.deliver and (not failed or self.rotated):
            self._push(made_at)
        if failed:
            raise failed

    def _push(self, made_at: str) -> None:
        kind = self._call("push", WRITE)
        if kind != "error":
            self.world.delivered = self.world.kept[self.name].secrets[1]
        if kind:
            raise HaloError("the task of the user failed.")
        rotation.deliver(self, self.name, made_at)

    def _call(self, name: str, kinds: tuple[str, ...], *, duration: int = 0) -> str:
        """Begin a call of a port; gives what is to become of it, nothing if all is well."""
        if self.killed:
            # what a handler would still do, a killed process does not
            raise Killed
        if self.turn:
            self.turn()
        self.trace.append((name, kinds))
        world = self.world
        world.time += 1
        if duration:
            world.elapse(duration)
        if world.late:
            world.arrive(1)
        fault = self.faults.get(len(self.trace))
        if fault is None or fault.kind not in kinds:
            return ""
        self.met.append(name)
        if fault.kind == "kill":
            self.killed = True
            raise Killed
        return fault.kind

    def _request(self, name: str, kinds: tuple[str, ...]) -> str:
        return self._call(name, kinds, duration=SLOW if self.world.flags.slow else 0)

    def _send(self, kind: str, post: Post) -> tuple[str, str, str] | str:
        """Send a request that may make something twice."""
        world = self.world
        if kind == "refused":
            raise HaloError("Halo said no.")
        if kind == "error":
            raise AmbiguousWrite("no answer.")
        if kind in ("late", "late_kill"):
            after = self.faults[len(self.trace)].after
            world.late += (Late(post, after, world.time + ON_ITS_WAY),)
            if kind == "late":
                raise AmbiguousWrite("no answer within the time-out.", late=True)
            self.killed = True
            raise Killed
        done = world.carry_out(post)
        if kind == "lost":
            raise AmbiguousWrite("no answer.")
        return done

    # The port Store

    def read(self, name: str) -> tuple[dict[str, Any], Any]:
        if self._call("read", READ):
            raise HaloError("the store cannot be read.")
        kept = self.world.kept.get(name, Kept())
        if self.world.store:
            entry, version = self.world.store.read(name)
            _must(_unnamed(entry) == _unnamed(kept.entry()), "the store gives another entry than it got")
            return entry, version
        return kept.entry(), kept.version

    def write(self, name: str, entry: dict[str, Any], version: Any) -> Any:
        kind = self._call("write", WRITE)
        if not self.world.store and version != self.world.kept.get(name, Kept()).version:
            raise StaleEntry("someone else wrote.")
        if kind != "error":
            if self.world.store:
                version = self.world.store.write(name, entry, version)
            self.world.save(entry, self.wish.deliver, name)
        if kind:
            raise HaloError("the store did not answer.")
        return version if self.world.store else self.world.kept[name].version

    def names(self) -> list[str]:
        if self.world.store:
            return list(self.world.store.names())
        return [*self.world.kept]

    def others(self, names: Iterable[str]) -> dict[str, dict[str, Any]]:
        if self.world.store:
            return dict(self.world.store.others(names))
        return {name: kept.entry() for name, kept in self.world.kept.items() if name not in names}

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        if self._call("hold", READ):
            raise HaloError("the lock cannot be had.")
        world = self.world
        if not world.store and world.exclusive and world.held:
            raise TenantBusy("someone else is at work.")
        try:
            with world.store.hold() if world.store else contextlib.nullcontext():
                world.held = True
                yield
        finally:
            # the kernel's doing, also where the process was killed
            world.held = False

    # The port Halo

    def look(self) -> rotation.Seen:
        if self._request("look", READ):
            raise HaloError("Halo cannot be read.")
        world = self.world
        if len(world.applications) > 1:
            raise Violation("two applications of one name")
        self.planned = self._find()
        self.agent_id = world.agent(self.agent)
        was = self.planned and self.planned.agent_id
        reason = "none"
        if self.planned is None:
            reason = "created"
        elif self.planned.login_type != "agent":
            reason = "login_type_changed"
        elif self.agent_id is None or was != self.agent_id:
            reason = "agent_changed"
        self.renames = reason == "none" and self.planned is not None and self.planned.name != self.name
        return rotation.Seen(
            reason=reason,
            exists=self.planned is not None,
            new_agent=self.agent_id is None,
            agent_id=self.agent_id,
            agent_name=self.agent,
            application_id=self.planned and self.planned.identity,
            client_id=self.planned and self.planned.client_id,
            scope="read:tickets",
            previous_agent_id=was if was != self.agent_id else None,
            untestable=self.agent_id in world.disabled,
            changes=self.agent_id in world.disabled,
        )

    def _find(self) -> Application | None:
        """The one of the name; what had another name is known by its ids first."""
        for one in self.world.applications:
            ids = {identity for label in self.known for identity in (label["application_id"], label["client_id"])}
            is_known = not ids.isdisjoint((one.identity, one.client_id)) or one.name == self.renamed_from
            if one.name == self.name or (self.renamed_from and is_known):
                return one
        return None

    def allow(self, reason: str) -> None:
        if self._request("allow", READ):
            raise HaloError("the guard could not be asked.")

    def prepare(self) -> Any:
        world = self.world
        if self.agent_id is None:
            kind = self._request("prepare", CREATE)
            self.agent_id = str(self._send(kind, Post(self.agent)))
            return self.agent_id
        kind = self._request("prepare", WRITE if self.renames or self.agent_id in world.disabled else READ)
        if kind != "error" and self.agent_id in world.disabled:
            world.disabled -= {self.agent_id}
            world.writes += 1
        if kind != "error" and self.renames:
            world.applications = tuple(one._replace(name=self.name) for one in world.applications)
            world.writes += 1
        if kind:
            raise AmbiguousWrite("no answer.")
        return self.agent_id

    def set(self, label: dict[str, Any], answered: Callable[[dict[str, Any]], None]) -> None:
        kind = self._request("set", SET)
        agent_id = str(self.agent_id)
        if label["agent_id"] != agent_id:
            raise Violation(f"the label is of {label['agent_id']}, the request of {agent_id}")
        planned = self.planned and self.planned.identity
        done = self._send(kind, Post(agent_id, planned, label["client_id"], label["client_secret"], self.name))
        identity, client_id, secret = done
        answered({"client_id": client_id, "client_secret": secret, "application_id": identity})
        if self.world.unheard:
            raise Violation("a secret that Halo made was not stored at once")
        if kind == "broken":
            raise HaloError("the application cannot be read back.")
        answered({"application_id": identity, "client_id": client_id})

    def test(self, label: dict[str, Any], *, whom: bool) -> rotation.Proof:
        world = self.world
        # where Halo makes the secrets, a second POST makes another: one that is denied would be one that is lost
        pending = world.kept[self.name].secrets[0]
        denied = pending == label["client_secret"] and not world.flags.own_secret
        kind = self._request("test", (*READ, "deny") if denied else READ)
        if kind == "deny":
            world.denied += any(one.secret == label["client_secret"] for one in world.applications)
            return rotation.Proof(False, reason="not yet")
        if kind:
            raise HaloError("Halo cannot be asked.")
        client_id = self.planned.client_id if self.planned else label["client_id"]
        for one in world.applications:
            if (one.client_id, one.secret) == (client_id, label["client_secret"]) and one.login_type == "agent":
                if one.agent_id in world.disabled or one.agent_id not in world.agents:
                    return rotation.Proof(False, reason="the agent is disabled")
                world.proven = (one.secret, one.agent_id)
                return rotation.Proof(True, one.agent_id if whom else None)
        return rotation.Proof(False, reason="invalid_client")

    def rights(self, label: dict[str, Any]) -> list[str]:
        kind = self._request("rights", (*READ, "forbid"))
        if label["client_secret"] != self.world.kept[self.name].secrets[1]:
            raise Violation("what a secret opens is asked before it is stored as the one in force")
        self.opens = None if kind else label["client_secret"]
        if kind == "forbid":
            return ["read tickets is refused"]
        if kind:
            raise HaloError("Halo cannot be asked.")
        return []

    def retire(self, agent_id: Any) -> str:
        world = self.world
        kind = self._request("retire", WRITE)
        if world.flags.rights and self.opens != world.kept[self.name].secrets[1]:
            raise Violation("an agent is to be retired while something is refused to its successor")
        for one in world.applications:
            if one.agent_id == agent_id:
                raise Violation("an agent is to be retired that the application logs in as")
            if world.proven != (one.secret, one.agent_id):
                raise Violation("an agent is to be retired before its successor is proven")
        if self.wish.previous_agent == "keep" or agent_id not in world.replaced:
            raise Violation(f"{agent_id} is to be retired, and nobody asked for it")
        if kind != "error":
            world.to_retire -= {agent_id}
            if world.flags.human and agent_id == "agent-1":
                raise Refused("a human agent stays.")
            world.writes += 1
            if self.wish.previous_agent == "delete":
                world.agents.pop(agent_id, None)
                world.disabled -= {agent_id}
            elif agent_id in world.agents:
                world.disabled |= {agent_id}
        if kind:
            raise HaloError("no answer.")
        return "retired"

    # The port Trail

    def check(self) -> None:
        if not self.checked:
            if self._call("check", READ):
                if any("lost" in kinds for _name, kinds in self.trace):
                    raise Violation("something was changed before the trail was looked at")
                raise HaloError("the trail cannot be kept.")
            self.checked = True

    def note(self, step: Step) -> None:
        if not self.checked:
            raise Violation("a line is written before anything says that it can be")
        self.lines.append((step.action, step.cause, step.outcome == "ok"))
        if self._call("note", WRITE):
            raise HaloError("the line could not be written.")

    # The port Clock

    def now(self) -> datetime.datetime:
        self.world.time += 1
        return self.world.now()

    def sleep(self, seconds: float) -> None:
        self._call("sleep", ("kill",))
        self.world.elapse(int(seconds * SECOND) + 1)


# The cases


@dataclasses.dataclass(frozen=True)
class Case:
    """Why a secret is to be made.

    :param before: makes the world as it is in the beginning
    :param agents: whom the binding shall log in as, in the first run, the second and so on; the last one stays
    :param names: what the binding is called, in the same way; ``old`` is its ``renamed_from``
    :param wish: options in every run; ``first``: in the first run alone, ``faulty``: in all but the one that follows
    :param least: how many secrets have come into force in the end, at least; one that was denied serves twice
    :param most: how many causes there were for one
    """

    before: Callable[[World], None]
    agents: tuple[str, ...] = ("ann",)
    wish: dict[str, Any] = dataclasses.field(default_factory=dict)
    first: dict[str, Any] = dataclasses.field(default_factory=dict)
    faulty: dict[str, Any] = dataclasses.field(default_factory=dict)
    least: int = 1
    most: Callable[[World], int] = lambda world: 1
    names: tuple[str, ...] = (NAME,)
    old: tuple[str | None, ...] = (None,)

    def run(self, world: World, number: int, faults: tuple[Fault, ...] | None = (), **how: Any) -> Run:
        """The run of this number; ``faults`` is None for the one that follows."""
        flags = world.flags
        wish = {"previous_agent": flags.retire, "deliver": flags.deliver, "verify": flags.verify}
        wish |= {"rights": flags.rights, **self.wish}
        wish |= (self.first if number == 0 and faults is not None else {}) | (self.faulty if faults is not None else {})
        agent, name, old = (each[min(number, len(each) - 1)] for each in (self.agents, self.names, self.old))
        return Run(world, rotation.Wish(str(name), **wish), str(agent), faults or (), renamed_from=old, **how)


def _label(world: World, secret: str, agent: str, *, days: float = 1, **more: Any) -> dict[str, Any]:
    one = world.applications[0] if world.applications else None
    return {
        **dict.fromkeys(lifecycle.LABEL_KEYS),
        "client_id": one and one.client_id,
        "client_secret": secret,
        "application_id": one and one.identity,
        "agent_id": world.agent(agent),
        "agent_name": agent,
        "scope": "read:tickets",
        "made_at": (BEGIN - days * DAY).isoformat(timespec="microseconds"),
        "reason": "created",
        "in_flight": False,
        **more,
    }


def _store(world: World, **labels: Any) -> None:
    world.save(lifecycle.entry({**labels, "origin": "created", "attempt": 1}))
    world.creates = world.finishes = world.writes = 0


def _agents(world: World, *names: str) -> None:
    for name in names:
        world.agents[world.number("agent-")] = name


def _nothing(world: World) -> None:
    """Halo has neither agent nor application."""


def _only_agents(world: World) -> None:
    _agents(world, "ann")


def _foreign(world: World) -> None:
    """An application that the store knows nothing of."""
    _agents(world, "ann", "ben", "cas")
    world.applications = (Application("application-1", "client-1", FOREIGN, "agent-1"),)


def _application(world: World, **more: Any) -> None:
    world.applications = (world.applications[0]._replace(**more),)


def _converged(world: World, *, days: float = 1) -> None:
    """All is as it shall be, for the agent ann."""
    _foreign(world)
    world.proven = ("first", "agent-1")
    _store(world, current=_label(world, "first", "ann", days=days))
    _application(world, secret="first")


def _only_ann(world: World) -> None:
    _converged(world)
    world.agents = {"agent-1": "ann"}


def _old(world: World) -> None:
    _converged(world, days=100)


def _invalid(world: World) -> None:
    _converged(world)
    _application(world, secret=FOREIGN)


def _other_login_type(world: World) -> None:
    _converged(world)
    _application(world, login_type="user", agent_id=None)


def _renamed(world: World) -> None:
    """All is as it shall be, by the name that the binding had before."""
    _converged(world)
    _rename(world)


def _rename(world: World) -> None:
    world.kept = {OLD: world.kept[NAME]}
    _application(world, name=OLD)


def _renamed_left_in_force(world: World) -> None:
    _left_in_force(world)
    _rename(world)


def _left_unsent(world: World) -> None:
    """A run was killed before its secret for ben was sent, just now."""
    _converged(world)
    pending = _label(world, "second", "ben", days=0, reason="agent_changed", replaces=["agent-1"], in_flight=True)
    _store(world, current=_label(world, "first", "ann"), pending=pending)


def _left_in_force(world: World) -> None:
    """A run was killed after its secret for ben had come into force."""
    _left_unsent(world)
    _application(world, secret="second", agent_id="agent-2")
    world.replaced = world.to_retire = frozenset({"agent-1"})


def _rotated(world: World) -> None:
    """All is as it shall be, and there is a secret from before."""
    _converged(world)
    previous = _label(world, "zeroth", "ben", days=2)
    _store(world, current=_label(world, "first", "ann"), previous=previous)


def _to_retire(world: World) -> None:
    """ben has taken over from ann, who has yet to be retired, and someone has bound the application to her again."""
    _converged(world)
    outstanding = {"deliver": None, "retire": [{"agent_id": "agent-1", "made_at": BEGIN.isoformat()}]}
    world.proven = ("second", "agent-2")
    _store(
        world, current=_label(world, "second", "ben"), previous=_label(world, "first", "ann"), outstanding=outstanding
    )
    world.replaced = world.to_retire = frozenset({"agent-1"})
    _application(world, secret=FOREIGN)
    world.proven = None


def _moves(world: World) -> int:
    """One secret for each change of the login agent, or for one that was given up after it had begun."""
    return max(1, world.moves)


CASES = {
    "created": Case(_only_agents),
    "created_new": Case(_nothing),
    "switch": Case(_converged, ("ben",)),
    "switch_new": Case(_only_ann, ("ben",)),
    # asked for once: what was begun is finished, and nothing else is done
    "requested": Case(_converged, first={"requested": True}, least=0),
    "requested_again": Case(_converged, faulty={"requested": True}, least=0, most=lambda world: world.finishes),
    "expired": Case(_old, wish={"age": Age(90)}),
    "missing": Case(_foreign, wish={"adopt": "rotate"}),
    "missing_switch": Case(_foreign, ("ben",)),
    "proven": Case(_foreign, wish={"adopt": "proven", "adopt_secret": FOREIGN}, least=0, most=lambda world: 0),
    "proven_switch": Case(_foreign, ("ben",), wish={"adopt": "proven", "adopt_secret": FOREIGN}),
    "invalid": Case(_invalid),
    "login_type": Case(_other_login_type),
    "left_in_force": Case(_left_in_force, ("ben",), least=0, most=lambda world: 0),
    "left_in_force_requested": Case(_left_in_force, ("ben",), first={"requested": True}, least=0, most=lambda world: 0),
    "left_in_force_switch": Case(_left_in_force, ("cas",)),
    "left_unsent": Case(_left_unsent, ("ben",)),
    "left_unsent_switch": Case(_left_unsent, ("cas",)),
    # what was begun starts over, although nothing calls for it any more
    "left_unsent_back": Case(_left_unsent, ("ann",)),
    "chain": Case(_converged, ("ben", "cas"), most=_moves),
    "chain_new": Case(_only_ann, ("ben", "cas"), most=_moves),
    "chain_later": Case(_converged, ("ben", "ben", "cas"), most=_moves),
    "back": Case(_converged, ("ben", "ann"), least=0, most=_moves),
    "back_new": Case(_only_ann, ("ben", "ann"), least=0, most=_moves),
    "back_later": Case(_converged, ("ben", "ben", "ann"), least=0, most=_moves),
    "there_and_back": Case(_converged, ("ben", "ann", "ben"), least=0, most=lambda world: world.moves + 1),
    "to_retire": Case(_to_retire, ("ann",)),
    # asked for once: what was begun is finished, and nothing is rolled back twice
    "rollback": Case(_rotated, first={"rollback": True}, least=0),
    "rollback_again": Case(_rotated, faulty={"rollback": True}, least=0, most=lambda world: world.finishes),
    # one that takes a change of the agent along
    "rollback_switch": Case(_rotated, ("ben",), faulty={"rollback": True}, most=lambda world: max(1, world.finishes)),
    # and one that a rotation follows: what was begun is finished, and then there is a new secret
    "rollback_requested": Case(
        _rotated, first={"rollback": True}, faulty={"requested": True}, least=0, most=lambda world: world.finishes
    ),
    # a new name makes no new secret
    "renamed": Case(_renamed, old=(OLD,), least=0, most=lambda world: 0),
    "renamed_switch": Case(_renamed, ("ben",), old=(OLD,)),
    "renamed_left_in_force": Case(_renamed_left_in_force, ("ben",), old=(OLD,), least=0, most=lambda world: 0),
    "renamed_created_new": Case(_nothing, names=(OLD, NAME), old=(None, OLD)),
    "renamed_chain": Case(_renamed, ("ben", "cas"), names=(OLD, NAME), old=(None, OLD), most=_moves),
    "renamed_back": Case(_renamed, names=(NAME, OLD), old=(OLD, NAME), least=0, most=lambda world: 0),
}


def begin(line: str) -> tuple[Case, World]:
    """A case and its world from their names, such as ``switch+disable+deliver``."""
    name, *flags = line.strip().split("+")
    case, world = CASES[name], World(Flags.parse(flags))
    case.before(world)
    return case, world


# The judgement


def _must(holds: Any, otherwise: str) -> None:
    if not holds:
        raise Violation(otherwise)


def conclude(case: Case, world: World, number: int) -> None:
    """A run that nothing happens to, the judgement over what it leaves, and a run that finds nothing to do.

    :raises Violation: something is not as it shall be
    """
    finishes = world.finishes
    run = case.run(world, number, None).go()
    _must(run.result == "ok", f"a run that nothing happened to failed: {run.error}")
    read(run, world.finishes - finishes)
    judge(case, world, run)
    writes = world.writes
    run = case.run(world, number, None).go()
    _must(run.result == "ok" and world.writes == writes and not run.rotated, "a further run found something to do")
    _must(not run.lines, "a further run found something to note")


_WHOLE = re.compile(r"(move )?(adopt )?(test finish )?((create|rollback) set test finish ){0,2}(retire!? )*")
_BEGUN = re.compile(
    r"(move!? )?(adopt!? )?(test (finish!? )?)?((create|rollback)!? (set!? (test!? (finish!? )?)?)?){0,2}(retire!? )*"
)


def _unnamed(entry: dict[str, Any]) -> dict[str, Any]:
    """Without whose it is, which a real store notes by itself."""
    return {**entry, "instance": None, "binding": None}


def read(run: Run, finishes: int | None = None) -> None:
    """Judge the audit trail of a run: the lines of each rotation, in order; of one that was broken off, the beginning.

    :param finishes: how many secrets a run that nothing happened to has finished
    """
    if not run.world.flags.trail:
        return
    lines = "".join(f"{action}{'' if ok else '!'} " for action, _cause, ok in run.lines)
    whole = finishes is not None
    _must((_WHOLE if whole else _BEGUN).fullmatch(lines), f"the trail says {lines}")
    _must(
        not whole or lines.count("finish ") == finishes, f"{finishes} secrets were finished, and the trail says {lines}"
    )
    _must(run.result != "error" or {*run.met} != {"note"}, "a line that could not be written has ended the run")
    went_on = re.search(r"(move|create|rollback|set|test|finish)! .", lines)
    _must(not went_on, f"it went on after it had failed: {lines}")


def judge(case: Case, world: World, run: Run) -> None:
    entry, flags = world.kept[run.name].entry(), world.flags
    current = entry["current"]
    _must(not world.late, "a request is still on its way")
    _must(len(world.applications) == 1, "there is no application")
    one = world.applications[0]
    _must(one.name == run.name, "the application has another name")
    others = [kept.secrets for name, kept in world.kept.items() if name != run.name]
    _must(not any(any(secrets) for secrets in others), "the store still has secrets under another name")
    _must(world.agents[str(one.agent_id)] == run.agent, "it logs in as another agent")
    _must(one.agent_id not in world.disabled, "it logs in as a disabled agent")
    _must(entry["pending"] is None, "a secret is still pending")
    _must(current["client_secret"] == one.secret, "what is current is not in force")
    in_halo = (one.identity, one.client_id, one.agent_id)
    _must((current["application_id"], current["client_id"], current["agent_id"]) == in_halo, "current has other ids")
    _must(current["agent_name"] == run.agent, "current has the name of another agent")
    _must(not current["in_flight"] and not current["replaces"], "current is not cleared")
    _must(entry["outstanding"] == {"deliver": None, "retire": []}, "something is still outstanding")
    made, least, most = world.posted - world.lost, case.least - world.denied, case.most(world)
    # without a lock what was looked at may have changed since: one secret more, and still none lost
    most += not world.exclusive
    _must(least <= made <= most, f"{made} secrets came into force instead of {least} to {most}")
    _must(not world.to_deliver or world.delivered == one.secret, "the secret was not delivered")
    if flags.retire != "keep":
        _must(world.to_retire <= {one.agent_id}, "an agent was forgotten")


# Schedules


def step(case: Case, world: World, number: int, faults: tuple[Fault, ...]) -> Run:
    """One run with what happens to it, and the second until the next one begins."""
    run = case.run(world, number, faults).go()
    read(run)
    world.elapse(SECOND)
    return run


def replay(line: str, store: Any = None) -> None:
    """Play a schedule and print what happens.

    :param store: a real one, without entries, which is to behave as the look-alike does
    :raises Violation: it ends as it must not
    """
    head, *texts = line.split(";")
    if any("/" in text for text in texts):
        interleave(line, show=True)
        return
    case, world = begin(head)
    if store:
        world.store = store
        for name, kept in world.kept.items():
            if kept.content:
                store.write(name, kept.entry(), store.read(name)[1])
    for number, text in enumerate(texts):
        faults = tuple(Fault.parse(one) for one in text.split(",") if one.strip() != "-")
        run = case.run(world, number, faults)
        try:
            run.go()
            read(run)
        finally:
            calls = " ".join(f"{place}:{name}" for place, (name, _kinds) in enumerate(run.trace, 1))
            print(f"run {number + 1}: {calls} -> {run.result or 'violation'} {run.error or ''}")
        world.elapse(SECOND)
    conclude(case, world, len(texts))
    if store:
        kept = {name: _unnamed(one.entry()) for name, one in world.kept.items() if one.content}
        found = {name: _unnamed(entry) for name, entry in store.others(()).items()}
        _must(found == kept, "the store lists other entries than it got")


def faults_of(trace: list[tuple[str, tuple[str, ...]]], afters: tuple[int, ...], begin: int = 1) -> Iterator[Fault]:
    """Everything that can happen to a run with these calls, from call ``begin`` on."""
    for call, (_name, kinds) in enumerate(trace, 1):
        if call < begin:
            continue
        for kind in kinds:
            if kind.startswith("late"):
                yield from (Fault(call, kind, after) for after in afters)
            else:
                yield Fault(call, kind)


@dataclasses.dataclass
class Explored:
    """How many schedules were played to their end, and how many they stand for.

    Two schedules that lead to the same world are one from there on: of each world every continuation is played once.
    """

    played: int = 0
    covered: int = 0

    def add(self, other: Explored) -> None:
        self.played += other.played
        self.covered += other.covered


class _Way(NamedTuple):
    """A world, one schedule that leads there, and how many do."""

    world: World
    line: str
    ways: int


def explore(head: str, afters: tuple[tuple[int, ...], ...], *, double: bool = True) -> Explored:
    """Every schedule of a case: one run for each item of ``afters``, with everything that can happen to it.

    :param afters: for each run, after how many calls a request may arrive late
    :param double: also what can happen to a run after it has got over a first fault
    :raises Violation: with the schedule, to be replayed
    """
    case, world = begin(head)
    done = Explored()
    worlds = [_Way(world, head, 1)]
    for number, late in enumerate(afters):
        after: dict[Any, _Way] = {}
        for way in worlds:
            played = _branches(case, way, number, late, double, after)
            done.played += played
            done.covered += played * way.ways
        worlds = list(after.values())
    return done


def _branches(case: Case, way: _Way, number: int, late: tuple[int, ...], double: bool, after: dict[Any, _Way]) -> int:
    """Play everything that can happen to the next run; gives how much that was."""
    played = 1
    for fault in faults_of(_play(case, way, number, (), after).trace, late):
        run = _play(case, way, number, (fault,), after)
        played += 1
        if double and run.result != "killed":
            for second in faults_of(run.trace, late[:1], fault.call + 1):
                _play(case, way, number, (fault, second), after)
                played += 1
    return played


def _play(case: Case, way: _Way, number: int, faults: tuple[Fault, ...], after: dict[Any, _Way]) -> Run:
    """One schedule to its end, of which no more is played than what was not played before."""
    line = f"{way.line}; {','.join(map(str, faults)) or '-'}"
    world = way.world.fork()
    try:
        run = step(case, world, number, faults)
        key = world.key()
        if key not in after:
            conclude(case, world.fork(), number + 1)
            after[key] = _Way(world, line, 0)
    except Violation as violation:
        raise Violation(f'{violation}: replay("{line}")') from violation
    after[key] = after[key]._replace(ways=after[key].ways + way.ways)
    return run


# Two runs at once


class _Turns:
    """Lets one of two threads go on at a time: each for as many calls as the schedule says, then the other."""

    def __init__(self, turns: tuple[int, ...]) -> None:
        self.turns = list(turns)
        self.gates = (threading.Semaphore(0), threading.Semaphore(0))
        self.ended = False

    def before_call(self, who: int) -> None:
        while self.turns and not self.turns[0]:
            self.turns.pop(0)
            if not self.ended:
                self.gates[1 - who].release()
                self.gates[who].acquire()
        if self.turns:
            self.turns[0] -= 1

    def end(self, who: int) -> None:
        self.turns.clear()
        self.ended = True
        self.gates[1 - who].release()


def interleave(line: str, *, show: bool = False) -> tuple[Run, Run]:
    """Two runs of a case at once, and the judgement: ``case; faults of one / faults of the other; turns``.

    The turns are numbers of calls, such as ``5 3``: five of the first, then three of the second, then the first to its
    end, then the second. ``unlocked`` behind them stands for a store whose lock does not exclude.

    :raises Violation: with the schedule
    """
    head, texts, turns = line.split(";")
    case, world = begin(head)
    numbers = turns.split()
    world.exclusive = "unlocked" not in numbers
    order = _Turns(tuple(int(number) for number in numbers if number != "unlocked"))
    runs: list[Run] = []
    for number, text in enumerate(texts.split("/")):
        faults = tuple(Fault.parse(one) for one in text.split(",") if one.strip() != "-")
        runs.append(case.run(world, number, faults, turn=lambda who=number: order.before_call(who)))
    failed: list[BaseException] = []

    def work(who: int) -> None:
        if who:
            order.gates[1].acquire()
        try:
            runs[who].go()
        except BaseException as error:
            failed.append(error)
        finally:
            order.end(who)

    other = threading.Thread(target=work, args=(1,), daemon=True)
    other.start()
    work(0)
    other.join()
    if show:
        for number, run in enumerate(runs, 1):
            calls = " ".join(f"{place}:{name}" for place, (name, _kinds) in enumerate(run.trace, 1))
            print(f"run {number}: {calls} -> {run.result or 'violation'} {run.error or ''}")
    try:
        if failed:
            raise failed[0]
        for run in runs:
            called = [name for name, _kinds in run.trace]
            _must(run.result != "busy" or called == ["hold"] or "push" in called, "a run that was shut out went on")
        world.elapse(SECOND)
        conclude(case, world, 2)
    except Violation as violation:
        raise Violation(f'{violation}: replay("{line}")') from violation
    return runs[0], runs[1]
