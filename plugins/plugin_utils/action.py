# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The fast way: an operation inside the controller's worker process, without starting a Python for it.

What AnsibleModule does for a module is done here: validation of the arguments, the task's environment, check mode,
``invocation``, masking of secret values. A task that cannot run here is sent out as the ordinary module, with the same
result. Either way the connection may come from the host's variables, an option that is wrong is named with its place,
and a result that carries a client secret is censored.
"""

from __future__ import annotations

import contextlib
import os
import typing as t
from collections.abc import Mapping

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ..module_utils.errors import HaloError
from ..module_utils.http import REQUESTS_ERROR
from ..module_utils.module import internal_error, python_too_old
from ..module_utils.options import complaints, concealed
from ..module_utils.run import Operation, execute
from ..module_utils.spec import CONNECTION, Spec
from .compat import masked, register_secrets, run_folder, shows_invocation
from .connection import connection_arguments
from .tokens import TokenCache

Result = dict[str, t.Any]
display = Display()


class HaloAction(ActionBase):
    """Base of the action plugins: set ``operation``."""

    operation: t.ClassVar[Operation]

    _supports_check_mode = True
    _supports_async = True

    # what the task was given: one with retries runs again
    _given: Result | None = None

    def run(self, tmp: t.Any = None, task_vars: t.Any = None) -> Result:
        """What the executor calls.

        The arguments go back to the main process with the result, for callbacks to see: a secret is taken out of them,
        also where a variable of the host or the task's author has put it in.
        """
        if self._given is None:
            self._given = self._task.args
        self._task.args = self._given
        try:
            return self._run(tmp, task_vars or {})
        finally:
            self._task.args = concealed(self.operation.spec.with_connection(), self._given)

    def _run(self, tmp: t.Any, task_vars: Result) -> Result:
        result: Result = super().run(tmp, task_vars)
        if refused := python_too_old():
            return {**result, "failed": True, "msg": refused}
        self._task.args = self._with_connection(task_vars)
        if self._task.async_val and self.operation.may_return_secret(self._converted()):
            return {
                "failed": True,
                "msg": "A task that may make a client secret cannot run with async: its result would be written to "
                "disk. Remove async, or set regenerate_secret: never or defer_rotation: true.",
            }
        if self._runs_here(task_vars):
            result.update(self._run_here())
            if not shows_invocation(task_vars):
                result.pop("invocation", None)
        else:
            result.update(self._misused(self.operation.spec) or self._run_module(task_vars))
        if result.get("client_secret"):
            self._censor(result)
        return result

    def _with_connection(self, task_vars: Result) -> Result:
        """The task's arguments, with the connection options that it does not set as the host's variables have them."""
        others = {name: value for name, value in self._task.args.items() if name not in CONNECTION}
        return {**others, **connection_arguments(self._task.args, task_vars, self._templar.template)}

    def _censor(self, result: Result) -> None:
        """Hide the result from every output; a registered variable still holds it."""
        if secret := result.get("client_secret"):
            # from core 2.22 on this also hides it where a later task shows it
            register_secrets([str(secret)])
        result["_ansible_no_log"] = True
        # before core 2.19 the result of a whole loop asks the task alone
        self._task.no_log = True

    def _runs_here(self, task_vars: Result) -> bool:
        if REQUESTS_ERROR or self._task.async_val or self._connection.become:
            return False
        setting = task_vars.get("halo_in_process", os.environ.get("HALO_IN_PROCESS") or True)
        if not boolean(self._templar.template(setting), strict=False):
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

    def _validator(self, spec: Spec) -> ArgumentSpecValidator:
        return ArgumentSpecValidator(spec.with_connection(), **spec.constraints)

    def _misused(self, spec: Spec, args: Result | None = None) -> Result:
        """The result of a task whose options are wrong, in words that name the place; empty if they are right."""
        found = complaints(spec.with_connection(), plain(self._task.args if args is None else args))
        if not found:
            return {}
        sentences = " ".join(text if text.endswith("?") else f"{text}." for text in found)
        return {"failed": True, "msg": f"{self._task.resolved_action or self._task.action}: {sentences}"}

    def _run_here(self) -> Result:
        with self._environment():
            return self._validated(self.operation.spec, self._execute)

    def _validated(self, spec: Spec, run: t.Callable[[Result], Result]) -> Result:
        """Check the task's arguments as a module would, call ``run`` with them, and mask secrets in what it returns."""
        if refused := self._misused(spec):
            return refused
        checked = self._validator(spec).validate(plain(self._task.args))
        params = checked.validated_parameters
        if checked.error_messages:
            result: Result = {"failed": True, "msg": str(checked.error_messages[0])}
        else:
            result = run(params)
        result["invocation"] = {"module_args": params}
        return masked(result, checked)

    def _execute(self, params: Result) -> Result:
        try:
            tokens = TokenCache(run_folder())
            return execute(self.operation, params, check_mode=bool(self._task.check_mode), tokens=tokens, say=say)
        except HaloError as error:
            return {"failed": True, "msg": str(error), "error": error.failure()}
        except Exception as error:
            return {"failed": True, "msg": internal_error(error)}

    @contextlib.contextmanager
    def _environment(self) -> t.Iterator[None]:
        """The task's ``environment:`` for the time of the call; this worker serves no other task meanwhile."""
        environment: Result = {}
        self._compute_environment_string(environment)
        if not environment:
            yield
            return
        before = dict(os.environ)
        os.environ.update({str(name): str(value) for name, value in environment.items()})
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


def say(text: str) -> None:
    """Show a line at once, from the worker; on standard error, since the other may be read by a program."""
    display.display(text, stderr=True)


_PLAIN = (str, bool, int, float)


def plain(value: t.Any) -> t.Any:
    """Templated values as the plain types that a module would get from JSON; vaulted strings are decrypted."""
    if value is None or type(value) in _PLAIN:
        return value
    if isinstance(value, Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(item) for item in value]
    for kind in (int, float):
        if isinstance(value, kind):
            return kind(value)
    # of a str subclass, str() may return the subclass again
    return str.__str__(value if isinstance(value, str) else str(value))
