# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A preflight inside the controller's worker: the store first, for which Halo is not needed, then Halo."""

from __future__ import annotations

from ..module_utils.binding import SystemClock
from ..module_utils.errors import HaloError
from ..module_utils.http import sleep
from ..module_utils.preflight import PREFLIGHT, Check, look_at_halo, look_at_store, of_error, result
from ..module_utils.run import Context, Operation, execute
from .action import Result, say
from .binding_action import BindingAction
from .store_move import described
from .stores import from_variables, open_store


class PreflightAction(BindingAction):
    operation = Operation(PREFLIGHT, lambda context: {})

    def _converge(self, params: Result, task_vars: Result) -> Result:
        check_mode, clock = bool(self._task.check_mode), SystemClock(sleep)
        try:
            name, place = from_variables(task_vars, self._loader, templar=self._templar, given=params)
        except HaloError as error:
            return result([of_error("store", error)], instance="", check_mode=check_mode, changed=False)
        stored, changed = look_at_store(
            lambda: (described(name, place), open_store(name, place)),
            params["store_marker"],
            now=clock.now().isoformat(timespec="seconds"),
            check_mode=check_mode,
        )

        def run(context: Context) -> Result:
            checks = [*look_at_halo(context.client, clock, params["max_skew"]), *stored]
            return result(checks, instance=context.client.instance, check_mode=check_mode, changed=changed)

        try:
            # no token of another task: a new one is what is to be proven
            return execute(Operation(PREFLIGHT, run), params, check_mode=check_mode, say=say)
        except HaloError as error:
            checks: list[Check] = [of_error("connection", error), *stored]
            return result(checks, instance=place.instance, check_mode=check_mode, changed=changed)
