# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""All entries of one tenant from one store to another, over the port Store. The old ones stay as they are."""

from __future__ import annotations

import contextlib
import typing as t

from .errors import HaloError, TenantBusy
from .lifecycle import LABELS, MARKER, Entry, Label, is_empty, secrets_of
from .rotation import Proof, Store
from .run import Result, naming
from .spec import FLEET, Option, Spec
from .trail import Notes, NullTrail, Trail

PLACE: Option = {
    "store": {"type": "str"},
    "store_dir": {"type": "path"},
    "store_options": {"type": "dict", "no_log": False},
    "store_key": {"type": "str", "no_log": False},
}
STORE_MOVE = Spec(
    {
        "source": {"type": "dict", "options": PLACE},
        "target": {"type": "dict", "options": PLACE},
        "log_path": {"type": "path"},
        "fleet": FLEET,
    },
    {"required_one_of": [["source", "target"]]},
)

Prove = t.Callable[[Label], Proof]


class Side(t.NamedTuple):
    """One of the two stores; ``name`` says in results which."""

    name: str
    store: Store


def move(
    source: Side, target: Side, prove: Prove, *, instance: str, check_mode: bool, trail: Trail | None = None
) -> Result:
    """Copy all entries, each proven by a login before it is written.

    :param prove: logs in with the secret of a label
    :param instance: base URL of the Halo instance
    :param trail: where each entry that is moved is noted
    :returns: ``{changed, diff, instance, check_mode, bindings: {name: row}}`` with the keys of ``_ROW`` in each row;
        with ``warnings`` where there are any, and ``failed``, ``msg`` and ``error`` where one failed; no secret in it
    :raises HaloError: nothing was moved
    """
    result: Result = {
        "changed": False,
        "instance": instance,
        "check_mode": check_mode,
        "bindings": {},
        "diff": {"before": {}, "after": {}},
    }
    # a marker says that the store that it is in keeps things, and nothing of another
    if not source.store.others([MARKER]):
        # what is not there is not made by a lock on it
        result["warnings"] = [f"The source, {source.name}, holds nothing of this tenant."]
        return result
    errors: list[HaloError] = []
    warnings: list[str] = []
    with contextlib.ExitStack() as held:
        if not check_mode:
            for role, side in (("source", source), ("target", target)):
                try:
                    held.enter_context(side.store.hold())
                except TenantBusy as busy:
                    busy.message = f"{busy.message.rstrip('.')}, in the {role}."
                    raise
        for name in sorted(source.store.others([MARKER])):
            row: Result = {**dict.fromkeys(_ROW), "changed": False, "drift": []}
            result["bindings"][name] = row
            try:
                with naming(f"binding '{name}'"):
                    _move(source, target, name, prove, row, check_mode, trail or NullTrail(), warnings)
            except HaloError as error:
                row["error"] = str(error.about(instance=instance))
                errors.append(error)
            if row["changed"]:
                result["changed"] = True
                for when, side in (("before", source), ("after", target)):
                    result["diff"][when][name] = {"store": side.name, "made_at": row["made_at"]}
    if warnings:
        result["warnings"] = warnings
    if errors:
        result["failed"] = True
        texts = " / ".join(str(error) for error in errors)
        of = len(result["bindings"])
        result["msg"] = texts if of == 1 else f"{len(errors)} of {of} bindings were not moved: {texts}"
        result["error"] = errors[0].failure()
    return result


_ROW = ("changed", "client_id", "agent_name", "made_at", "verified", "drift", "error")


def _move(
    source: Side,
    target: Side,
    name: str,
    prove: Prove,
    row: Result,
    check_mode: bool,
    trail: Trail,
    warnings: list[str],
) -> None:
    found, _version = source.store.read(name)
    there, version = target.store.read(name)
    label = found["current"] or found["pending"] or {}
    row.update({key: label.get(key) for key in ("client_id", "agent_name", "made_at")})
    is_there = _secrets(there) == _secrets(found)
    if not is_there and not is_empty(there):
        raise _conflict(found, there)
    if label:
        _prove(found, prove)
        row["verified"] = True
        # it is of the instance where it logs in, whatever its address was before: the target fills that in
        found = {**found, "instance": None}
    if is_there:
        return
    if not check_mode:
        trail.check()
        notes = Notes(trail, name, warnings, lambda: secrets_of(found))
        with notes.step("move", "requested", lambda: (row["client_id"], row["agent_name"])):
            target.store.write(name, found, version)
            _read_back(target.store, name, found)
    row["changed"] = True
    row["drift"] = [f"store: {source.name} instead of {target.name}"]


def _secrets(one: Entry) -> list[str | None]:
    return [(one[label] or {}).get("client_secret") for label in LABELS]


def _conflict(found: Entry, there: Entry) -> HaloError:
    ages = [(one["current"] or one["pending"] or one["previous"] or {}).get("made_at") for one in (there, found)]
    return HaloError(
        f"the target holds another secret of it, made at {ages[0]}; that of the source was made at {ages[1]}.",
        hint="Nothing was overwritten. If the target's is the one in use, there is nothing to move; if not, remove it "
        "there and run again.",
    )


def _prove(found: Entry, prove: Prove) -> None:
    """See that what is in force is in this entry.

    :raises HaloError: none of its secrets logs in, or Halo could not be asked
    """
    reasons = []
    for label in ("current", "pending"):
        if found[label]:
            proof = prove(found[label])
            if proof.valid:
                return
            reasons.append(f"its {label} secret does not log in ({proof.reason or 'refused'})")
    raise HaloError(
        f"{' and '.join(reasons)}.",
        hint="It was not moved. Run the role halo_integration with the store that it is in, which makes it right, and "
        "move it then.",
    )


def _read_back(store: Store, name: str, found: Entry) -> None:
    """See that the store kept what was written.

    :raises HaloError: it did not
    """
    again, _version = store.read(name)
    lost = sorted(key for key in found if key not in ("instance", "binding") and again[key] != found[key])
    if lost:
        raise HaloError(
            f"the target did not keep what was written ({', '.join(lost)}).",
            hint="The entry in the source is untouched. Remove that in the target.",
        )
