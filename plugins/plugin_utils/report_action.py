# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The fleet report as tasks: of the hosts of a play, and of the reports of job slices."""

from __future__ import annotations

import datetime
import glob
import json
import os
import time
import typing as t

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ..module_utils.errors import HaloError
from . import report as data
from .action import Result
from .report_forms import moment, write

COLLECTION = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PATH = {"type": "path"}
REPORT_OPTIONS: dict[str, t.Any] = {
    "path": PATH,
    "title": {"type": "str", "default": "Halo integrations"},
    "kind": {"type": "str", "choices": list(data.KINDS)},
    "started": {"type": "str"},
    "untried": {"type": "list", "elements": "str", "default": []},
}
MERGE_OPTIONS: dict[str, t.Any] = {
    "parts": {"type": "list", "elements": "path", "required": True},
    "path": {**PATH, "required": True},
    "title": {"type": "str"},
}


class _Report(ActionBase):
    """What both have in common: options are checked, a report is written, and its lines are printed."""

    options: t.ClassVar[dict[str, t.Any]]

    _supports_check_mode = True

    def run(self, tmp: t.Any = None, task_vars: t.Any = None) -> Result:
        result: Result = super().run(tmp, task_vars)
        result["changed"] = False
        _dummy, args = self.validate_argument_spec(self.options)
        try:
            report, more = self._report(args, task_vars or {})
            if lines := data.lines(report["rows"]):
                Display().display("\n".join(lines))
            result.update(more, summary=report["summary"])
            if args["path"]:
                result.update(write(report, args["path"]))
        except HaloError as error:
            result.update(failed=True, msg=str(error))
        return result

    def _report(self, args: Result, task_vars: Result) -> tuple[data.Report, Result]:
        """The report, and what the task returns besides."""
        raise NotImplementedError


class ReportAction(_Report):
    """The report over all hosts of the play, from the results that the role left with them."""

    options = REPORT_OPTIONS

    def _report(self, args: Result, task_vars: Result) -> tuple[data.Report, Result]:
        hostvars, untried = task_vars["hostvars"], set(args["untried"])
        found: list[data.Row] = []
        check_mode = bool(self._task.check_mode)
        for host in task_vars["ansible_play_hosts_all"]:
            if host in untried:
                # what it may have is of an earlier run
                found += data.not_tried(host, _address(hostvars, host))
                continue
            # what was registered or set is no template, and to have Ansible look for some would double the cost
            known = hostvars.raw_get(host)
            result = known.get("halo_integration_result") or {}
            failure = known.get("halo_integration_failure")
            if result or failure:
                check_mode = check_mode or bool(result.get("check_mode"))
                found += data.rows(
                    host,
                    result.get("instance") or _address(hostvars, host),
                    result,
                    str(failure) if failure else None,
                    kind=args["kind"],
                    undelivered=[str(text) for text in known.get("halo_integration_undelivered") or ()],
                )
        run = {
            "title": args["title"],
            "kind": args["kind"],
            "check_mode": check_mode,
            "started": _given(args["started"]) if args["started"] else _started(),
            "ended": _utc(time.time()),
            "collection_version": _version(),
        }
        return data.compose(found, run), {}


class ReportMergeAction(_Report):
    """The report of a whole run from those of its parts."""

    options = MERGE_OPTIONS

    def _report(self, args: Result, task_vars: Result) -> tuple[data.Report, Result]:
        own = os.path.abspath(os.path.splitext(args["path"])[0] + ".json")
        paths = [path for pattern in args["parts"] for path in _matching(pattern) if os.path.abspath(path) != own]
        paths = list(dict.fromkeys(paths))
        if not paths:
            raise HaloError("halo_report_parts names no report.", hint="Give the .json files of the parts.")
        run = {"collection_version": _version(), **({"title": args["title"]} if args["title"] else {})}
        return data.merge([_read(path) for path in paths], run), {"parts": paths}


def _address(hostvars: t.Any, host: str) -> str:
    """The address of a tenant as its variables have it; empty where they do not say."""
    try:
        return str(hostvars[host].get("halo_url") or os.environ.get("HALO_URL") or "")
    except AnsibleError:
        return ""


def _matching(pattern: str) -> list[str]:
    """The files that a pattern names.

    :raises HaloError: there are none
    """
    found = sorted(glob.glob(pattern, recursive=True)) if glob.has_magic(pattern) else [pattern]
    if not found:
        raise HaloError(f"No file matches {pattern}.", hint="Look where the slices of the job wrote their reports.")
    return found


def _read(path: str) -> data.Report:
    """A part from its file.

    :raises HaloError: it cannot be read, or is no report
    """
    try:
        with open(path, encoding="utf-8") as file:
            found: data.Report = json.load(file)
    except OSError as error:
        raise HaloError(f"The report {path} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError):
        raise HaloError(f"The report {path} cannot be merged: it is not JSON.", hint="Give its .json form.") from None
    if complaint := data.complaint(found):
        raise HaloError(f"The report {path} cannot be merged: {complaint}.")
    return found


def _given(started: str) -> str:
    """A time from the options, in UTC.

    :raises HaloError: it is none
    """
    found = moment(started)
    if not found:
        raise HaloError(f"started is no time as ISO 8601: {started!r}.", hint="As in 2026-06-02T20:00:04+00:00.")
    return found.isoformat(timespec="seconds")


def _utc(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="seconds")


def _started() -> str | None:
    """When Ansible was started, of which this worker is a child; None where the system does not say (not Linux)."""
    try:
        with open(f"/proc/{os.getppid()}/stat", encoding="utf-8") as file:
            # the second field, a name in brackets, may hold blanks
            ticks = int(file.read().rpartition(")")[2].split()[19])
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return None
    return _utc(time.time() - age)


def _version() -> str | None:
    """The collection's version, of an installed one or of a checkout."""
    try:
        with open(os.path.join(COLLECTION, "MANIFEST.json"), encoding="utf-8") as file:
            return str(json.load(file)["collection_info"]["version"])
    except (OSError, ValueError, KeyError):
        pass
    try:
        with open(os.path.join(COLLECTION, "galaxy.yml"), encoding="utf-8") as file:
            return next((line.split()[1] for line in file if line.startswith("version:")), None)
    except OSError:
        return None
