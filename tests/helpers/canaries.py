# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The search for secrets in what a run showed or left behind, whatever form they have there."""

from __future__ import annotations

import base64
import functools
import html
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus

# Where, and the text that is there.
Texts = list[tuple[str, str]]


@functools.cache
def forms(secret: str) -> dict[str, str]:
    """What a secret may look like: as it is, and as URLs, JSON, shells, markup and base64 hold it."""
    plain = secret.encode()
    found = {
        "raw": secret,
        "URL": quote(secret, safe=""),
        "URL with slashes": quote(secret),
        "form": quote_plus(secret),
        "JSON": json.dumps(secret)[1:-1],
        "JSON, not ASCII alone": json.dumps(secret, ensure_ascii=False)[1:-1],
        "JSON in JSON": json.dumps(json.dumps(secret)[1:-1])[1:-1],
        "Python": repr(secret)[1:-1],
        "bytes in Python": repr(plain)[2:-1],
        "shell": secret.replace("'", "'\"'\"'"),
        "YAML": secret.replace("'", "''"),
        "HTML": html.escape(secret),
        "XML": html.escape(secret, quote=False),
    }
    for shift, first in ((0, 0), (1, 2), (2, 3)):
        # the part of a base64 text that this secret decides, wherever it stands in what was encoded
        coded = base64.b64encode(bytes(shift) + plain).decode().rstrip("=")
        part = coded[first : len(coded) - ((shift + len(plain)) % 3 > 0)]
        found[f"base64 at {shift}"] = part
        found[f"base64 for URLs at {shift}"] = part.translate(str.maketrans("+/", "-_"))
    return found


@functools.cache
def _lowered(secret: str) -> list[tuple[str, str]]:
    views = {view.lower(): form for form, view in reversed(forms(secret).items())}
    return [(form, view) for view, form in views.items()]


def leaks(searched: Iterable[tuple[str, str]], secrets: Iterable[str]) -> list[str]:
    """Where a secret is found, and in which form; in any letter case."""
    known = [(secret, form, view) for secret in secrets for form, view in _lowered(secret)]
    found = []
    for where, text in searched:
        lowered = text.lower()
        found += [f"{secret!r} ({form}) in {where}" for secret, form, view in known if view in lowered]
    return found


def left(folder: Path) -> Iterator[tuple[str, str]]:
    """The names and the contents of all that lies in a folder."""
    for path in folder.rglob("*"):
        yield f"name {path.relative_to(folder)}", path.name
        if path.is_file():
            yield str(path.relative_to(folder)), path.read_bytes().decode("utf-8", "replace")


def token_like(searched: Iterable[tuple[str, str]]) -> set[str]:
    """Whatever looks like an access token of the sandbox, or stands where one does."""
    words: set[str] = set()
    for _where, text in searched:
        words |= set(re.findall(r"(?<![\w-])[\w-]{43}(?![\w-])", text, re.ASCII))
        words |= set(re.findall(r"(?i)bearer\s+([^\s\"',]+)", text))
    return words
