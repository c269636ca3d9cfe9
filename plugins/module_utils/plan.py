# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""PURE: what to send so that an object becomes what the user wants."""

from __future__ import annotations

import dataclasses
import typing as t

from .client import Raw
from .spec import Field, OneRef, Refs, Resource, Values


@dataclasses.dataclass(frozen=True)
class Change:
    """What is to be done to one object.

    :param action: none, create, update, delete
    :param payload: Halo's field names and values that change; without the id
    :param before: public view of the object now, None where there is none
    :param after: public view as it will be, None where there will be none; the same keys as a real result
    :param fields: the options that differ
    """

    action: str
    payload: Raw
    before: dict[str, t.Any] | None
    after: dict[str, t.Any] | None
    fields: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        return self.action != "none"


def plan(
    resource: Resource,
    current: Raw | None,
    desired: t.Mapping[str, t.Any],
    *,
    state: str = "present",
    append: bool = False,
    properties: t.Mapping[str, t.Any] | None = None,
) -> Change:
    """Compare and decide.

    :param current: Halo's object with its details, None where there is none
    :param desired: option to value, in the collection's form (references resolved); None means leave it alone
    :param state: present or absent
    :param append: sets grow only
    :param properties: Halo's own fields, compared and sent as they are
    """
    before = resource.public(current) if current is not None else None
    if state == "absent":
        return Change("none" if current is None else "delete", {}, before, None)

    raw: Raw = dict(current or {})
    payload: Raw = {}
    differ: list[str] = []
    for field in resource.fields:
        value = desired.get(field.name)
        if value is None:
            continue
        now = field.read(raw)
        if append and isinstance(field, (Refs, Values)):
            value = _joined(field, now, value)
        if current is None or field.canonical(now) != field.canonical(value):
            if current is not None or not _empty(field, value):
                payload.update(field.write(value))
            differ.append(field.name)
        else:
            value = now
        raw.update(_as_read(field, value))
    for name, value in (properties or {}).items():
        if current is None or not _equal(current.get(name), value):
            payload[name] = value
            differ.append("properties." + name)
            raw[name] = value

    after = resource.public(raw)
    if current is None:
        return Change("create", payload, None, after, tuple(differ))
    return Change("update" if payload else "none", payload, before, after if payload else before, tuple(differ))


def _joined(field: Field, now: t.Any, value: t.Any) -> t.Any:
    have = field.canonical(now)
    return [*now, *(item for item in value if not field.canonical([item]) <= have)]


def _empty(field: Field, value: t.Any) -> bool:
    return (isinstance(field, (Refs, Values)) and not value) or (isinstance(field, OneRef) and value.id is None)


def _as_read(field: Field, value: t.Any) -> Raw:
    """``value`` as Halo's object will hold it, names included, so that the public view can be predicted."""
    if isinstance(field, Refs):
        return {field.api: [{field.id_key: ref.id, field.name_key: ref.name} for ref in value]}
    if isinstance(field, OneRef):
        return {field.api: value.id, **({field.name_api: value.name} if field.name_api else {})}
    written = field.write(value)
    if isinstance(field, Values) and field.joined:
        written[field.joined] = None
    return written


def _equal(now: t.Any, value: t.Any) -> bool:
    """Whether Halo's value is what the user gave; Halo does not tell nothing from an empty text, and trims texts."""
    if isinstance(now, str) or isinstance(value, str):
        return str("" if now is None else now).strip() == str("" if value is None else value).strip()
    if isinstance(value, dict) and isinstance(now, dict):
        return all(_equal(now.get(key), item) for key, item in value.items())
    if isinstance(value, list) and isinstance(now, list):
        return len(now) == len(value) and all(map(_equal, now, value))
    return bool(now == value)
