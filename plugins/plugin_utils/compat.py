# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is not public in ansible-core, or differs between its versions: each such use once, with the reason.

What a base class offers to those that inherit from it, with an underscore or not, is taken for public.
"""

from __future__ import annotations

import typing as t

from ansible import constants as C
from ansible.errors import AnsibleError
from ansible.module_utils.common.arg_spec import ValidationResult
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import VaultLib

Result = dict[str, t.Any]

try:
    from ansible.module_utils import secrets  # type: ignore[attr-defined,unused-ignore]
except ImportError:
    # before core 2.22
    secrets = None  # type: ignore[assignment,unused-ignore]


def register_secrets(values: t.Iterable[str]) -> None:
    """From core 2.22: have all output of the run hide these texts. Before, only what a task returns can be hidden."""
    if secrets:
        secrets.register_secrets(values)


def masked(result: Result, checked: ValidationResult) -> Result:
    """A result as AnsibleModule of this core would return it: without the values of options with ``no_log``.

    From core 2.22 the validation itself registers them, all output hides them, and the result stays as it is;
    ``remove_values`` is deprecated there, to go in 2.25. Before, no public attribute holds these values.
    """
    if secrets:
        return result
    from ansible.module_utils.common.parameters import remove_values

    return dict(remove_values(result, checked._no_log_values))


def shows_invocation(task_vars: Result) -> bool:
    """Whether the result of a module would hold its arguments: always, before core 2.20 made it a setting.

    A setting whose default depends on the task's variables has no constant in ``ansible.constants``.
    """
    try:
        return bool(C.config.get_config_value("INJECT_INVOCATION", variables=task_vars))
    except AnsibleError:
        return True


def run_folder() -> str:
    """The run's own temporary folder, which Ansible removes. Asking the configuration for it would make another one."""
    return str(C.DEFAULT_LOCAL_TMP)  # type: ignore[attr-defined]


def vault(loader: DataLoader) -> VaultLib:
    """What encrypts and decrypts with the vault passwords of the run; its ``secrets`` are empty where there are none.

    From core 2.19 the passwords are at VaultSecretsContext; before, and where Ansible is used as a library, only the
    loader has them, without a public name.
    """
    try:
        from ansible.parsing.vault import VaultSecretsContext
    except ImportError:
        context = None
    else:
        context = VaultSecretsContext.current(optional=True)
    return VaultLib(context.secrets) if context else loader._vault
