# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SQLite: rows (JSON documents), counters, hashed secrets and hashed tokens, of all tenants in one file."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import secrets
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .seed import Seed

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tenants (name TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS rows (
    n INTEGER PRIMARY KEY, tenant TEXT NOT NULL, kind TEXT NOT NULL, id NOT NULL, document TEXT NOT NULL,
    UNIQUE (tenant, kind, id));
CREATE TABLE IF NOT EXISTS counters (
    tenant TEXT, name TEXT, value INTEGER NOT NULL, PRIMARY KEY (tenant, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS secrets (
    tenant TEXT, application TEXT, salt BLOB NOT NULL, hash BLOB NOT NULL, PRIMARY KEY (tenant, application)
    ) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tokens (
    hash BLOB PRIMARY KEY, tenant TEXT NOT NULL, agent INTEGER NOT NULL, scope TEXT NOT NULL, expires REAL NOT NULL
    ) WITHOUT ROWID;
"""
# Lists of documents kept parsed, some seven per tenant in use; about 10 KB each.
_CACHED = 10_000
# {"alg":"RS256","typ":"at+jwt"}
_JWT_HEAD = "eyJhbGciOiJSUzI1NiIsInR5cCI6ImF0K2p3dCJ9"
_OF_A_TENANT = ("rows", "counters", "secrets", "tokens")


def _hash(salt: bytes, secret: str) -> bytes:
    # One round: the secrets are random and long, so a slow hash would protect nothing and only distort benchmarks.
    return hashlib.sha256(salt + secret.encode(errors="surrogatepass")).digest()


class Store:
    """All state that survives a restart. Not for use by several threads."""

    def __init__(self, directory: Path) -> None:
        path = directory / "sandbox.sqlite3"
        # Made here with its mode, because the key in it gives away the seed's credentials.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        self._cache: dict[tuple[str, str], dict[Any, dict[str, Any]]] = {}
        self._stale: dict[tuple[str, str], tuple[dict[Any, dict[str, Any]], int]] = {}
        self._unread: dict[tuple[str, str, Any], tuple[dict[str, Any] | None, int]] = {}
        self._db = sqlite3.connect(path, isolation_level=None, cached_statements=64)
        # NORMAL: a commit survives the death of the process (kill -9), not that of the machine.
        self._db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;" + _SCHEMA)
        key = self.meta("key")
        if key is None:
            key = secrets.token_hex(32)
            self.set_meta("key", key)
        self.seed = Seed(bytes.fromhex(key))
        self._ready = {name for (name,) in self._db.execute("SELECT name FROM tenants")}
        self._db.execute("DELETE FROM tokens WHERE expires < ?", (time.time(),))

    def close(self) -> None:
        self._db.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing: an exception inside takes everything back."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            self._cache.clear()
            raise
        self._db.execute("COMMIT")

    def meta(self, name: str) -> str | None:
        found = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return str(found[0]) if found else None

    def set_meta(self, name: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    # Tenants

    def prepare(self, tenant: str) -> None:
        """Give a tenant its seed when it is first used: thousands that nobody asks for cost nothing."""
        if tenant in self._ready:
            return
        contents = self.seed.contents(tenant)
        with self.transaction():
            for kind, number, document in contents.rows:
                self.put(tenant, kind, number, document)
            for name, value in contents.counters.items():
                self._db.execute("INSERT INTO counters VALUES (?, ?, ?)", (tenant, name, value))
            for application, secret in contents.secrets.items():
                self.set_secret(tenant, application, secret)
            self._db.execute("INSERT INTO tenants VALUES (?)", (tenant,))
        self._ready.add(tenant)

    def reset(self, tenant: str | None) -> None:
        """Take a tenant (None: all) back to its seed; its tokens die."""
        where, arguments = ("", ()) if tenant is None else (" WHERE tenant = ?", (tenant,))
        with self.transaction():
            for table in _OF_A_TENANT:
                self._db.execute(f"DELETE FROM {table}{where}", arguments)
            self._db.execute(f"DELETE FROM tenants{where.replace('tenant', 'name')}", arguments)
        self._cache.clear()
        self._stale = {key: stale for key, stale in self._stale.items() if tenant not in (None, key[0])}
        self._unread = {key: stale for key, stale in self._unread.items() if tenant not in (None, key[0])}
        if tenant is None:
            self._ready.clear()
        else:
            self._ready.discard(tenant)

    # Rows

    def rows(self, tenant: str, kind: str) -> dict[Any, dict[str, Any]]:
        """All documents of a kind by id, oldest first. Not to be changed by the caller."""
        found = self._cache.get((tenant, kind))
        if found is None:
            if len(self._cache) >= _CACHED:
                self._cache.clear()
            cursor = self._db.execute(
                "SELECT id, document FROM rows WHERE tenant = ? AND kind = ? ORDER BY n", (tenant, kind)
            )
            found = self._cache[tenant, kind] = {number: json.loads(document) for number, document in cursor}
        return found

    def lag(self, tenant: str, kind: str, reads: int) -> None:
        """Let so many reads of a list still see what is there now; what they see already stays."""
        seen, _reads = self._stale.get((tenant, kind), (None, 0))
        self._stale[tenant, kind] = (seen or dict(self.rows(tenant, kind)), reads)

    def listed(self, tenant: str, kind: str) -> dict[Any, dict[str, Any]]:
        """The documents that a list shows now."""
        seen, reads = self._stale.pop((tenant, kind), (None, 0))
        if seen is None:
            return self.rows(tenant, kind)
        if reads > 1:
            self._stale[tenant, kind] = (seen, reads - 1)
        return seen

    def lag_one(self, tenant: str, kind: str, number: Any, reads: int) -> None:
        """Let so many reads of one document still see what is there now, be it none."""
        key = (tenant, kind, number)
        seen = self._unread[key][0] if key in self._unread else self.rows(tenant, kind).get(number)
        self._unread[key] = (seen and dict(seen), reads)

    def read(self, tenant: str, kind: str, number: Any) -> dict[str, Any] | None:
        """The document that a read by its id shows now."""
        key = (tenant, kind, number)
        if key not in self._unread:
            return self.rows(tenant, kind).get(number)
        seen, reads = self._unread.pop(key)
        if reads > 1:
            self._unread[key] = (seen, reads - 1)
        return seen

    def put(self, tenant: str, kind: str, number: int | str, document: dict[str, Any]) -> None:
        self._db.execute(
            "INSERT INTO rows (tenant, kind, id, document) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (tenant, kind, id) DO UPDATE SET document = excluded.document",
            (tenant, kind, number, json.dumps(document)),
        )
        if (tenant, kind) in self._cache:
            self._cache[tenant, kind][number] = document

    def remove(self, tenant: str, kind: str, number: int | str) -> None:
        self._db.execute("DELETE FROM rows WHERE tenant = ? AND kind = ? AND id = ?", (tenant, kind, number))
        self.rows(tenant, kind).pop(number, None)

    def next_number(self, tenant: str, name: str) -> int:
        """Count up. A number is never given out twice, whatever was deleted."""
        found = self._db.execute(
            "INSERT INTO counters VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET value = value + 1 RETURNING value",
            (tenant, name),
        ).fetchone()
        return int(found[0])

    def raise_number(self, tenant: str, name: str, number: int) -> None:
        """Count on from *number* at least."""
        self._db.execute(
            "INSERT INTO counters VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = max(value, excluded.value)",
            (tenant, name, number),
        )

    # Secrets

    def set_secret(self, tenant: str, application: str, secret: str) -> None:
        salt = secrets.token_bytes(16)
        self._db.execute(
            "INSERT OR REPLACE INTO secrets VALUES (?, ?, ?, ?)", (tenant, application, salt, _hash(salt, secret))
        )

    def keep_secret(self, tenant: str, application: str) -> None:
        """Let the secret in force stay so beside the next one."""
        self._db.execute(
            "INSERT OR REPLACE INTO secrets SELECT tenant, application || '/old', salt, hash FROM secrets"
            " WHERE tenant = ? AND application = ?",
            (tenant, application),
        )

    def drop_secret(self, tenant: str, application: str) -> None:
        self._db.execute(
            "DELETE FROM secrets WHERE tenant = ? AND application IN (?, ? || '/old')",
            (tenant, application, application),
        )

    def secret_is(self, tenant: str, application: str, secret: str | None) -> bool:
        """Say whether *secret* (None: any) is the one in force."""
        found = self._db.execute(
            "SELECT salt, hash FROM secrets WHERE tenant = ? AND application IN (?, ? || '/old')",
            (tenant, application, application),
        ).fetchall()
        return any(secret is None or hmac.compare_digest(_hash(salt, secret), hashed) for salt, hashed in found)

    # Tokens

    def add_token(
        self, tenant: str, agent: int, scope: str, seconds: float, prefix: str = "", *, jwt: bool = False
    ) -> str:
        """Make an access token, kept as a hash only: a reference of 43 characters, or what looks like a JWT."""
        parts = [_JWT_HEAD, secrets.token_urlsafe(150), secrets.token_urlsafe(256)]
        token = prefix + (".".join(parts) if jwt else secrets.token_urlsafe(32))
        expires = time.time() + seconds
        values = (_hash(b"", token), tenant, agent, scope, expires)
        self._db.execute("INSERT INTO tokens VALUES (?, ?, ?, ?, ?)", values)
        return token

    def token(self, tenant: str, token: str) -> tuple[int, frozenset[str]] | None:
        """Agent id and scopes of a token in force."""
        found = self._db.execute(
            "SELECT agent, scope FROM tokens WHERE hash = ? AND tenant = ? AND expires > ?",
            (_hash(b"", token), tenant, time.time()),
        ).fetchone()
        return found and (found[0], frozenset(found[1].split()))

    def drop_tokens(self, tenant: str | None) -> None:
        """End all tokens of a tenant (None: of all)."""
        if tenant is None:
            self._db.execute("DELETE FROM tokens")
        else:
            self._db.execute("DELETE FROM tokens WHERE tenant = ?", (tenant,))
