# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Actions that work with stored secrets; the store is always the controller's."""

from __future__ import annotations

import os
import typing as t

from ..module_utils.auth import address
from ..module_utils.binding import bindings
from ..module_utils.credential import CREDENTIAL, advance
from ..module_utils.errors import HaloError
from ..module_utils.lifecycle import LABELS, entry
from ..module_utils.module import internal_error
from ..module_utils.spec import CONNECTION
from .action import HaloAction, Result, plain, run_folder
from .store import STORES, FileStore, Lock


class StoreAction(HaloAction):
    """What both actions need: the tenant's store, and its lock."""

    operation = bindings()

    def run(self, tmp: t.Any = None, task_vars: t.Any = None) -> Result:
        if self._task.async_val:
            return {"failed": True, "msg": "Stored secrets are the controller's, and async would write them to disk."}
        result = super().run(tmp, task_vars)
        if "entry" in result:
            self._censor(result)
        return result

    def _guarded(self, work: t.Callable[[], Result]) -> Result:
        try:
            return work()
        except HaloError as error:
            return {"failed": True, "msg": str(error), "error": error.failure()}
        except Exception as error:
            return {"failed": True, "msg": internal_error(error)}

    def _tenant(self, params: t.Mapping[str, t.Any]) -> str:
        url = address("halo_url", params.get("halo_url") or os.environ.get("HALO_URL"))
        name = params.get("halo_tenant") or os.environ.get("HALO_TENANT")
        return f"{url} {name}" if name else url

    def _store(self, params: t.Mapping[str, t.Any]) -> FileStore | None:
        """The built-in store that the options name; None where the user's own task files are the store."""
        if params.get("store") not in STORES:
            return None
        if not params.get("store_dir"):
            raise HaloError(f"the store {params['store']} needs store_dir.")
        vault = self._loader._vault if params["store"] == "vault_file" else None
        return FileStore(str(params["store_dir"]), self._tenant(params), vault)

    def _lock(self, params: t.Mapping[str, t.Any]) -> Lock:
        # beside the run's own temporary folder is the one place that all runs of a user share
        shared = os.path.dirname(run_folder())
        folder = params.get("store_dir") if params.get("store") in STORES else shared
        return Lock(str(folder), self._tenant(params))


class BindingAction(StoreAction):
    """Converge the bindings of a tenant; the secrets of a built-in store are read here."""

    def run(self, tmp: t.Any = None, task_vars: t.Any = None) -> Result:
        if self._task.args.get("store"):
            self._task.args = self._connected(task_vars or {})
        if self._task.args.get("store", STORES[0]) not in STORES and self._task.args.get("stored") is None:
            return {"changed": False, "skipped": True, "skip_reason": "the stored entries were not given"}
        with self._environment():
            refused = self._guarded(lambda: self._prepare(task_vars or {}))
        if refused:
            return refused
        result = super().run(tmp, task_vars)
        # with the stored entries it would be the largest part of what the run keeps of each tenant
        result.pop("invocation", None)
        if not self._task.check_mode and (result.get("failed") or not result.get("todo")):
            with self._environment():
                self._guarded(self._give_back)
        return result

    def _connected(self, task_vars: Result) -> Result:
        """The task's arguments, with the connection as the host's variables tell it.

        To have the task's arguments refer to the same variables would take a template for each, which costs a
        converged tenant more than any other part of its run.
        """
        told = {name: self._templar.template(task_vars[name]) for name in CONNECTION if name in task_vars}
        return {**{name: value for name, value in self._task.args.items() if name not in CONNECTION}, **told}

    def _give_back(self) -> Result:
        params = plain(self._task.args)
        if params.get("store"):
            self._lock(params).release()
        return {}

    def _prepare(self, task_vars: Result) -> Result:
        """Take the lock and put the stored entries into the arguments; a failed result where that cannot be done."""
        params = plain(self._task.args)
        if not params.get("store"):
            return {}
        store = self._store(params)
        # playbooks of a collection do not lie beside the user's files
        known = (task_vars.get("inventory_dir"), task_vars.get("playbook_dir"), os.environ.get("PWD"))
        places = [str(place) for place in known if place]
        for one in params.get("bindings") or []:
            if isinstance(one, dict) and one.get("on_rotated"):
                one["on_rotated"] = self._tasks_file(str(one["on_rotated"]), places)
        if not self._task.check_mode:
            self._lock(params).take()
        if store:
            names = [one.get("name") for one in params.get("bindings") or [] if isinstance(one, dict)]
            found = [{"name": str(name), **store.read(str(name))} for name in names if name]
            params["stored"] = found
        self._task.args = params
        return {}

    def _tasks_file(self, name: str, places: list[str]) -> str:
        """The absolute path of the user's tasks for a new secret, which must be there before one is made."""
        name = os.path.expanduser(name)
        for place in places:
            path = os.path.abspath(os.path.join(place, name))
            if os.path.isfile(path):
                return path
        if os.path.isfile(name) and os.path.isabs(name):
            return name
        raise HaloError(f"on_rotated: there is no file {name} in {', '.join(places) or 'any place'}.")


class CredentialAction(StoreAction):
    """One step in the life of a stored secret."""

    def _runs_here(self, task_vars: Result) -> bool:
        return True

    def _run_here(self) -> Result:
        with self._environment():
            return self._validated(CREDENTIAL, lambda params: self._guarded(lambda: self._step(params)))

    def _step(self, params: Result) -> Result:
        if params["step"] == "release":
            self._lock(params).release()
            return {"changed": False}
        store = self._store(params)
        if params["step"] == "claim" and not self._task.check_mode:
            self._lock(params).take()
        now = store.read(params["name"]) if store else entry(params["entry"])
        if params["step"] not in ("read", "claim", "begin") and not any(now[label] for label in LABELS):
            raise HaloError(f"the store holds nothing for '{params['name']}'.", instance=self._tenant(params))
        new = advance(now, params)
        changed = new != now
        if store and changed and not self._task.check_mode:
            store.write(params["name"], new)
        return {"changed": changed, "entry": new}
