# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ordinary way: a module in a Python process of its own."""

from __future__ import annotations

import os
import sys

from ansible.module_utils.basic import AnsibleModule

from .errors import HaloError
from .run import Operation, execute
from .spec import Spec

OLDEST_PYTHON = (3, 11)


def python_too_old() -> str:
    """Why nothing can run on this Python, or an empty text: ansible-core 2.16 and 2.17 run on Python 3.10 as well."""
    if sys.version_info[:2] >= OLDEST_PYTHON:
        return ""
    here = ".".join(map(str, sys.version_info[:3]))
    return (
        f"haloops.halo needs Python 3.11 or newer, and this is Python {here} ({sys.executable}). Run Ansible on a "
        "newer one or, for a task that runs on another host, set ansible_python_interpreter. Nothing was changed."
    )


def run_module(operation: Operation) -> None:
    """Parse the arguments, run, and exit with the result or a clear error; never with a traceback."""
    module = AnsibleModule(
        argument_spec=operation.spec.with_connection(), supports_check_mode=True, **operation.spec.constraints
    )
    if refused := python_too_old():
        module.fail_json(msg=refused)
    try:
        result = execute(operation, module.params, check_mode=module.check_mode)
    except HaloError as error:
        module.fail_json(msg=str(error), error=error.failure())
    except Exception as error:
        module.fail_json(msg=internal_error(error))
    for text in result.pop("warnings", []):
        module.warn(text)
    module.exit_json(**result)


def run_on_controller(spec: Spec) -> None:
    """Refuse to run here: for what is done by an action plugin alone, where the store and the other hosts are known."""
    module = AnsibleModule(argument_spec=spec.with_connection(), supports_check_mode=True, **spec.constraints)
    module.fail_json(msg="This runs on the controller alone, through its action plugin.")


def internal_error(error: Exception) -> str:
    """A message for what should not happen: where, and of what kind, but not the values, which may be secret."""
    trace = error.__traceback__ or sys.exc_info()[2]
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f"{os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}" if trace else "an unknown place"
    return f"Unexpected {type(error).__name__} in {where} of the collection haloops.halo; please report it."
