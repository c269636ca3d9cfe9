# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The fast way: an operation inside the controller's worker process, without starting a Python for it.

What AnsibleModule does for a module is done here: validation of the arguments, the task's environment, check mode,
``invocation``, masking of secret values. A task that cannot run here is sent out as the ordinary module, with the same
result. Either way a result that carries a client secret is censored.
"""

from __future__ import annotations

import contextlib
import os
import typing as t

from ansible import constants as C
from ansible.errors import AnsibleError
from ansible.module_utils.common.arg_spec import ModuleArgumentSpecValidator
from ansible.module_utils.common.parameters import remove_values
from ansible.module_utils.errors import UnsupportedError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase

from ..module_utils.auth import SharedTokens
from ..module_utils.errors import HaloError
from ..module_utils.http import REQUESTS_ERROR
from ..module_utils.module import internal_error
from ..module_utils.run import Operation, execute
from ..module_utils.spec import Spec

Result = dict[str, t.Any]


class HaloAction(ActionBase):
    """Base of the action plugins: set ``operation``."""

    operation: t.ClassVar[Operation]

    _supports_check_mode = True
    _supports_async = True
    _supports_diff = True

    def run(self, tmp: t.Any = None, task_vars: t.Any = None) -> Result:
        task_vars = task_vars or {}
        result: Result = super().run(tmp, task_vars)
        if self._task.async_val and self.operation.may_return_secret(self._converted()):
            return {
                "failed": True,
                "msg": "A task that may make a client secret cannot run with async: its result would be written to "
                "disk. Remove async, or set regenerate_secret: never or defer_rotation: true.",
            }
        if self._runs_here(task_vars):
            result.update(self._run_here())
            if not _shows_invocation(task_vars):
                result.pop("invocation", None)
        else:
            result.update(self._run_module(task_vars))
        if result.get("client_secret"):
            self._censor(result)
        return result

    def _censor(self, result: Result) -> None:
        """Hide the result from every output; a registered variable still holds it."""
        result["_ansible_no_log"] = True
        # before core 2.19 the result of a whole loop asks the task alone
        self._task.no_log = True

    def _runs_here(self, task_vars: Result) -> bool:
        if REQUESTS_ERROR or self._task.async_val or self._connection.become:
            return False
        wanted = task_vars.get("halo_in_process", os.environ.get("HALO_IN_PROCESS") or True)
        if not boolean(self._templar.template(wanted), strict=False):
            return False
        return bool(self._connection.transport == "local")

    def _run_module(self, task_vars: Result) -> Result:
        wrap_async = self._task.async_val and not self._connection.has_native_async
        result: Result = self._execute_module(task_vars=task_vars, wrap_async=wrap_async)
        if not wrap_async:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        return result

    def _converted(self) -> Result:
        """The arguments with their defaults and in their types, as far as they are valid."""
        return self._validator(self.operation.spec).validate(plain(self._task.args)).validated_parameters

    def _validator(self, spec: Spec) -> ModuleArgumentSpecValidator:
        return ModuleArgumentSpecValidator(spec.with_connection(), **spec.constraints)

    def _run_here(self) -> Result:
        with self._environment():
            return self._validated(self.operation.spec, self._execute)

    def _validated(self, spec: Spec, run: t.Callable[[Result], Result]) -> Result:
        """Check the task's arguments as a module would, call ``run`` with them, and mask secrets in what it returns.

        What stands under ``entry`` is a secret by itself: it is not masked, and the whole result is censored.
        """
        checked = self._validator(spec).validate(plain(self._task.args))
        params = checked.validated_parameters
        if checked.error_messages:
            error = checked.errors[0]
            text = str(error.msg)
            if isinstance(error, UnsupportedError):
                text = f"Unsupported parameters for ({self._task.action}) module: {text}"
            result: Result = {"failed": True, "msg": text}
        else:
            result = run(params)
        result["invocation"] = {"module_args": params}
        kept = {name: result.pop(name) for name in ("entry",) if name in result}
        return {**remove_values(result, checked._no_log_values), **kept}

    def _execute(self, params: Result) -> Result:
        try:
            tokens = SharedTokens(run_folder())
            return execute(self.operation, params, check_mode=bool(self._task.check_mode), tokens=tokens)
        except HaloError as error:
            return {"failed": True, "msg": str(error), "error": error.failure()}
        except Exception as error:
            return {"failed": True, "msg": internal_error(error)}

    @contextlib.contextmanager
    def _environment(self) -> t.Iterator[None]:
        """The task's ``environment:`` for the time of the call; this worker serves no other task meanwhile."""
        wanted: Result = {}
        self._compute_environment_string(wanted)
        if not wanted:
            yield
            return
        before = dict(os.environ)
        os.environ.update({str(name): str(value) for name, value in wanted.items()})
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


def _shows_invocation(task_vars: Result) -> bool:
    """Whether the result of a module would hold its arguments: always, before core 2.20 made it a setting."""
    try:
        return bool(C.config.get_config_value("INJECT_INVOCATION", variables=task_vars))
    except AnsibleError:
        return True


def run_folder() -> str:
    """The run's own temporary folder, which Ansible removes. Asking the configuration for it would make another one."""
    return str(C.DEFAULT_LOCAL_TMP)  # type: ignore[attr-defined]


def plain(value: t.Any) -> t.Any:
    """Templated values as the plain types that a module would get from JSON; vaulted strings are decrypted."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, t.Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(item) for item in value]
    for kind in (int, float):
        if isinstance(value, kind):
            return kind(value)
    # of a str subclass, str() may return the subclass again
    return str.__str__(value if isinstance(value, str) else str(value))
