# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The four forms of the fleet report: JSON, an HTML page, JUnit's XML and a textfile for Prometheus."""

from __future__ import annotations

import contextlib
import datetime
import errno
import functools
import json
import os
import tempfile
import typing as t
from xml.etree import ElementTree

import jinja2

from ..module_utils.errors import HaloError
from .report import STATES, Report, Row

TEMPLATE = "report.html.j2"
LABELS = {"not_tried": "not tried", "unchanged": "as declared"}
OF_KIND = {"preflight": {"unchanged": "ready"}}
REASONS = {
    "created": "the application is new",
    "agent_changed": "the login agent changed",
    "login_type_changed": "the login type changed",
    "requested": "it was asked for",
    "expired": "the age limit is reached",
    "missing": "the store has none",
    "invalid": "the stored one does not log in",
    "rollback": "the previous one was put back",
}
DAY = 86400


def write(report: Report, path: str) -> dict[str, str]:
    """Write all forms, or none where one cannot be written.

    :param path: what all four names begin with; an ending of one of them is taken off
    :returns: the path of each form
    :raises HaloError: one of them cannot be written
    """
    base, ending = os.path.splitext(path)
    if ending.removeprefix(".") not in FORMS:
        base = path
    if os.path.isdir(path) or not os.path.basename(base):
        raise HaloError(
            f"The report cannot be written to {path}: that is a folder.", hint="Name a file in it, as in report.html."
        )
    paths = {form: f"{base}.{form}" for form in FORMS}
    drafts: dict[str, str] = {}
    try:
        for form, make in FORMS.items():
            drafts[form] = _draft(paths[form], make(report))
        for form, draft in drafts.items():
            _replace(draft, paths[form])
    finally:
        for draft in drafts.values():
            with contextlib.suppress(OSError):
                os.unlink(draft)
    return paths


def _draft(path: str, content: str) -> str:
    """A file beside ``path`` with its content and mode, 0644 less the umask; returns its name."""
    folder = os.path.dirname(os.path.abspath(path))
    draft = None
    try:
        if os.path.isdir(path):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        os.makedirs(folder, exist_ok=True)
        handle, draft = tempfile.mkstemp(dir=folder, prefix=".")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(content)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(draft, 0o644 & ~umask)
    except OSError as error:
        if draft:
            os.unlink(draft)
        raise _unwritable(path, error) from None
    return draft


def _replace(draft: str, path: str) -> None:
    try:
        os.replace(draft, path)
    except OSError as error:
        raise _unwritable(path, error) from None


def _unwritable(path: str, error: OSError) -> HaloError:
    return HaloError(
        f"The report cannot be written to {path}: {error.strerror}.",
        hint="Give another halo_report_path, or make room there.",
    )


def as_json(report: Report) -> str:
    """The report as it is; ``docs/report.schema.json`` describes it."""
    return json.dumps(report, indent=2, ensure_ascii=False) + "\n"


# HTML


def page(report: Report) -> str:
    """One page without anything from elsewhere. All that came from Halo or an inventory is text in it, never markup."""
    run = report["run"]
    ended = moment(run["ended"])
    started = moment(run["started"])
    counts = {state: report["summary"][state] for state in STATES}
    return _template().render(
        run=run,
        ended=ended,
        seconds=round((ended - started).total_seconds()) if started and ended else None,
        counts=counts,
        labels={state: LABELS.get(state, state) for state in STATES} | OF_KIND.get(str(run["kind"]), {}),
        ranks={state: rank for rank, state in enumerate(STATES)},
        reasons=REASONS,
        tenants=len({(row["tenant"], row["url"]) for row in report["rows"]}),
        rows=[_viewed(row, ended) for row in report["rows"]],
    )


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(os.path.dirname(os.path.abspath(__file__))),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(TEMPLATE)


def _viewed(row: Row, ended: datetime.datetime | None) -> Row:
    """A row with what a page needs besides: times, days, and the address of the tenant where it is safe as a link."""
    made, due = moment(row["made_at"]), moment(row["due_at"])
    return {
        **row,
        "link": row["url"] if row["url"].lower().startswith(("https://", "http://")) else None,
        "host": row["url"].partition("://")[2] or row["url"],
        "made": made,
        "due": due,
        "age_days": int((ended - made).total_seconds() // DAY) if ended and made else None,
        "due_days": int((due - ended).total_seconds() // DAY) if ended and due else None,
    }


def moment(text: str | None) -> datetime.datetime | None:
    """A time in UTC; None where it is none."""
    try:
        found = datetime.datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return found.astimezone(datetime.UTC) if found.tzinfo else found.replace(tzinfo=datetime.UTC)


# JUnit


def junit(report: Report) -> str:
    """A test case for each row: an error where it failed, a failure where it drifted, skipped if it was not tried."""
    run, counts = report["run"], report["summary"]
    name = run["title"] if not run["kind"] else f"{run['title']}: {run['kind']}"
    started, ended = moment(run["started"]), moment(run["ended"])
    numbers = {
        "tests": str(len(report["rows"])),
        "failures": str(counts["drifted"]),
        "errors": str(counts["failed"]),
        "skipped": str(counts["not_tried"]),
        "time": f"{(ended - started).total_seconds():.0f}" if started and ended else "0",
    }
    suites = ElementTree.Element("testsuites", {"name": name, **numbers})
    about = {"timestamp": ended.strftime("%Y-%m-%dT%H:%M:%S")} if ended else {}
    suite = ElementTree.SubElement(suites, "testsuite", {"name": name, **numbers, **about})
    for row in report["rows"]:
        case = ElementTree.SubElement(
            suite, "testcase", {"classname": row["tenant"], "name": row["binding"] or "tenant", "time": "0"}
        )
        if row["state"] == "failed":
            what = {"type": "failed", "message": row["error"] or ""}
            ElementTree.SubElement(case, "error", what).text = row["hint"]
        elif row["state"] == "drifted":
            drift = "\n".join(row["drift"] + ([f"a new secret is due ({row['reason']})"] if row["rotated"] else []))
            what = {"type": "drifted", "message": drift.partition("\n")[0]}
            ElementTree.SubElement(case, "failure", what).text = drift
        elif row["state"] == "not_tried":
            ElementTree.SubElement(case, "skipped", {"message": "the run was stopped before it"})
        said = [LABELS.get(row["state"], row["state"]), *row["warnings"]]
        ElementTree.SubElement(case, "system-out").text = "\n".join(said)
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


# Prometheus

_METRICS = {
    "halo_secret_age_seconds": "Age of the client secret in force when the run ended.",
    "halo_secret_due_timestamp_seconds": "When the client secret is to be replaced because of its age.",
    "halo_tenant_failed": "Whether anything of a tenant that was tried failed.",
    "halo_run_timestamp_seconds": "When the run ended.",
}
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


def textfile(report: Report) -> str:
    """Gauges for the textfile collector of Prometheus's node exporter."""
    ended = moment(report["run"]["ended"])
    samples: dict[str, dict[str, float]] = {name: {} for name in _METRICS}
    for row in report["rows"]:
        tenant = {"tenant": row["tenant"], "instance": row["url"]}
        binding = _labelled({**tenant, "binding": row["binding"] or ""})
        made, due = moment(row["made_at"]), moment(row["due_at"])
        if made and ended:
            samples["halo_secret_age_seconds"][binding] = (ended - made).total_seconds()
        if due:
            samples["halo_secret_due_timestamp_seconds"][binding] = due.timestamp()
        if row["state"] != "not_tried":
            failed = samples["halo_tenant_failed"]
            failed[_labelled(tenant)] = max(failed.get(_labelled(tenant), 0), float(row["state"] == "failed"))
    if ended:
        samples["halo_run_timestamp_seconds"][""] = ended.timestamp()
    return "".join(
        f"# HELP {name} {text}\n# TYPE {name} gauge\n"
        + "".join(f"{name}{labels} {value:.0f}\n" for labels, value in samples[name].items())
        for name, text in _METRICS.items()
    )


def _labelled(labels: t.Mapping[str, str]) -> str:
    return "{" + ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in labels.items()) + "}"


FORMS: dict[str, t.Callable[[Report], str]] = {"html": page, "json": as_json, "xml": junit, "prom": textfile}
