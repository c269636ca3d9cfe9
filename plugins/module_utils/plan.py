# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""PURE: what to send so that an object becomes what the user wants."""

from __future__ import annotations

import dataclasses
import typing as t

from .client import Raw
from .spec import Field, OneRef, Ref, Refs, Resource, Values


@dataclasses.dataclass(frozen=True)
class Change:
    """What is to be done to one object.

    :param action: none, create, update, delete
    :param payload: Halo's field names and values that change; without the id
    :param before: public view of the object now, None where there is none
    :param after: public view as it will be, None where there will be none; the same keys as a real result
    :param fields: the options that differ
    :param sentences: how they differ
    """

    action: str
    payload: Raw
    before: dict[str, t.Any] | None
    after: dict[str, t.Any] | None
    fields: tuple[str, ...] = ()
    sentences: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        return self.action != "none"

    def drift(self) -> list[str]:
        """What is not as desired, in sentences such as ``roles: API Integration is missing``; no secret in them."""
        return list(self.sentences)


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
        there = () if current is None else (f"there is such an {resource.noun}",)
        return Change("none" if current is None else "delete", {}, before, None, sentences=there)

    raw: Raw = dict(current or {})
    payload: Raw = {}
    differ: list[str] = []
    sentences: list[str] = []
    for field in resource.fields:
        value = desired.get(field.name)
        if value is None:
            continue
        now = field.read(raw)
        if append and isinstance(field, (Refs, Values)):
            value = _joined(field, now, value)
        if current is not None and field.same(now, value):
            continue
        if current is not None or not _empty(field, value):
            payload.update(field.write(value, raw))
        differ.append(field.name)
        sentences += [f"{field.name.replace('_', ' ')}: {text}" for text in field.differences(now, value)]
        raw.update(field.predict(value, raw))
    for name, value in (properties or {}).items():
        if current is None or not _equal(current.get(name), value):
            payload[name] = value
            differ.append("properties." + name)
            sentences.append(f"properties.{name} is not as declared")
            raw[name] = value

    after = resource.public(raw)
    if current is None:
        return Change("create", payload, None, after, tuple(differ), (f"there is no such {resource.noun}",))
    action = "update" if payload else "none"
    return Change(action, payload, before, after if payload else before, tuple(differ), tuple(sentences))


def _joined(field: Field, now: t.Any, value: t.Any) -> t.Any:
    """What is there and what is to be added; of a membership that is there, only the switches that the user set."""
    if not isinstance(field, Refs):
        return [*now, *(item for item in value if not field.canonical([item]) <= field.canonical(now))]
    set_by_user = {ref.key: ref.switches for ref in value}
    there = {ref.key for ref in now}
    return [
        *(Ref(ref.id, ref.name, set_by_user.get(ref.key, {})) for ref in now),
        *(ref for ref in value if ref.key not in there),
    ]


def _empty(field: Field, value: t.Any) -> bool:
    return (isinstance(field, (Refs, Values)) and not value) or (isinstance(field, OneRef) and value.id is None)


def _equal(now: t.Any, value: t.Any) -> bool:
    """Whether Halo's value is what the user gave.

    Halo's models are nullable throughout: it does not tell nothing from an empty text, an empty list or false. It trims
    texts.
    """
    if now is None or value is None:
        other = value if now is None else now
        return other is None or other is False or other == [] or (isinstance(other, str) and not other.strip())
    if isinstance(now, str) or isinstance(value, str):
        return str(now).strip() == str(value).strip()
    if isinstance(value, dict) and isinstance(now, dict):
        return all(_equal(now.get(key), item) for key, item in value.items())
    if isinstance(value, list) and isinstance(now, list):
        return len(now) == len(value) and all(map(_equal, now, value))
    return bool(now == value)
