# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files that are encrypted with Ansible Vault, by the secrets of the run."""

from __future__ import annotations

import shlex

from ansible.parsing.vault import VaultLib

from ...module_utils.errors import HaloError
from . import Place
from ._files import FileStore
from ._vault import Cipher


class Store(FileStore):
    """Vault files of mode 0600.

    :raises HaloError: the run has no vault secret, or not the one that it shall encrypt with
    """

    name = "vault_file"

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._cipher = Cipher(place, self.name)

    def _seal(self, content: bytes) -> bytes:
        return self._cipher.seal(content)

    def _unseal(self, path: str, content: bytes) -> bytes:
        if not VaultLib.is_encrypted(content):
            raise HaloError(
                f"{path} is not encrypted, and the store is 'vault_file'.",
                hint="Set halo_integration_store: file, or copy all entries to another folder with the playbook "
                "haloops.halo.store_move, or encrypt this one where it is: "
                f"ansible-vault encrypt {shlex.quote(path)}",
            )
        plain = self._cipher.unseal(content)
        if plain is None:
            raise HaloError(
                f"{path} cannot be decrypted with the vault secrets of this run.",
                hint="Run with the vault password that it was written with. If the file is damaged, restore it.",
            )
        return plain
