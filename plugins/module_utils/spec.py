# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an object of Halo looks like to this collection: fields, resources, argument specifications.

A :class:`Field` ties an option to Halo's field names; a :class:`Resource` is a table of fields. Nothing here does I/O.
Field names and types are those of Halo's OpenAPI description; the exceptions stand in the tests with a reason.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
import typing as t
import unicodedata

from ansible.module_utils.errors import AnsibleFallbackNotFound
from ansible.module_utils.parsing.convert_bool import boolean

from .auth import DEFAULTS
from .client import Raw
from .errors import HaloError

Option = dict[str, t.Any]
_BLANK = re.compile(r"\s")


class Ref(t.NamedTuple):
    """An object of Halo by its id and its name; the id is None where nothing is referred to.

    :param switches: of a membership, option to value; of a desired one, those that the user set
    """

    id: t.Any
    name: str | None
    switches: t.Mapping[str, bool] = {}

    @property
    def key(self) -> str:
        """What it is compared by; rows of a list may hold names alone."""
        return fold(self.name if self.id is None else self.id)

    @property
    def label(self) -> str:
        return self.name or ("nothing" if self.id is None else str(self.id))


def compose(text: str) -> str:
    """``text`` without surrounding blanks, each letter with its accent in one character (Unicode's form NFC)."""
    return unicodedata.normalize("NFC", text).strip()


def fold(value: t.Any) -> str:
    """The form in which names are compared, as Halo's database does: without surrounding blanks and letter case."""
    return "" if value is None else compose(compose(str(value)).casefold())


@dataclasses.dataclass(frozen=True)
class Field:
    """One option and the field of Halo behind it.

    :param name: the option, and the key in results
    :param api: Halo's name of the field
    :param option: its entry in the argument specification
    :param secret: never read, never shown
    """

    name: str
    api: str
    option: Option
    secret: bool = False

    def check(self, value: t.Any) -> None:
        """Find what is wrong with the option's value whatever Halo says.

        :raises HaloError: it cannot be meant
        """

    def read(self, raw: Raw) -> t.Any:
        """The value in Halo's object ``raw``, in the collection's form."""
        return raw.get(self.api)

    def write(self, value: t.Any, now: Raw | None = None) -> Raw:
        """The part of a payload that sets ``value``.

        :param now: Halo's object as it is; of its rows, those that stay are sent back as they were read, since Halo may
            take what is missing in one for nothing
        """
        return {self.api: value}

    def predict(self, value: t.Any, now: Raw) -> Raw:
        """The part of Halo's object that will hold ``value``, names included."""
        return self.write(value, now)

    def canonical(self, value: t.Any) -> t.Any:
        """Two values are the same to Halo when their canonical forms are equal."""
        return value

    def same(self, now: t.Any, value: t.Any) -> bool:
        """Whether the value that is there is the desired one."""
        return bool(self.canonical(now) == self.canonical(value))

    def is_covered_by(self, row: Raw) -> bool:
        """Whether the row of a list says what this field holds."""
        return self.api in row

    def differences(self, now: t.Any, value: t.Any) -> list[str]:
        """What is not as desired, a sentence for each."""
        return [f"{_words(self.show(now))} instead of {_words(self.show(value))}"]

    def show(self, value: t.Any) -> t.Any:
        """The value as results and diffs hold it."""
        return value

    @property
    def sent(self) -> tuple[str, ...]:
        """Halo's fields that a payload may hold because of this one."""
        return (self.api,)


def _words(view: t.Any) -> str:
    if isinstance(view, dict):
        view = view.get("name") or view.get("id")
    if isinstance(view, bool):
        return str(view).lower()
    return "nothing" if view in (None, "") else str(view)


@dataclasses.dataclass(frozen=True)
class Text(Field):
    """A string; Halo trims it, and its database does not tell letter cases apart."""

    def read(self, raw: Raw) -> str | None:
        return raw.get(self.api) or None

    def canonical(self, value: t.Any) -> str:
        return fold(value)


@dataclasses.dataclass(frozen=True)
class Flag(Field):
    """A boolean; ``inverted`` where Halo stores the opposite (inactive, isdisabled)."""

    inverted: bool = False

    def read(self, raw: Raw) -> bool:
        return bool(raw.get(self.api)) != self.inverted

    def write(self, value: bool, now: Raw | None = None) -> Raw:
        return {self.api: value != self.inverted}


@dataclasses.dataclass(frozen=True)
class Choice(Field):
    """One of a few words; ``spellings`` gives for each the forms that Halo may use, the one to send first."""

    spellings: t.Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)

    def read(self, raw: Raw) -> str | None:
        found = fold(raw.get(self.api))
        for word, forms in self.spellings.items():
            if found in forms:
                return word
        return found or None

    def write(self, value: str, now: Raw | None = None) -> Raw:
        return {self.api: self.spellings[value][0]}


@dataclasses.dataclass(frozen=True)
class Values(Field):
    """A set of strings that Halo keeps as ``[{key: value}]``, or else joined in the field ``joined``."""

    key: str = "name"
    joined: str | None = None
    also: tuple[str, ...] = ()

    def check(self, value: t.Iterable[str]) -> None:
        for number, item in enumerate(value):
            if not str(item or "").strip():
                raise HaloError(f"{self.name}[{number}] is empty.")
            if _BLANK.search(item.strip()):
                raise HaloError(f"{self.name}[{number}] '{item}' holds a blank.", hint="Make each an item of its own.")

    def read(self, raw: Raw) -> list[str]:
        rows = raw.get(self.api)
        found = [str(row.get(self.key) or "") if isinstance(row, dict) else str(row) for row in rows or []]
        if not found and self.joined:
            found = str(raw.get(self.joined) or "").replace(",", " ").split()
        return sorted({value for value in found if value}, key=fold)

    def write(self, value: t.Iterable[str], now: Raw | None = None) -> Raw:
        rows = [row for row in (now or {}).get(self.api) or [] if isinstance(row, dict)]
        there = {str(row.get(self.key) or "").strip(): row for row in rows}
        return {self.api: [there.get(item) or dict.fromkeys((self.key, *self.also), item) for item in self.show(value)]}

    def predict(self, value: t.Iterable[str], now: Raw) -> Raw:
        return {**self.write(value, now), **({self.joined: None} if self.joined else {})}

    def canonical(self, value: t.Any) -> frozenset[str]:
        return frozenset(item.strip() for item in value or ())

    def differences(self, now: t.Iterable[str], value: t.Iterable[str]) -> list[str]:
        there, desired = self.show(now), self.show(value)
        return [
            *(f"{item} is missing" for item in desired if item not in there),
            *(f"{item} is not declared" for item in there if item not in desired),
        ]

    def show(self, value: t.Iterable[str]) -> list[str]:
        return sorted({item.strip() for item in value}, key=fold)


@dataclasses.dataclass(frozen=True)
class Target:
    """Where objects that others refer to are listed: by id or name, ``more_ids`` naming further id fields."""

    label: str
    path: str
    query: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    more_ids: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Refs(Field):
    """A set of references, kept as ``[{id_key: ..., name_key: ...}]``.

    :param summary: the field of list rows that holds the names alone, separated by commas
    :param switches: further keys of a row that the user may set, option to Halo's name
    :param fresh: further keys of a new row, as Halo's web application sets them
    """

    target: Target = Target("", "")
    id_key: str = "id"
    name_key: str = "name"
    summary: str | None = None
    switches: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    fresh: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)

    def check(self, value: t.Iterable[t.Any]) -> None:
        self.parse(value)

    def parse(self, items: t.Iterable[t.Any]) -> list[tuple[str, dict[str, bool]]]:
        """The option's items, each a name or an id, or a dictionary of ``name`` and switches: the word, the switches.

        :raises HaloError: one cannot be meant
        """
        found = []
        for number, item in enumerate(items):
            where = f"{self.name}[{number}]"
            given = item if isinstance(item, t.Mapping) else {"name": item}
            for key in given:
                if key not in ("name", *self.switches):
                    close = difflib.get_close_matches(str(key), ["name", *self.switches])
                    meant = f"; did you mean {close[0]}?" if close else "."
                    options = ", ".join(("name", *self.switches))
                    raise HaloError(f"{where}: {key} is not an option{meant}", hint=f"There are: {options}.")
            name = given.get("name")
            if isinstance(name, (dict, list)) or not fold(name):
                raise HaloError(f"{where} must be a name or an id, or a dictionary with one as name.")
            switches = {}
            for option in self.switches:
                if given.get(option) is None:
                    continue
                try:
                    switches[option] = bool(boolean(given[option]))
                except TypeError:
                    raise HaloError(f"{where}.{option} must be true or false.") from None
            found.append((str(name), switches))
        return found

    def read(self, raw: Raw) -> list[Ref]:
        rows = raw.get(self.api)
        if rows is None and self.summary:
            return [Ref(None, name.strip()) for name in str(raw.get(self.summary) or "").split(",") if name.strip()]
        return [
            Ref(
                row.get(self.id_key),
                row.get(self.name_key),
                {option: bool(row.get(api)) for option, api in self.switches.items()},
            )
            for row in rows or []
            if isinstance(row, dict)
        ]

    def write(self, value: t.Iterable[Ref], now: Raw | None = None) -> Raw:
        rows = [row for row in (now or {}).get(self.api) or [] if isinstance(row, dict)]
        there = {fold(row.get(self.id_key)): row for row in rows}
        return {
            self.api: [
                {
                    **(there.get(ref.key) or {self.id_key: ref.id, **self.fresh}),
                    **{self.switches[option]: on for option, on in ref.switches.items()},
                }
                for ref in value
            ]
        }

    def predict(self, value: t.Iterable[Ref], now: Raw) -> Raw:
        refs = list(value)
        rows = self.write(refs, now)[self.api]
        return {self.api: [{self.name_key: ref.name, **row} for ref, row in zip(refs, rows, strict=True)]}

    def canonical(self, value: t.Any) -> frozenset[str]:
        return frozenset(ref.key for ref in value or ())

    def same(self, now: t.Any, value: t.Any) -> bool:
        return super().same(now, value) and not self._switched(now, value)

    def _switched(self, now: t.Iterable[Ref], value: t.Iterable[Ref]) -> list[tuple[Ref, str, bool]]:
        """Memberships that stay and of which a switch that the user set is not as desired."""
        there = {ref.key: ref.switches for ref in now or ()}
        return [
            (ref, option, on)
            for ref in value or ()
            if ref.key in there
            for option, on in ref.switches.items()
            if there[ref.key].get(option, False) != on
        ]

    def is_covered_by(self, row: Raw) -> bool:
        # a summary without names may be one that the list does not fill
        return isinstance(row.get(self.api), list) or bool(self.summary and str(row.get(self.summary) or "").strip())

    def differences(self, now: t.Iterable[Ref], value: t.Iterable[Ref]) -> list[str]:
        there, desired = ({ref.key: ref.label for ref in refs} for refs in (now, value))
        return [
            *(f"{label} is missing" for key, label in desired.items() if key not in there),
            *(f"{label} is not declared" for key, label in there.items() if key not in desired),
            *(
                f"{there[ref.key]} {option}: {_words(not on)} instead of {_words(on)}"
                for ref, option, on in self._switched(now, value)
            ),
        ]

    def show(self, value: t.Iterable[Ref]) -> list[str]:
        return sorted((ref.label for ref in value), key=fold)


@dataclasses.dataclass(frozen=True)
class NameRef(Text):
    """A reference that Halo keeps by name."""

    target: Target = Target("", "")


@dataclasses.dataclass(frozen=True)
class OneRef(Field):
    """A reference that Halo keeps as an id, its name beside it in ``name_api`` (read only).

    Where Halo does not tell the name, ``name_key`` is the key under which who has looked it up puts it.
    """

    target: Target = Target("", "")
    name_api: str | None = None

    @property
    def name_key(self) -> str:
        return self.name_api or f"{self.api} name"

    def read(self, raw: Raw) -> Ref:
        found = raw.get(self.api)
        return Ref(found or None, (raw.get(self.name_key) or None) if found else None)

    def write(self, value: Ref, now: Raw | None = None) -> Raw:
        return {self.api: value.id}

    def predict(self, value: Ref, now: Raw) -> Raw:
        return {self.api: value.id, self.name_key: value.name}

    def canonical(self, value: t.Any) -> str:
        return fold(value.id) if value else ""

    def show(self, value: Ref) -> dict[str, t.Any]:
        return {"id": value.id, "name": value.name}


@dataclasses.dataclass(frozen=True)
class Secret:
    """Which fields make an object a bearer of a client secret that depends on its login agent."""

    api: str
    client_id_api: str
    needs: t.Callable[[t.Mapping[str, t.Any]], bool] = lambda view: True


@dataclasses.dataclass(frozen=True)
class Resource:
    """A kind of object of Halo, as a table.

    :param noun: what messages call it; ``key`` is the name of the result
    :param path: below ``/api``: ``GET path`` lists, ``POST path`` saves, ``GET`` and ``DELETE path/{id}``; a
        ``singleton`` has just the first two, for one object
    :param query: what a list must be asked with, so that it hides nothing
    :param details: fields that only ``GET path/{id}?includedetails=true`` and the answer of a POST hold
    :param sparse: whether a list without ``details`` says too little for the info module, which then reads each object
    :param id_type: of the option that gives the id
    :param defaults: option values for a creation where the user set none
    :param computed: further keys of the public view: read only, name to a function of Halo's object
    :param reserved: Halo's fields that ``properties`` must not hold, beyond those of ``fields``
    :param extra: options of the module that are not fields
    :param guard: ``guard(client, params, current, change, rotation)`` raises Refused where a change must not be made
        without the user's explicit word; called before anything is written, in check mode too
    :param advise: ``advise(change)`` says what to warn of when this is done to the object, in check mode too
    :param plural: the key of the info module's result
    :param filters: options of the info module; ``keep(raw, params)`` says which objects they leave in
    """

    noun: str
    key: str
    path: str
    fields: tuple[Field, ...]
    name_api: str = "name"
    id_option: str = ""
    id_type: str = "int"
    query: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    details: tuple[str, ...] = ()
    sparse: bool = False
    defaults: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    computed: t.Mapping[str, t.Callable[[Raw], t.Any]] = dataclasses.field(default_factory=dict)
    secret: Secret | None = None
    singleton: bool = False
    reserved: tuple[str, ...] = ()
    extra: t.Mapping[str, Option] = dataclasses.field(default_factory=dict)
    guard: t.Callable[..., None] | None = None
    advise: t.Callable[..., list[str]] = lambda change: []
    plural: str = ""
    filters: t.Mapping[str, Option] = dataclasses.field(default_factory=dict)
    keep: t.Callable[[Raw, t.Mapping[str, t.Any]], bool] = lambda raw, params: True

    def field(self, name: str) -> Field:
        return next(field for field in self.fields if field.name == name)

    def public(self, raw: Raw) -> dict[str, t.Any]:
        """Halo's object as results show it: the collection's names, no secret."""
        view: dict[str, t.Any] = {} if self.singleton else {"id": raw.get("id")}
        view.update({field.name: field.show(field.read(raw)) for field in self.fields if not field.secret})
        view.update({name: read(raw) for name, read in self.computed.items()})
        return view

    def options(self) -> Option:
        """The argument specification of the fields."""
        return {field.name: dict(field.option) for field in self.fields if field.option}


def environment(*names: str) -> t.Any:
    """Fallback for an option: the first of the variables that is set and not empty.

    Controller sets variables of unused credential fields to the empty string.
    """
    for name in names:
        if os.environ.get(name):
            return os.environ[name]
    raise AnsibleFallbackNotFound


def _connection_option(name: str, **option: t.Any) -> Option:
    default = DEFAULTS.get(name.lower())
    return {**option, **({} if default is None else {"default": default}), "fallback": (environment, [name])}


CONNECTION: dict[str, Option] = {
    "halo_url": _connection_option("HALO_URL", type="str"),
    "halo_tenant": _connection_option("HALO_TENANT", type="str"),
    "halo_client_id": _connection_option("HALO_CLIENT_ID", type="str"),
    "halo_client_secret": _connection_option("HALO_CLIENT_SECRET", type="str", no_log=True),
    "halo_access_token": _connection_option("HALO_ACCESS_TOKEN", type="str", no_log=True),
    "halo_auth_url": _connection_option("HALO_AUTH_URL", type="str"),
    "halo_scope": _connection_option("HALO_SCOPE", type="str"),
    "halo_validate_certs": _connection_option("HALO_VALIDATE_CERTS", type="bool"),
    "halo_ca_path": _connection_option("HALO_CA_PATH", type="path"),
    "halo_timeout": _connection_option("HALO_TIMEOUT", type="int"),
    "halo_retry_seconds": _connection_option("HALO_RETRY_SECONDS", type="int"),
}

# of a run over many tenants: what concerns them together
FLEET: Option = {
    "type": "dict",
    "options": {"max_failed": {"type": "str"}, "fail_on_drift": {"type": "bool", "default": False}},
}


@dataclasses.dataclass(frozen=True)
class Spec:
    """An argument specification with its constraints; ``with_connection`` adds the connection options."""

    options: Option
    constraints: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)

    def with_connection(self) -> Option:
        return {**CONNECTION, **self.options}
