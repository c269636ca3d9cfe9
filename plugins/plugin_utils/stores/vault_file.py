# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files that are encrypted with Ansible Vault, by the secrets of the run."""

from __future__ import annotations

import shlex
import typing as t

from ansible import constants as C
from ansible.errors import AnsibleError
from ansible.parsing.vault import VaultLib, match_encrypt_secret

from ...module_utils.errors import HaloError
from . import Place
from ._files import FileStore


class Store(FileStore):
    """Vault files of mode 0600.

    :raises HaloError: the run has no vault secret, or not the one that it shall encrypt with
    """

    name = "vault_file"

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        vault = place.vault() if place.vault else None
        if not (vault and vault.secrets):
            raise HaloError(
                "the store vault_file needs a vault secret, and this run has none.",
                instance=place.instance,
                hint="Nothing was changed. Run with --vault-password-file or --vault-id; in Controller, give the job "
                "template a credential of the type Vault.",
            )
        identity = C.config.get_config_value("DEFAULT_VAULT_ENCRYPT_IDENTITY")
        try:
            self._vault_id, self._secret = match_encrypt_secret(vault.secrets, identity)
        except AnsibleError:
            raise HaloError(
                f"the run has no secret of the vault ID '{identity}', which it is to encrypt with.",
                instance=place.instance,
                hint="Nothing was changed. Give that one with --vault-id, or change vault_encrypt_identity "
                "(ANSIBLE_VAULT_ENCRYPT_IDENTITY).",
            ) from None
        self._vault: t.Any = vault

    def _seal(self, content: bytes) -> bytes:
        sealed: bytes = self._vault.encrypt(content, self._secret, self._vault_id)
        return sealed

    def _unseal(self, path: str, content: bytes) -> bytes:
        if not VaultLib.is_encrypted(content):
            raise HaloError(
                f"{path} is not encrypted, and the store is 'vault_file'.",
                hint="Set halo_integration_store: file, or copy all entries to another folder with the playbook "
                "haloops.halo.store_move, or encrypt this one where it is: "
                f"ansible-vault encrypt {shlex.quote(path)}",
            )
        try:
            plain: bytes = self._vault.decrypt(content)
        except AnsibleError:
            raise HaloError(
                f"{path} cannot be decrypted with the vault secrets of this run.",
                hint="Run with the vault password that it was written with. If the file is damaged, restore it.",
            ) from None
        return plain
