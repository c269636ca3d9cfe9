# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs a task of the collection, or a lookup, in this process: the plugin that ships, without ansible-playbook."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest import mock

from ansible import constants as C
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import VaultSecret
from ansible.playbook.play_context import PlayContext
from ansible.playbook.task import Task
from ansible.plugins import loader as plugin_loader
from ansible.template import Templar

try:
    from ansible.template import trust_as_template
except ImportError:
    trust_as_template = None

COLLECTION = "haloops.halo."


@functools.cache
def _loaders() -> None:
    plugin_loader.init_plugin_loader([os.environ["ANSIBLE_COLLECTIONS_PATH"]])


def _trusted(value: Any) -> Any:
    """What stands in playbooks and inventories: from core 2.19 on nothing else is a template."""
    if isinstance(value, str):
        return trust_as_template(value) if "{{" in value and trust_as_template else value
    if isinstance(value, Mapping):
        return {key: _trusted(item) for key, item in value.items()}
    return [_trusted(item) for item in value] if isinstance(value, list) else value


def _loader(folder: Path, vault_password: str | None) -> DataLoader:
    loader = DataLoader()
    loader.set_basedir(str(folder))
    secrets = [("default", VaultSecret(vault_password.encode()))] if vault_password else []
    loader.set_vault_secrets(secrets)
    return loader


def task(
    module: str,
    args: Mapping[str, Any],
    variables: Mapping[str, Any],
    folder: Path,
    *,
    check_mode: bool = False,
    environment: Mapping[str, str] | None = None,
    vault_password: str | None = None,
    async_seconds: int = 0,
) -> dict[str, Any]:
    """The result of one task on one host.

    :param module: without the collection's name
    :param variables: the host's; ``inventory_dir`` is ``folder`` unless given
    :param environment: what the process has in its environment meanwhile
    """
    _loaders()
    loader = _loader(folder, vault_password)
    known = {
        "inventory_dir": str(folder),
        "playbook_dir": str(folder),
        "inventory_hostname": "halo",
        **_trusted(variables),
    }
    templar = Templar(loader=loader, variables=known)
    data = {"name": "one task", COLLECTION + module: _trusted(args), "check_mode": check_mode, "async": async_seconds}
    made = Task.load(data, loader=loader)
    made.args = templar.template(made.args)
    context = PlayContext()
    connection = plugin_loader.connection_loader.get("ansible.builtin.local", context)
    action = plugin_loader.action_loader.get(
        COLLECTION + module,
        task=made,
        connection=connection,
        play_context=context,
        loader=loader,
        templar=templar,
        shared_loader_obj=plugin_loader,
    )
    # of two hosts that share a folder each has its own
    tokens = folder / f"run-{os.uname().nodename}"
    tokens.mkdir(exist_ok=True)
    with mock.patch.dict(os.environ, environment or {}), mock.patch.object(C, "DEFAULT_LOCAL_TMP", str(tokens)):
        try:
            result: dict[str, Any] = action.run(task_vars=known)
        except AnsibleError as error:
            # as what runs a task does
            result = {"failed": True, "msg": str(error)}
    for left in tokens.iterdir():
        # a run of its own shares no token with the next
        left.unlink()
    return result


def lookup(
    name: str,
    terms: list[str],
    variables: Mapping[str, Any],
    folder: Path,
    *,
    environment: Mapping[str, str] | None = None,
    vault_password: str | None = None,
    **options: Any,
) -> list[Any]:
    """What a lookup returns for one host."""
    _loaders()
    loader = _loader(folder, vault_password)
    known = {"inventory_dir": str(folder), **_trusted(variables)}
    templar = Templar(loader=loader, variables=known)
    plugin = plugin_loader.lookup_loader.get(COLLECTION + name, loader=loader, templar=templar)
    with mock.patch.dict(os.environ, environment or {}):
        found: list[Any] = plugin.run(terms, variables=known, **options)
    return found
