# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A run over many tenants: none that fails stops another, too many stop the run, and the end says all of it.

Ansible ends a play whose whole batch failed, be it a batch of one. Therefore a tenant that fails is noted here, its
host goes on, and it fails in a second play, together with the others.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import typing as t
from collections import ChainMap
from collections.abc import Mapping

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ..module_utils.errors import HaloError
from ..module_utils.rights import refused
from .compat import run_folder

Result = dict[str, t.Any]

BEGUN, FAILED, DRIFTED, STOPPED = "begun", "failed", "drifted", "stopped"
# between these two the tasks of the user run, which a host that cannot be reached ends without a word
OUTSTANDING, CONCLUDED = "outstanding", "concluded"
UNFINISHED = (
    "The tasks that were to follow did not come to their end: a host that on_rotated needs cannot be reached. "
    "They run again in the next run."
)
SAID = {
    FAILED: "This tenant failed; its line above says why.",
    DRIFTED: "This tenant is not as the inventory declares it; its line above says how.",
}


class Record:
    """What became of the tenants of a run so far, as all its workers know it.

    A file in the run's own temporary folder. What is appended in one write is whole, whoever else appends.
    """

    def __init__(self, path: str | None = None) -> None:
        self._path = path or os.path.join(run_folder(), "halo_fleet")

    def note(self, host: str, state: str, text: str = "") -> None:
        line = json.dumps([state, host, text]) + "\n"
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(file, line.encode())
        finally:
            os.close(file)

    def hosts(self, state: str) -> dict[str, str]:
        """Those that were noted with this state, in that order, with what was said last."""
        with contextlib.suppress(FileNotFoundError), open(self._path, encoding="utf-8") as file:
            noted = [json.loads(line) for line in file]
            return {host: text for kind, host, text in noted if kind == state}
        return {}

    def failures(self) -> dict[str, str]:
        """Those that failed, when no task of the run is under way any more, and why."""
        concluded = self.hosts(CONCLUDED)
        unfinished = [host for host in self.hosts(OUTSTANDING) if host not in concluded]
        return {**dict.fromkeys(unfinished, UNFINISHED), **self.hosts(FAILED)}

    def close(self) -> tuple[Record, bool]:
        """End this record, so that a further playbook of the same run begins another.

        :returns: what was recorded, and whether this call was the one that ended it
        """
        closed = self._path + ".closed"
        try:
            os.replace(self._path, closed)
        except FileNotFoundError:
            return Record(closed), False
        return Record(closed), True


def batches(given: t.Any) -> list[str]:
    """How many tenants are worked on at a time, for the ``serial`` of a play: numbers, or per cent such as ``5%``.

    :param given: ``halo_serial``: a number, a text in which commas may stand, or a list of such; nothing stands for all
    :raises HaloError: something is neither a number above 0 nor per cent
    """
    if isinstance(given, (list, tuple)):
        found = [one for part in given if part not in (None, "") for one in batches(part)]
    else:
        found = [part.replace(" ", "") for part in str("" if given is None else given).strip(" []").split(",")]
    found = [one.strip("'\"") for one in found if one]
    for one in found:
        number = re.fullmatch(r"(\d+)(%?)", one, re.ASCII)
        if not number or not 0 < int(number[1]) <= (100 if number[2] else int(number[1])):
            raise HaloError(
                f"halo_serial must be a number of tenants, or per cent of the fleet such as 5%, not {one}.",
                hint="Several, with commas, are one batch after another.",
            )
    return found or ["100%"]


def allowed(max_failed: t.Any, tenants: int) -> int | None:
    """How many tenants may fail before a run stops; None for any number.

    :param max_failed: ``halo_max_failed``, a number or per cent of the whole fleet
    :param tenants: how many the fleet has
    :raises HaloError: it is neither
    """
    text = "" if max_failed is None else str(max_failed).strip()
    if not text:
        return None
    found = re.fullmatch(r"(\d+)\s*(%?)", text, re.ASCII)
    if not found or (found[2] and int(found[1]) > 100):
        raise HaloError(f"halo_max_failed must be a number, or per cent of the fleet such as 5%, not {text}.")
    return int(found[1]) * tenants // 100 if found[2] else int(found[1])


def as_one_of_many(
    fleet: Mapping[str, t.Any], task_vars: Result, check_mode: bool, work: t.Callable[[], Result]
) -> Result:
    """Do the work for one tenant of a run over many, unless too many others have failed.

    :param fleet: the option ``fleet`` of ``halo_binding``
    :param work: gives the result of the task
    :returns: that result, without a failure of the host; what failed is its ``failure``
    """
    record, host = Record(), str(task_vars["inventory_hostname"])
    try:
        most = allowed(fleet.get("max_failed"), len(task_vars.get("ansible_play_hosts_all", ())))
    except HaloError as error:
        return {"failed": True, "msg": str(error)}
    try:
        if most is not None and len(record.hosts(FAILED)) > most:
            record.note(host, STOPPED)
            reason = f"More than {most} tenants have failed (halo_max_failed): this one is not tried."
            return {"changed": False, "skipped": True, "skip_reason": reason, "pending_actions": [], "bindings": {}}
        record.note(host, BEGUN)
        result = work()
    except (HaloError, AnsibleError) as error:
        result = {"failed": True, "msg": str(error)}
    result = {"changed": False, "pending_actions": [], "bindings": {}, **result}
    if result.get("failed") or result.get("msg"):
        return {**result, **failure(record, host, str(result.get("msg")))}
    if result["pending_actions"]:
        record.note(host, OUTSTANDING)
    # what Halo refuses is drift that no run would change
    drifted = result["changed"] or any(refused(row) for row in result["bindings"].values())
    if check_mode and drifted and fleet.get("fail_on_drift"):
        record.note(host, DRIFTED)
    return result


def failure(record: Record, host: str, text: str) -> Result:
    """Note that a tenant failed, and give what its task returns therefore."""
    record.note(host, FAILED, text)
    return {"failed": False, "failure": text}


def retry_file(report: str) -> str:
    """The path of the file for ``--limit @`` beside a report."""
    return os.path.splitext(report)[0] + ".retry"


OPTIONS: dict[str, t.Any] = {
    "failure": {"type": "str"},
    "noted": {"type": "bool", "default": False},
    "hosts": {"type": "list", "elements": "str"},
    "report": {"type": "dict", "default": {}},
}


class FleetAction(ActionBase):
    """Note that a tenant failed; or, at the end of a run, report over all of them and fail those that failed."""

    options = OPTIONS

    _supports_check_mode = True

    def run(self, tmp: t.Any = None, task_vars: t.Any = None) -> Result:
        task_vars = task_vars or {}
        result: Result = {**super().run(tmp, task_vars), "changed": False}
        _dummy, args = self.validate_argument_spec(self.options, mutually_exclusive=[["failure", "hosts"]])
        record, host = Record(), str(task_vars["inventory_hostname"])
        if args["hosts"] is None:
            text = args["failure"]
            if args["noted"]:
                record.note(host, CONCLUDED)
            if not text:
                return result
            return {**result, **(failure(record, host, text) if args["noted"] else {"failed": True, "msg": text})}
        record, first = record.close()
        if first:
            result.update(self._report(record, args, task_vars))
        for state, text in SAID.items():
            if not result.get("failed") and host in (record.failures() if state == FAILED else record.hosts(state)):
                result.update(failed=True, msg=text)
        return result

    def _report(self, record: Record, args: Result, task_vars: Result) -> Result:
        """Have the report written over the whole fleet, say what was not tried, and write the file for a retry."""
        failed = record.failures()
        # one whose variables could not be had failed before it began
        begun = {*failed, *record.hosts(BEGUN)}
        untried = [host for host in args["hosts"] if host not in begun]
        variables = {"hostvars": _HostVars(task_vars["hostvars"], failed), "ansible_play_hosts_all": args["hosts"]}
        result = self._run_report({**args["report"], "untried": untried}, {**task_vars, **variables})
        again = [host for host in args["hosts"] if host in failed or host not in begun]
        say = Display().display
        if record.hosts(STOPPED):
            say("Stopped, since more tenants failed than halo_max_failed allows.")
        if result.get("failed") or not args["report"].get("path"):
            return {**result, "untried": len(untried)}
        path = retry_file(args["report"]["path"])
        try:
            if again:
                with open(path, "w", encoding="utf-8") as file:
                    file.writelines(f"{host}\n" for host in again)
                say(f"To try what failed or was not tried: --limit @{path}")
            else:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
        except OSError as error:
            return {**result, "failed": True, "msg": f"{path} could not be written: {error.strerror}."}
        return {**result, "untried": len(untried), **({"retry": path} if again else {})}

    def _run_report(self, options: Result, task_vars: Result) -> Result:
        task = self._task.copy()
        task.args = options
        action = self._shared_loader_obj.action_loader.get(
            "haloops.halo.halo_report",
            task=task,
            connection=self._connection,
            play_context=self._play_context,
            loader=self._loader,
            templar=self._templar,
            shared_loader_obj=self._shared_loader_obj,
        )
        result: Result = action.run(task_vars=task_vars)
        return result


class _HostVars:
    """The variables of the hosts, with ``halo_integration_failure`` for those that failed.

    A fact would do as well, but for facts that are cached from run to run, or not known as variables.
    """

    def __init__(self, hostvars: t.Any, failed: Mapping[str, str]) -> None:
        self._hostvars = hostvars
        self._failed = failed

    def __getitem__(self, host: str) -> Mapping[str, t.Any]:
        return self._with_failure(host, self._hostvars[host])

    def raw_get(self, host: str) -> Mapping[str, t.Any]:
        return self._with_failure(host, self._hostvars.raw_get(host))

    def _with_failure(self, host: str, known: t.Any) -> Mapping[str, t.Any]:
        if host not in self._failed:
            return t.cast(Mapping[str, t.Any], known)
        return ChainMap({"halo_integration_failure": self._failed[host]}, known)
