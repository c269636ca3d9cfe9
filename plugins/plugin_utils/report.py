# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The fleet report as data: a row for each binding, their order and counts, the lines of the terminal, and merging.

All texts come from Halo, an inventory or another report. They are put on one line here, without anything that a
terminal, a browser or a parser would act on; what is markup in a form is the business of that form.
"""

from __future__ import annotations

import re
import typing as t

from ..module_utils.errors import one_line
from ..module_utils.rights import refused

# by how much they matter
STATES = ("failed", "not_tried", "drifted", "orphan", "rotated", "changed", "unchanged")
KINDS = ("provision", "rotate", "audit", "decommission", "store_move", "preflight")
SCHEMA_VERSION = 1

Row = dict[str, t.Any]
Report = dict[str, t.Any]

_TEXTS = (
    *("binding", "kind", "agent", "agent_found", "client_id", "reason", "made_at", "due_at"),
    *("previous_agent", "handover", "error", "hint"),
)
_LISTS = ("drift", "warnings")
_RIGHT = ("name", "state", "reason")
ROW_KEYS = ("tenant", "url", "state", *_TEXTS, "rotated", "verified", *_LISTS, "rights")
RUN_KEYS = ("title", "kind", "check_mode", "started", "ended", "collection_version")


def rows(
    tenant: str,
    url: str,
    result: t.Mapping[str, t.Any] | None,
    failure: str | None = None,
    *,
    kind: str | None = None,
    undelivered: t.Iterable[str] = (),
) -> list[Row]:
    """One row for each binding of a tenant and each orphan, or a single one for a tenant without any.

    :param result: ``halo_integration_result`` of the tenant, None where there is none
    :param failure: what failed, None where nothing did; said of all bindings where none has an error of its own
    :param kind: of the run, one of ``KINDS``
    :param undelivered: what failed when secrets were delivered, ``NAME OF THE BINDING: TEXT`` each
    """
    result = result or {}
    if not failure and result.get("failed"):
        failure = str(result.get("msg") or "see the output of the run")
    bindings: t.Mapping[str, Row] = result.get("bindings") or {}
    errors = {name: binding.get("error") or _about(name, undelivered) for name, binding in bindings.items()}
    hints = {name: binding.get("hint") for name, binding in bindings.items()}
    hint = (result.get("error") or {}).get("hint")
    if failure and not any(errors.values()):
        errors, hints = dict.fromkeys(bindings, failure), dict.fromkeys(bindings, hint)
    found = []
    for name, binding in bindings.items():
        row = {**binding, "agent": binding.get("agent_name"), "binding": name}
        row["agent_found"] = _agent_found(result, name)
        if not (row["agent_found"] or binding.get("changed") or errors[name]):
            row["agent_found"] = row["agent"]
        row["state"] = "failed" if errors[name] else _state(binding, bool(result.get("check_mode")))
        row["drift"] = _leaving(row) if kind == "decommission" else binding.get("drift")
        found.append(_row(tenant, url, {**row, "error": errors[name], "hint": hints[name]}))
    if kind == "preflight" and result.get("checks"):
        found.append(_row(tenant, url, _of_preflight(result, failure)))
    orphans = [{"binding": name, "state": "orphan"} for name in result.get("orphans") or ()]
    if not found:
        state = "failed" if failure else "unchanged"
        if failure or not orphans:
            found.append(_row(tenant, url, {"state": state, "error": failure, "hint": hint}))
    return found + [_row(tenant, url, orphan) for orphan in orphans]


def _of_preflight(result: t.Mapping[str, t.Any], failure: str | None) -> Row:
    """What a preflight saw of a tenant, the failed checks as its error."""
    texts = {
        state: [f"{check['name']}: {check['text']}" for check in result["checks"] if check["state"] == state]
        for state in ("ok", "warning")
    }
    state = "failed" if failure else "changed" if result.get("changed") else "unchanged"
    return {"state": state, "error": failure, "drift": texts["ok"], "warnings": texts["warning"]}


def not_tried(tenant: str, url: str) -> list[Row]:
    """The row of a tenant that a run was stopped before."""
    return [_row(tenant, url, {"state": "not_tried"})]


def _row(tenant: str, url: str, given: t.Mapping[str, t.Any]) -> Row:
    """A row of clean texts; what its tenant and binding say already is not repeated in its error."""
    row: Row = {"tenant": _clean(tenant), "url": _clean(url).rstrip("/"), "state": given["state"]}
    row.update({name: None if given.get(name) in (None, "") else _clean(given[name]) for name in _TEXTS})
    row["rotated"] = bool(given.get("rotated"))
    row["verified"] = None if given.get("verified") is None else bool(given["verified"])
    row.update({name: [_clean(text) for text in given.get(name) or ()] for name in _LISTS})
    row["rights"] = [
        {key: None if one.get(key) in (None, "") else _clean(one[key]) for key in _RIGHT}
        for one in given.get("rights") or ()
    ]
    if row["error"]:
        if row["hint"]:
            row["error"] = row["error"].removesuffix(row["hint"]).rstrip()
        for known in (row["url"], row["binding"], f"binding '{row['binding']}'"):
            row["error"] = row["error"].removeprefix(f"{known}: ") if known else row["error"]
    return row


def _clean(value: t.Any) -> str:
    # U+FFFE and U+FFFF are no characters, and XML refuses them
    return one_line(str(value).replace("\ufffe", "").replace("\uffff", ""), 4000)


def _about(name: str, undelivered: t.Iterable[str]) -> str | None:
    return next((text for text in undelivered if text.startswith(f"{name}: ")), None)


def _agent_found(result: t.Mapping[str, t.Any], name: str) -> t.Any:
    """As whom a binding that was to be changed logged in before; None where it did not."""
    before = ((result.get("diff") or {}).get("before") or {}).get(name) or {}
    login = (before.get("application") or before.get("integrator") or {}).get("login_agent") or {}
    return login.get("name") or login.get("id")


def _state(binding: t.Mapping[str, t.Any], check_mode: bool) -> str:
    # what Halo refuses no run would change
    if not (binding.get("rotated") or binding.get("changed") or (check_mode and refused(binding))):
        return "unchanged"
    if check_mode:
        return "drifted"
    return "rotated" if binding.get("rotated") else "changed"


def _leaving(row: Row) -> list[str]:
    """What a decommission says instead of drift."""
    words = {"changed": "taken out of service", "drifted": "would be taken out of service"}
    return [words[row["state"]]] if row["state"] in words else []


def summary(report: t.Iterable[Row]) -> dict[str, int]:
    """How many rows there are in each state."""
    states = [row["state"] for row in report]
    return {state: states.count(state) for state in STATES}


def compose(found: t.Iterable[Row], run: t.Mapping[str, t.Any]) -> Report:
    """The whole report: failed first, then by tenant; the bindings of a tenant stay in their order.

    :param run: values for ``RUN_KEYS``; times in UTC as ISO 8601
    """
    report = sorted(found, key=lambda row: (STATES.index(row["state"]), _natural(row["tenant"]), row["url"]))
    return {
        "schema_version": SCHEMA_VERSION,
        "run": {name: _clean(run[name]) if isinstance(run.get(name), str) else run.get(name) for name in RUN_KEYS},
        "summary": summary(report),
        "rows": report,
    }


def _natural(name: str) -> list[t.Any]:
    """A key that has tenant2 before tenant10."""
    parts: list[t.Any] = re.split(r"([0-9]+)", name.casefold())
    parts[1::2] = map(int, parts[1::2])
    return [*parts, name]


def lines(report: t.Iterable[Row]) -> list[str]:
    """What a person has to know of a run: a line for each binding that is not as it was, failures last, and counts."""
    ordered = sorted(report, key=lambda row: -STATES.index(row["state"]))
    # what a preflight saw is said although nothing is wrong
    found = [one_line(f"{row['tenant']}: {_in_words(row)}", 1000) for row in ordered if not _is_counted(row)]
    counted = [
        _count([row for row in ordered if row["state"] == state and _is_counted(row)], words)
        for state, words in reversed(_COUNTED.items())
    ]
    counts = ", ".join(text for text in counted if text)
    if counts:
        found.append(counts if found or "," in counts else f"All {counts}.")
    return found


_COUNTED = {"not_tried": "not tried", "unchanged": "as declared"}


def _is_counted(row: Row) -> bool:
    return row["state"] in _COUNTED and not row["drift"]


def _count(of: list[Row], words: str) -> str:
    tenants = len({(row["tenant"], row["url"]) for row in of})
    if len(of) > tenants:
        return f"{len(of)} bindings of {tenants} tenant{'s' if tenants > 1 else ''} {words}"
    return f"{tenants} {words}" if tenants else ""


def _in_words(row: Row) -> str:
    name = f"{row['binding']} " if row["binding"] else ""
    if row["state"] == "failed":
        return f"{name}failed: {row['error']} {row['hint'] or ''}".rstrip()
    if row["state"] == "orphan":
        return f"{name}is an orphan: it is in the store, and the inventory does not declare it"
    said = list(row["warnings"])
    if row["previous_agent"] and not said:
        said.append(f"previous agent: {row['previous_agent']}")
    if row["handover"]:
        said = [row["handover"]]
    if row["state"] == "rotated":
        proof = {True: ", verified", False: ", NOT verified"}.get(row["verified"], "")
        return "; ".join([f"{name}rotated ({row['reason']}){proof}", *said])
    if row["rotated"]:
        said.insert(0, f"a new secret is due ({row['reason']})")
    state = "ready" if row["state"] == "unchanged" else row["state"]
    return f"{name}{state}: {'; '.join(row['drift'] + said)}".rstrip(": ")


def merge(reports: t.Sequence[Report], run: t.Mapping[str, t.Any]) -> Report:
    """The report of the whole run from those of its parts. Of a tenant that is in several, the latest counts.

    :param run: what is not to be taken from the parts
    """
    of_tenant: dict[tuple[str, str], list[Row]] = {}
    for report in sorted(reports, key=lambda one: str(one["run"]["ended"])):
        part: dict[tuple[str, str], list[Row]] = {}
        for row in report["rows"]:
            row = _row(row["tenant"], row["url"], row)
            part.setdefault((row["tenant"], row["url"]), []).append(row)
        of_tenant.update(part)
    runs = [report["run"] for report in reports]
    started = [one["started"] for one in runs if one["started"]]
    shared = {
        "title": runs[0]["title"],
        "kind": runs[0]["kind"] if len({one["kind"] for one in runs}) == 1 else None,
        "check_mode": all(bool(one["check_mode"]) for one in runs),
        "started": min(started) if started else None,
        "ended": max(str(one["ended"]) for one in runs),
    }
    return compose([row for found in of_tenant.values() for row in found], {**shared, **run})


def complaint(report: t.Any) -> str | None:
    """Why something read from a file is no report that can be merged; None where it is one."""
    if not isinstance(report, dict) or "schema_version" not in report:
        return "it is not the JSON form of a report"
    if report["schema_version"] != SCHEMA_VERSION:
        return f"its schema_version is {report['schema_version']!r}, and this version of the collection reads 1"
    run, found = report.get("run"), report.get("rows")
    if not isinstance(run, dict) or not set(RUN_KEYS) <= set(run) or not isinstance(found, list):
        return "its run or its rows are not complete"
    texts = [run[name] for name in RUN_KEYS if name != "check_mode"]
    if run["kind"] not in (*KINDS, None) or not all(text is None or isinstance(text, str) for text in texts):
        return "its run holds what it cannot"
    for row in found:
        if not isinstance(row, dict) or not set(ROW_KEYS) <= set(row) or row["state"] not in STATES:
            return "a row of it is not complete"
        if not all(isinstance(row[name], list) for name in (*_LISTS, "rights")):
            return "a row of it has no lists where they belong"
        if not all(isinstance(one, dict) and one.get("name") and one.get("state") for one in row["rights"]):
            return "the rights of a row are not complete"
    return None
