# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plain files. Whoever can read the disk or its backups reads the secrets."""

from __future__ import annotations

import shlex

from ansible.parsing.vault import VaultLib

from ...module_utils.errors import HaloError
from ._files import FileStore


class Store(FileStore):
    """Plain files of mode 0600."""

    name = "file"

    def _seal(self, content: bytes) -> bytes:
        return content

    def _unseal(self, path: str, content: bytes) -> bytes:
        if VaultLib.is_encrypted(content):
            raise HaloError(
                f"{path} is encrypted, and the store is 'file'.",
                hint="Set halo_integration_store: vault_file, or copy all entries to another folder with the playbook "
                "haloops.halo.store_move, or decrypt this one where it is: "
                f"ansible-vault decrypt {shlex.quote(path)}",
            )
        return content
