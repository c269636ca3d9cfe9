# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the stores share that several controllers write to: whole entries by check-and-set, and the claim on a tenant.

A claim is what a kernel's lock is on a folder. It lies in the store, beside the tenant's entries, and says who holds
the tenant and until when::

    {tenant, holder: {id, host, pid} or None, since, until: UTC in ISO 8601, end: true}

It is written by the store's own check-and-set, so that of two one gets it; it is extended while the work lasts; and it
is taken over only once its time is up. Whoever could not extend it writes nothing from a while before that time on.
"""

from __future__ import annotations

import contextlib
import datetime
import importlib
import os
import shlex
import sys
import threading
import time
import typing as t
import uuid

from ...module_utils.errors import HaloError, StaleEntry, TenantBusy, one_line, redact
from ...module_utils.lifecycle import LABELS, Entry, entry
from ..action import plain
from . import Place
from ._files import _is_whole, _same, safe

Value = dict[str, t.Any]
Version = t.Any

# The key of a tenant's claim. `safe` makes no key that begins with a full stop.
CLAIM = ".claim"
# What suspends the machine counts as well, where the system can tell.
_ELAPSED = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class NoAnswer(HaloError):
    """The store did not answer: what it was asked to do may or may not have been done."""


def stale() -> StaleEntry:
    return StaleEntry(
        "its stored entry was changed by someone else since it was read.", hint="Nothing was written. Run again."
    )


class SharedStore:
    """Entries that are written by check-and-set. A store adds ``_get``, ``_put``, ``_list`` and ``_where``.

    Times are the server's where it says them (:meth:`_hear`). Elsewhere the clocks of the controllers are taken to
    differ by less than a minute: that long, and longer, a claim still has to go when it is extended.

    :raises HaloError: an option is wrong, or the store can be known not to work
    """

    name: t.ClassVar[str]
    claim_seconds: t.ClassVar[float] = 120.0
    extend_seconds: t.ClassVar[float] = 30.0
    clock: t.Callable[[], float] = staticmethod(time.time)

    def __init__(self, place: Place) -> None:
        self._place = place
        self._tenant = safe(place.owner)
        self._ahead = 0.0
        self._claim: Claim | None = None
        # a claim is extended by a thread of its own
        self._one_at_a_time = threading.RLock()

    def _get(self, key: str) -> tuple[t.Any, Version]:
        """What is stored for a key of the tenant, and its version; None where there is nothing.

        :raises NoAnswer: the connection was lost
        """
        raise NotImplementedError

    def _put(self, key: str, value: Value, version: Version) -> Version:
        """Replace what is stored, if its version is still the one given; durable on return.

        :raises StaleEntry: it is another one
        :raises NoAnswer: it may or may not have been done
        """
        raise NotImplementedError

    def _list(self) -> list[str]:
        """The keys of the tenant."""
        raise NotImplementedError

    def _where(self, key: str) -> str:
        """The place of a key in the user's words."""
        raise NotImplementedError

    def _library(self, name: str) -> t.Any:
        """A Python library that only this store needs."""
        try:
            return importlib.import_module(name)
        except ImportError as error:
            raise HaloError(
                f"the store {self.name} needs the Python library {name} ({one_line(str(error))}).",
                instance=self._place.instance,
                hint=f"Nothing was changed. Install it for the Python that runs Ansible: "
                f"{shlex.quote(sys.executable)} -m pip install {name}",
            ) from None

    def _hear(self, date: str | None) -> None:
        """Keep the server's time.

        :param date: of an HTTP header
        """
        with contextlib.suppress(TypeError, ValueError):
            server = datetime.datetime.strptime(date or "", "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=datetime.UTC)
            ahead = server.timestamp() - self.clock()
            # the header knows whole seconds, and took some time to arrive
            self._ahead = ahead if abs(ahead) > 2 else 0.0

    # The port

    def read(self, name: str) -> tuple[Entry, Version]:
        with self._failing(f"binding '{name}'"):
            key = _key(name)
            found, version = self._load(key)
            if found is None:
                return entry(None), version
            self._examine(key, found)
            if _same(found["binding"]) != _same(name):
                raise self._foreign(key, found)
        return entry(found), version

    def write(self, name: str, new: Entry, version: Version) -> Version:
        whole = plain({"tenant": self._place.owner, **new, "binding": name, "end": True})
        whole["instance"] = whole.get("instance") or self._place.instance
        with self._failing(f"binding '{name}'", [(new.get(label) or {}).get("client_secret") for label in LABELS]):
            if self._claim:
                self._claim.check()
            return self._save(_key(name), whole, version)

    def names(self) -> list[str]:
        return sorted(self.others(()))

    def others(self, names: t.Iterable[str]) -> dict[str, Entry]:
        known = {CLAIM, *map(safe, names)}
        found = {}
        with self._failing(None):
            for key in map(str, self._again(self._list)):
                value = None if key in known else self._load(key)[0]
                if value is not None:
                    self._examine(key, value)
                    found[str(value["binding"])] = entry(value)
        return found

    @contextlib.contextmanager
    def hold(self) -> t.Iterator[None]:
        with self._failing(None):
            claim = Claim(self._place.owner, self.claim_seconds, self.extend_seconds)
            claim.take(
                load=lambda: self._load(CLAIM),
                save=lambda value, version: self._save(CLAIM, value, version),
                now=lambda: self.clock() + self._ahead,
                where=self._where(CLAIM),
            )
        self._claim = claim
        try:
            yield
        finally:
            self._claim = None
            claim.release()

    # Values

    def _examine(self, key: str, found: t.Any) -> None:
        """See that this is an entry of the tenant, and all of it."""
        if not _is_whole(found):
            # taken for an empty entry, it would cost the secret that someone may yet restore
            raise HaloError(
                f"{self._where(key)} is not what this store writes, or not all of it.",
                hint="Restore it: the store may have an earlier version. If that cannot be done, remove it and set "
                "adopt: rotate for its binding, which makes a new secret.",
            )
        if _same(found["tenant"]) != _same(self._place.owner):
            raise self._foreign(key, found)

    def _foreign(self, key: str, found: Value) -> HaloError:
        whose = one_line(f"'{found['binding']}' of {found['tenant']}")
        return HaloError(
            f"{self._where(key)} holds another entry, that of {whose}.", hint="Restore the one that belongs there."
        )

    def _load(self, key: str) -> tuple[t.Any, Version]:
        return self._again(lambda: self._get(key))

    def _again(self, ask: t.Callable[[], t.Any]) -> t.Any:
        """What the store answers to a read; a lost connection is made anew, once."""
        with self._one_at_a_time:
            try:
                return ask()
            except NoAnswer:
                return ask()

    def _save(self, key: str, value: Value, version: Version) -> Version:
        """Write, and where no answer comes look what became of it. Check-and-set lets it be sent again safely."""
        lost: NoAnswer | None = None
        with self._one_at_a_time:
            for _attempt in range(2):
                try:
                    return self._put(key, value, version)
                except NoAnswer as error:
                    lost = error
                except StaleEntry:
                    if not lost:
                        raise
                found, now = self._load(key)
                if found == value:
                    return now
                if now != version:
                    raise stale()
        raise lost or stale()

    @contextlib.contextmanager
    def _failing(self, subject: str | None, secrets: t.Sequence[str | None] = ()) -> t.Iterator[None]:
        try:
            yield
        except HaloError as error:
            error.message = redact(error.message, secrets)
            error.args = (error.message,)
            raise error.about(instance=self._place.instance, subject=subject) from None


def _key(name: str) -> str:
    try:
        str(name).encode()
    except UnicodeError:
        raise HaloError("its name is no text, and cannot be stored.", hint="Nothing was changed.") from None
    return safe(name)


class Claim:
    """One run's hold on one tenant.

    :param seconds: how long a claim lasts that is not extended
    :param extend_seconds: after how long it is extended, and how long before its end nothing is written any more
    """

    def __init__(self, tenant: str, seconds: float, extend_seconds: float) -> None:
        self._seconds = seconds
        self._extend_seconds = extend_seconds
        self.holder = {"id": str(uuid.uuid4()), "host": os.uname().nodename, "pid": os.getpid()}
        self._value: Value = {"tenant": tenant, "holder": self.holder, "since": None, "until": None, "end": True}
        self._taken_over = False
        self._good_until = 0.0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._keep_extending, name="halo-claim", daemon=True)

    def take(
        self,
        *,
        load: t.Callable[[], tuple[t.Any, Version]],
        save: t.Callable[[Value, Version], Version],
        now: t.Callable[[], float],
        where: str,
    ) -> None:
        """Hold the tenant from here on.

        :raises TenantBusy: someone else does
        """
        self._save, self._now = save, now
        found, self._version = load()
        _refuse_if_held(found, now(), where)
        self._value["since"] = _text(now())
        try:
            self._extend()
        except StaleEntry:
            _refuse_if_held(load()[0], now(), where)
            raise TenantBusy("another run took this tenant just now.", hint="Nothing was changed. Run again.") from None
        self._thread.start()

    def check(self) -> None:
        """See that the tenant is still held.

        :raises StaleEntry: it is not
        """
        if self._taken_over or time.clock_gettime(_ELAPSED) >= self._good_until:
            how = "was taken over by another run" if self._taken_over else "could not be extended in time"
            raise StaleEntry(f"the claim on this tenant {how}.", hint="Nothing was written. Run again.")

    def release(self) -> None:
        """Let others have the tenant. A claim that cannot be given back ends by itself."""
        self._end.set()
        self._thread.join()
        if not self._taken_over:
            with contextlib.suppress(HaloError):
                self._save({**self._value, "holder": None, "until": None}, self._version)

    def _extend(self) -> None:
        started = time.clock_gettime(_ELAPSED)
        value = {**self._value, "until": _text(self._now() + self._seconds)}
        self._version = self._save(value, self._version)
        self._good_until = started + self._seconds - self._extend_seconds

    def _keep_extending(self) -> None:
        while not self._end.wait(self._extend_seconds):
            try:
                self._extend()
            except StaleEntry:
                self._taken_over = True
                return
            except HaloError:
                # the store may answer again before the time is up
                continue


def _refuse_if_held(found: t.Any, now: float, where: str) -> None:
    if found is None:
        return
    try:
        holder = found["holder"]
        if not holder:
            return
        since, until = (datetime.datetime.fromisoformat(found[key]) for key in ("since", "until"))
        if until.timestamp() <= now:
            return
        who = f"process {holder['pid']} on {holder['host']}, since {since:%Y-%m-%d %H:%M:%S} UTC"
    except (LookupError, TypeError, ValueError):
        raise HaloError(
            f"{where}, which says whether a run is at work on this tenant, is not what this store writes.",
            hint="Nothing was changed. See that no run is at work, and remove it.",
        ) from None
    raise TenantBusy(
        f"another run is at work on this tenant {one_line(f'({who})')}.",
        hint="Nothing was changed. Wait until it has ended, then run again; if it was killed, its claim ends at "
        f"{until:%Y-%m-%d %H:%M:%S} UTC.",
    )


def _text(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="milliseconds")
