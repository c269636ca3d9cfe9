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
# What a terminal would act on: escape sequences whole, control characters, what is invisible or turns the direction of
# writing, and halves of surrogate pairs, which cannot be printed.
_UNPRINTABLE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*[0-~]"
    r"|[\s\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    r"\ud800-\udfff\U000e0000-\U000e007f]"
)


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
        message = printable(message)
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
        # names in it are Halo's or the user's
        return printable(text)

    def failure(self) -> dict[str, t.Any]:
        """The same for programs: ``{method, path, status, answer, hint}``; None where there was none."""
        names = ("method", "path", "status", "answer", "hint")
        return {name: getattr(self, name) for name in names}


class LoginError(HaloError):
    """Halo answered, and does not let these credentials in.

    :param code: the authorisation server's word for it, such as ``invalid_client``
    """

    def __init__(self, message: str, *, code: str | None = None, **about: t.Any) -> None:
        super().__init__(message, **about)
        self.code = code


class AmbiguousWrite(HaloError):
    """A write was sent and no usable answer came back: it may or may not have been carried out.

    :param late: it took its whole time and the server may still be at work on it, so its absence proves nothing
    :param over: Halo itself has answered, so that it is not at work on it any more
    """

    def __init__(self, message: str, *, late: bool = False, over: bool = False, **about: t.Any) -> None:
        super().__init__(message, **about)
        self.late = late
        self.over = over


class Refused(HaloError):
    """A guard says no: the change is possible, and the user has not asked for it in so many words."""


class StaleEntry(HaloError):
    """Someone else wrote the stored entry since it was read; nothing was written."""


class TenantBusy(HaloError):
    """Another run, or another host of the same run, is at work on this tenant; nothing was changed."""


def redact(text: str, secrets: t.Iterable[str | None]) -> str:
    """``text`` with every secret replaced: in any letter case, URL-encoded, JSON-escaped, in base64, or within more."""
    if not text:
        return text
    forms = sorted({form for secret in secrets if secret for form in _forms(secret)}, key=len, reverse=True)
    return re.sub("|".join(forms), HIDDEN, text, flags=re.IGNORECASE) if forms else text


def _forms(secret: str) -> t.Iterator[str]:
    """Regular expressions for what a secret may look like."""
    yield re.escape(secret)
    for ascii_alone in (True, False):
        yield re.escape(json.dumps(secret, ensure_ascii=ascii_alone)[1:-1])
    plain = secret.encode("utf-8", "surrogatepass")
    for encoded in (quote(plain, safe=""), quote(plain), quote_plus(plain)):
        yield re.escape(encoded)
    for shift, first in ((0, 0), (1, 2), (2, 3)):
        # of a longer text's base64, what depends on the secret alone
        code = base64.b64encode(bytes(shift) + plain).decode().rstrip("=")
        shared = (shift + len(plain)) % 3 > 0
        last = len(code) - shared
        core = code[first:last]
        if len(core) > 3:
            for form in (core, core.translate(_URL_ALPHABET)):
                yield re.escape(form) + ("[A-Za-z0-9+/_-]?={0,2}" if shared else "")


def printable(text: str) -> str:
    """``text`` with a blank for whatever a terminal would act on."""
    return _UNPRINTABLE.sub(" ", text)


def one_line(text: str, longest: int = 300) -> str:
    """``text`` on one line and without anything that a terminal would act on, cut at ``longest``.

    Secrets must be gone already: a cut one is not found.
    """
    text = " ".join(printable(text[: 20 * longest]).split())
    return text if len(text) <= longest else text[:longest] + "..."
