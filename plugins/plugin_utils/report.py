# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The fleet report: what became of each tenant, as JSON and as one self-contained HTML page."""

from __future__ import annotations

import html
import json
import os
import tempfile
import typing as t

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ..module_utils.errors import one_line

STATES = ("failed", "drifted", "rotated", "changed", "unchanged")
COLUMNS = ("tenant", "binding", "state", "agent", "reason", "verified", "note")

Row = dict[str, t.Any]


def rows(tenant: str, url: str, result: t.Any, failure: str | None) -> list[Row]:
    """One row for each binding of a tenant, or a single one for a tenant that failed before there was any.

    :param result: ``halo_integration_result`` of the tenant, None where there is none
    :param failure: what failed, None where nothing did
    """
    result = result or {}
    found: list[Row] = []
    bindings = result.get("bindings") or {}
    # a failure that is none of a binding's own is said of each
    common = failure if failure and not any(binding.get("error") for binding in bindings.values()) else None
    for name, binding in bindings.items():
        wrong = binding.get("error") or common
        found.append(
            {
                "tenant": tenant,
                "url": url,
                "binding": name,
                "state": "failed" if wrong else _state(binding, bool(result.get("check_mode"))),
                "agent": binding.get("agent_name"),
                "client_id": binding.get("client_id"),
                "reason": binding.get("reason"),
                "verified": binding.get("verified"),
                "made_at": binding.get("made_at"),
                "due_at": binding.get("due_at"),
                "drift": binding.get("drift") or [],
                "note": wrong or _note(binding),
            }
        )
    if not found:
        nothing = dict.fromkeys(("binding", "agent", "client_id", "reason", "verified", "made_at", "due_at"))
        state = "failed" if failure else "unchanged"
        found.append({"tenant": tenant, "url": url, **nothing, "drift": [], "state": state, "note": failure})
    return found


def _state(binding: Row, check_mode: bool) -> str:
    if not (binding.get("rotated") or binding.get("changed")):
        return "unchanged"
    if check_mode:
        return "drifted"
    return "rotated" if binding.get("rotated") else "changed"


def _note(binding: Row) -> str | None:
    notes = list(binding.get("warnings") or [])
    if binding.get("previous_agent") and not notes:
        notes.append(f"previous agent: {binding['previous_agent']}")
    return binding.get("handover") or " ".join(notes) or None


def lines(report: list[Row]) -> list[str]:
    """What a person has to know of a run: one line for each binding that is not as it was, and a count of the rest."""
    said = []
    for row in report:
        if row["state"] != "unchanged":
            said.append(one_line(f"{row['tenant']}: {_in_words(row)}", 1000))
    rest = sum(row["state"] == "unchanged" for row in report)
    if rest:
        said.append(f"{rest} as declared" if said else f"All {rest} as declared.")
    return said


def _in_words(row: Row) -> str:
    name = f"{row['binding']} " if row["binding"] else ""
    if row["state"] == "failed":
        return f"{name}failed: {row['note']}"
    if row["state"] == "rotated":
        proof = {True: ", verified", False: ", NOT verified"}.get(row["verified"], "")
        return f"{name}rotated ({row['reason']}){proof}" + (f"; {row['note']}" if row["note"] else "")
    drift = "; ".join(row["drift"]) or (f"a new secret is due ({row['reason']})" if row["reason"] != "none" else "")
    return f"{name}{row['state']}: {drift}"


def summary(report: list[Row]) -> dict[str, int]:
    """How many rows there are in each state."""
    return {state: sum(row["state"] == state for row in report) for state in STATES}


def page(report: list[Row], title: str) -> str:
    """The report as HTML. All that came from Halo or the inventory is text in it, never markup."""

    def cell(row: Row, column: str) -> str:
        value = row[column]
        if isinstance(value, bool):
            value = "yes" if value else "no"
        return f"<td>{html.escape('' if value is None else str(value))}</td>"

    counts = "".join(f'<span class="{state}">{number} {state}</span>' for state, number in summary(report).items())
    head = "".join(f'<th><button type="button">{column}</button></th>' for column in COLUMNS)
    body = "".join(
        f'<tr class="{row["state"]}">' + "".join(cell(row, column) for column in COLUMNS) + "</tr>\n" for row in report
    )
    return _PAGE.format(title=html.escape(title), counts=counts, head=head, body=body)


def write(path: str, content: str) -> None:
    """Replace a file atomically; its mode is 0644 less the umask."""
    folder = os.path.dirname(os.path.abspath(path))
    os.makedirs(folder, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=folder)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(content)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(draft, 0o644 & ~umask)
        os.replace(draft, path)
    except BaseException:
        os.unlink(draft)
        raise


class ReportAction(ActionBase):
    """Write the report over all hosts of the play, from the results that the role left with them."""

    _supports_check_mode = True

    def run(self, tmp: t.Any = None, task_vars: t.Any = None) -> dict[str, t.Any]:
        task_vars = task_vars or {}
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        spec = {"path": {"type": "path"}, "title": {"type": "str", "default": "Halo integrations"}}
        _dummy, args = self.validate_argument_spec(spec)
        hostvars = task_vars["hostvars"]
        report: list[Row] = []
        for host in task_vars["ansible_play_hosts_all"]:
            known = hostvars[host]
            if "halo_integration_result" in known or "halo_integration_failure" in known:
                failure = known.get("halo_integration_failure")
                left = known.get("halo_integration_result") or {}
                url = str(left.get("instance") or known.get("halo_url") or "")
                report += rows(host, url, left, str(failure) if failure else None)
        for line in lines(report):
            Display().display(line)
        counts = summary(report)
        result = {**result, "changed": False, "summary": counts}
        if not args["path"]:
            return result
        path = os.path.splitext(args["path"])[0]
        try:
            write(path + ".json", json.dumps({"summary": counts, "rows": report}, indent=2, default=str))
            write(path + ".html", page(report, args["title"]))
        except OSError as error:
            return {**result, "failed": True, "msg": f"The report could not be written to {path}: {error.strerror}."}
        return {**result, "html": path + ".html", "json": path + ".json"}


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; color: #1c2430; }}
h1 {{ font-size: 1.4rem; }}
.counts span {{ display: inline-block; margin: 0 .5rem .5rem 0; padding: .15rem .7rem; border-radius: 1rem; }}
table {{ border-collapse: collapse; width: 100%; }}
th, td {{ text-align: left; padding: .35rem .6rem; border-bottom: 1px solid #d9dee6; vertical-align: top; }}
th button {{ font: inherit; font-weight: 600; border: 0; background: none; padding: 0; cursor: pointer; }}
td:last-child {{ overflow-wrap: anywhere; }}
.failed {{ background: #fbd9d7; }} .drifted {{ background: #fdebc8; }} .rotated {{ background: #d8e8fb; }}
.changed {{ background: #e7e0f8; }} .unchanged {{ background: #e3f3e4; }}
</style>
</head>
<body>
<h1>{title}</h1>
<p class="counts">{counts}</p>
<table>
<thead><tr>{head}</tr></thead>
<tbody>
{body}</tbody>
</table>
<script>
document.querySelectorAll("th button").forEach(function (button, column) {{
  button.addEventListener("click", function () {{
    var body = document.querySelector("tbody"), down = button.dataset.down = button.dataset.down === "1" ? "" : "1";
    Array.from(body.rows).sort(function (one, other) {{
      var texts = [one, other].map(function (row) {{ return row.cells[column].textContent; }});
      var order = texts[0].localeCompare(texts[1], undefined, {{numeric: true}});
      return down ? order : -order;
    }}).forEach(function (row) {{ body.appendChild(row); }});
  }});
}});
</script>
</body>
</html>
"""
