# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Encryption with Ansible Vault, by the secrets of the run."""

from __future__ import annotations

import typing as t

from ansible import constants as C
from ansible.errors import AnsibleError
from ansible.parsing.vault import match_encrypt_secret

from ...module_utils.errors import HaloError
from . import Place


class Cipher:
    """Encrypts and decrypts what a store keeps.

    :param store: its name
    :raises HaloError: the run has no vault secret, or not the one that it shall encrypt with
    """

    def __init__(self, place: Place, store: str) -> None:
        vault = place.vault() if place.vault else None
        if not (vault and vault.secrets):
            raise HaloError(
                f"the store {store} needs a vault secret, and this run has none.",
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

    def seal(self, content: bytes) -> bytes:
        sealed: bytes = self._vault.encrypt(content, self._secret, self._vault_id)
        return sealed

    def unseal(self, content: bytes) -> bytes | None:
        """What was encrypted; None where no vault secret of the run opens it."""
        try:
            plain: bytes = self._vault.decrypt(content)
        except AnsibleError:
            return None
        return plain
