# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one error of the collection, and the removal of secrets from what Halo says."""

from __future__ import annotations

import base64
import json
import re
import typing as t
from urllib.parse import quote, quote_plus

HIDDEN = "********"
_URL_ALPHABET = str.maketrans("+/", "-_")


class HaloError(Exception):
    """Something that the user must know of.

    Holds what a person needs to act (which instance, which object, what Halo answered, what to do) and has
    no place for headers, request bodies or URLs with a query.

    :param message: what went wrong, a sentence without the instance's name
    :param instance: base URL of the Halo instance
    :param subject: the object concerned, such as ``application 'Reporting'``
    :param method: HTTP method of the request that failed
    :param path: its path below the instance, without a query
    :param status: HTTP status of the answer
    :param answer: Halo's own words, secrets removed
    :param hint: what the user can do
    """

    def __init__(
        self,
        message: str,
        *,
        instance: str | None = None,
        subject: str | None = None,
        method: str | None = None,
        path: str | None = None,
        status: int | None = None,
        answer: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.instance = instance
        self.subject = subject
        self.method = method
        self.path = path
        self.status = status
        self.answer = answer
        self.hint = hint

    def about(self, instance: str | None = None, subject: str | None = None) -> HaloError:
        """Fill in what the place that raised the error could not know; returns the error itself."""
        self.instance = self.instance or instance
        self.subject = self.subject or subject
        return self

    def __str__(self) -> str:
        where = ": ".join(part for part in (self.instance, self.subject) if part)
        text = f"{where}: {self.message}" if where else self.message
        if self.answer:
            text += f" Halo said: {self.answer}"
        if self.hint:
            text += f" {self.hint}"
        return text

    def failure(self) -> dict[str, t.Any]:
        """The same for programs: ``{method, path, status, answer}``; None where there was no answer."""
        return {"method": self.method, "path": self.path, "status": self.status, "answer": self.answer}


class LoginError(HaloError):
    """Halo answered, and does not let these credentials in.

    :param code: the authorisation server's word for it, such as ``invalid_client``
    """

    def __init__(self, message: str, *, code: str | None = None, **about: t.Any) -> None:
        super().__init__(message, **about)
        self.code = code


class UnknownFate(HaloError):
    """A write was sent and no usable answer came back: it may or may not have been carried out.

    :param late: the server may still be at work on it (a time-out), so its absence proves nothing
    """

    def __init__(self, message: str, *, late: bool = False, **about: t.Any) -> None:
        super().__init__(message, **about)
        self.late = late


def redact(text: str, secrets: t.Iterable[str | None]) -> str:
    """``text`` with every secret replaced, also URL-encoded, JSON-escaped, or in base64, alone or within more."""
    forms = sorted({form for secret in secrets if secret for form in _forms(secret)}, key=len, reverse=True)
    return re.sub("|".join(forms), HIDDEN, text) if forms else text


def _forms(secret: str) -> t.Iterator[str]:
    """Regular expressions for what a secret may look like."""
    yield re.escape(secret)
    yield re.escape(json.dumps(secret)[1:-1])
    plain = secret.encode("utf-8", "surrogatepass")
    for encoded in (quote(plain, safe=""), quote(plain), quote_plus(plain)):
        yield re.sub(r"%(\w\w)", r"%(?i:\1)", re.escape(encoded))
    for shift, first in ((0, 0), (1, 2), (2, 3)):
        # of a longer text's base64, what depends on the secret alone
        code = base64.b64encode(bytes(shift) + plain).decode().rstrip("=")
        shared = (shift + len(plain)) % 3 > 0
        last = len(code) - shared
        core = code[first:last]
        if len(core) > 3:
            for form in (core, core.translate(_URL_ALPHABET)):
                yield re.escape(form) + ("[A-Za-z0-9+/_-]?={0,2}" if shared else "")


def one_line(text: str, longest: int = 300) -> str:
    """``text`` without line breaks and control characters, cut at ``longest``.

    Secrets must be gone already: a cut one is not found.
    """
    text = re.sub(r"[\x00-\x1f\x7f\s]+", " ", text).strip()
    return text if len(text) <= longest else text[:longest] + "..."
