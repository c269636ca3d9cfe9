# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes back over the wire, and the error bodies that Halo is known to use."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

_PAGE = """<!DOCTYPE html>
<html><head><title>{title}</title></head>
<body><h1>Server Error</h1><div><h2>{title}</h2><h3>{text}</h3></div></body></html>
"""
_PAGES = {
    404: ("404 - File or directory not found.", "The resource is not here: it was moved, renamed or removed."),
    500: ("500 - Internal server error.", "The resource cannot be shown because of a problem with it."),
    502: ("502 - Bad gateway.", "The server behind this one gave no usable answer."),
    503: ("503 - Service unavailable.", "The application is being restarted."),
}


class Answer(NamedTuple):
    """Status, body (bytes), content type (None: no such header) and further headers."""

    status: int
    body: bytes = b""
    content_type: str | None = None
    headers: dict[str, str] | None = None


class Refused(Exception):
    """Halo says no. *body*: an object for JSON, None for an empty body."""

    def __init__(self, status: int, body: Any = None) -> None:
        super().__init__(f"HTTP {status}")
        self.answer = empty(status) if body is None else as_json(status, body)
        self.text: str | None = None


def as_json(status: int, value: Any, headers: dict[str, str] | None = None) -> Answer:
    # A lone surrogate, which JSON can carry and UTF-8 cannot, becomes a question mark.
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")
    return Answer(status, body, "application/json", headers)


def empty(status: int) -> Answer:
    return Answer(status)


def page(status: int) -> Answer:
    """The HTML page with which the web server in front of Halo reports *status*."""
    title, text = _PAGES.get(status, (f"{status} - Error.", "The request could not be served."))
    return Answer(status, _PAGE.format(title=title, text=text).encode(), "text/html")


def oauth_error(status: int, error: str, description: str) -> Answer:
    return as_json(status, {"error": error, "error_description": description}, {"Cache-Control": "no-store"})


def message(text: str) -> Refused:
    """A business rule was broken: 400 with Halo's short form; ``text`` alone is the other one that it uses."""
    refused = Refused(400, {"Message": text})
    refused.text = text
    return refused


def exception(text: str) -> Refused:
    """A rule of the database was broken: 400 with a serialised .NET exception."""
    return Refused(400, {"ClassName": "System.Exception", "Message": text, "Data": None, "InnerException": None})
