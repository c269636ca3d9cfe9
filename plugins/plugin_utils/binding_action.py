# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The engine inside the controller's worker: the bindings of one tenant, with the store where its secrets are kept."""

from __future__ import annotations

import os
import typing as t
from collections.abc import Mapping

from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase

from ..module_utils.binding import BINDINGS, SystemClock, Tenant, asked_for, converge, decommission
from ..module_utils.errors import HaloError
from ..module_utils.http import sleep
from ..module_utils.module import internal_error, python_too_old
from ..module_utils.rotation import Store, deliver
from ..module_utils.run import Context, Operation, execute
from ..module_utils.spec import Spec, fold
from .action import HaloAction, Result, say
from .compat import run_folder
from .fleet import as_one_of_many
from .stores import from_variables, import_stores, open_store
from .tokens import TokenCache
from .trail import open_trail

import_stores()


# Options, and the variables that stand in for them: as arguments of the role's task each would be a template.
FROM_ROLE = {
    "bindings_extra": "halo_integration_bindings_extra",
    "verify": "halo_integration_verify",
    "jitter": "halo_integration_jitter",
    "window": "halo_integration_window",
    "log_path": "halo_integration_log_path",
    "decommission_agent": "halo_integration_decommission_agent",
    "decommission_adopted": "halo_integration_decommission_adopted",
}
# of the playbooks: true in rotate, which a survey's answer to the role's variable is not to defeat; false in audit,
# where a secret that is asked for is no drift
ROTATE_ALL = "halo_integration_rotate_all"


class BindingAction(HaloAction):
    """Runs on the controller, whatever the host's connection: that is where the store is."""

    operation = Operation(BINDINGS, lambda context: {})

    def _run(self, tmp: t.Any, task_vars: Result) -> Result:
        result: Result = ActionBase.run(self, tmp, task_vars)
        if too_old := python_too_old():
            return {**result, "failed": True, "msg": too_old}
        fleet = self._task.args.get("fleet")
        if not isinstance(fleet, Mapping):
            return {**result, **self._one(task_vars)}
        option = {"fleet": self.operation.spec.options["fleet"]}
        if refused := self._misused(Spec(option), {"fleet": fleet}):
            return {**result, **refused}
        check_mode = bool(self._task.check_mode)
        return {**result, **as_one_of_many(fleet, task_vars, check_mode, lambda: self._one(task_vars))}

    def _one(self, task_vars: Result) -> Result:
        """The result of the work on one tenant."""
        if self._task.async_val:
            return {
                "failed": True,
                "msg": "The stored secrets are the controller's, and async would write them to disk. Remove async.",
            }
        with self._environment():
            try:
                self._task.args = _joined({**self._of_role(task_vars), **self._with_connection(task_vars)})
            except HaloError as error:
                return {"failed": True, "msg": str(error)}
            result = self._validated(self.operation.spec, lambda params: self._guarded(params, task_vars))
        # it would be the largest part of what a run keeps, and the options of a store may hold its credentials
        result.pop("invocation", None)
        return result

    def _of_role(self, task_vars: Result) -> Result:
        known = self.operation.spec.options
        names = {option: name for option, name in FROM_ROLE.items() if option in known and name in task_vars}
        # as a dictionary: what is omitted drops out of it
        found = self._templar.template({option: task_vars[name] for option, name in names.items()})
        return {option: value for option, value in found.items() if value not in (None, "", task_vars.get("omit"))}

    def _guarded(self, params: Result, task_vars: Result) -> Result:
        try:
            return self._converge(params, task_vars)
        except HaloError as error:
            return {"failed": True, "msg": str(error), "error": error.failure()}
        except Exception as error:
            return {"failed": True, "msg": internal_error(error)}

    def _converge(self, params: Result, task_vars: Result) -> Result:
        if params["bindings"] is None and not params["acknowledge"]:
            raise HaloError("bindings is null.", hint="Give a list; an empty one where there are none.")
        check_mode = bool(self._task.check_mode)
        name, place = from_variables(task_vars, self._loader, templar=self._templar, given=params)
        store: Store = open_store(name, place)
        if params["acknowledge"]:
            done = params["acknowledge"]
            return {"changed": deliver(store, done["name"], done["made_at"], check_mode=check_mode)}
        if ROTATE_ALL in task_vars:
            asked = asked_for(params["rotate"])
            params["rotate"] = boolean(task_vars[ROTATE_ALL]) and (asked if asked == "rollback" else True)
        if params["state"] == "present":
            self._find_tasks(params["bindings"], task_vars)
        trail = open_trail(params["log_path"], place, task_vars)
        work = converge if params["state"] == "present" else decommission

        def run(context: Context) -> Result:
            timeout = context.client.login.connection.timeout
            tenant = Tenant(context.client, store, SystemClock(sleep), timeout, check_mode, trail=trail)
            return work(tenant, context.params)

        tokens = TokenCache(run_folder())
        return execute(Operation(BINDINGS, run), params, check_mode=check_mode, tokens=tokens, say=say)

    def _find_tasks(self, bindings: list[Result], task_vars: Result) -> None:
        """Make each ``on_rotated`` an absolute path: the file must be there before a secret is made.

        :raises HaloError: there is no such file
        """
        # playbooks of a collection do not lie beside the user's files
        known = (task_vars.get("inventory_dir"), task_vars.get("playbook_dir"), os.environ.get("PWD"))
        # without an inventory folder Ansible says None in words
        places = [str(place) for place in known if place and str(place) != "None"]
        for spec in bindings:
            if not spec["on_rotated"]:
                continue
            name = os.path.expanduser(spec["on_rotated"])
            candidates = [os.path.abspath(os.path.join(place, name)) for place in places or ["."]]
            found = next((path for path in candidates if os.path.isfile(path)), None)
            if found is None:
                where = "" if os.path.isabs(name) else f" in {', '.join(places)}"
                raise HaloError(
                    f"on_rotated: there is no file {name}{where}.",
                    subject=f"binding '{spec['name']}'",
                    hint="It must be there before a secret is made. Give its path, relative to the inventory.",
                )
            spec["on_rotated"] = found


def _joined(args: Result) -> Result:
    """The arguments with ``bindings_extra`` among the ``bindings``.

    :raises HaloError: a name is in both
    """
    bindings, extra = args.get("bindings"), args.get("bindings_extra")
    if not (extra and isinstance(extra, list) and isinstance(bindings, list)):
        # what is of a wrong type is left to the validation, and an acknowledgement has none
        return args
    if not all(isinstance(spec, Mapping) for spec in extra):
        return args
    names = {fold(spec["name"]) for spec in bindings if isinstance(spec, Mapping) and spec.get("name")}
    for spec in extra:
        if spec.get("name") and fold(spec["name"]) in names:
            raise HaloError(
                f"the binding '{spec['name']}' is in both bindings (halo_integration_bindings) and bindings_extra "
                "(halo_integration_bindings_extra).",
                hint="Give it another name in one of them, or declare it in one place.",
            )
    return {**args, "bindings": [*bindings, *extra], "bindings_extra": []}
