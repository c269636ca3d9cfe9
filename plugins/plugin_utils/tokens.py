# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Access tokens that the tasks of one run share, in files that only this run can read."""

from __future__ import annotations

import json
import os
import tempfile
import time

try:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
except ImportError:
    # ansible-core itself needs it; without it each task gets a token of its own
    AESGCM = None  # type: ignore[assignment,misc]
    InvalidTag = OSError  # type: ignore[assignment,misc]

from ..module_utils.auth import NullTokenCache, Token

# Ansible's main process imports the action before it forks the worker that runs it, so that all workers of a run have
# the same key. It is in memory alone: what a killed run leaves behind cannot be decrypted any more.
_CIPHER = None if AESGCM is None else AESGCM(AESGCM.generate_key(bit_length=256))
_NONCE = 12


class TokenCache(NullTokenCache):
    """Tokens in encrypted files of a private folder that Ansible itself removes at the end of the run.

    :param folder: the run's own temporary folder; nothing is ever written anywhere else
    """

    MARGIN = 60

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def _path(self, key: str) -> str:
        return os.path.join(self._folder, "halo-token-" + key)

    def get(self, key: str) -> str | None:
        if not _CIPHER:
            return None
        try:
            with open(self._path(key), "rb") as file:
                sealed = file.read()
            kept = json.loads(_CIPHER.decrypt(sealed[:_NONCE], sealed[_NONCE:], key.encode()))
            return str(kept["token"]) if kept["until"] > time.time() else None
        except (OSError, ValueError, InvalidTag):
            return None

    def put(self, key: str, token: Token) -> None:
        if not _CIPHER:
            return
        kept = {"token": token.value, "until": time.time() + token.expires_in - self.MARGIN}
        nonce = os.urandom(_NONCE)
        try:
            # mkstemp makes it 0600, and a rename is atomic: another task sees the whole token or none
            handle, draft = tempfile.mkstemp(dir=self._folder)
            with os.fdopen(handle, "wb") as file:
                file.write(nonce + _CIPHER.encrypt(nonce, json.dumps(kept).encode(), key.encode()))
            os.replace(draft, self._path(key))
        except OSError:
            # sharing saves a request; the task does not depend on it
            return

    def drop(self, key: str, value: str) -> None:
        if self.get(key) == value:
            try:
                os.unlink(self._path(key))
            except OSError:
                return
