# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Errors say what a person needs, and no secret in any encoding."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from ansible_collections.haloops.halo.plugins.module_utils.errors import (
    HIDDEN,
    AmbiguousWrite,
    HaloError,
    one_line,
    redact,
)

SECRETS = [
    "8f14e45f-ceea-467f-a9d1-3c1e5b2f0a11-0b1e7a52-0c59-49b5-8f2c-0f2f4c2c7d11",
    "p@ss w/ord+&=%\"'",
    "ünïcödé-☃",
    "a+b c/d",
    "~tilde_and-dash.",
    'ü"quo\\ted',
    "two  blanks\tand a tab",
]
FORMS = {
    "raw": lambda secret: secret,
    "URL-encoded": lambda secret: quote(secret, safe=""),
    "URL-encoded, slashes kept": quote,
    "form-encoded": quote_plus,
    "URL-encoded in lower case": lambda secret: _lower(quote(secret, safe="")),
    "in upper case": str.upper,
    "in lower case": str.lower,
    "in JSON": lambda secret: json.dumps(secret)[1:-1],
    "in JSON, beyond ASCII": lambda secret: json.dumps(secret, ensure_ascii=False)[1:-1],
    "in JSON in upper case": lambda secret: json.dumps(secret)[1:-1].upper().replace("\\U", "\\u"),
    "base64": lambda secret: base64.b64encode(secret.encode()).decode(),
    "base64 without padding": lambda secret: base64.b64encode(secret.encode()).decode().rstrip("="),
    "base64 for URLs": lambda secret: base64.urlsafe_b64encode(secret.encode()).decode(),
    "base64 of something longer": lambda secret: base64.b64encode(f"client:{secret}".encode()).decode(),
}


def _lower(text: str) -> str:
    parts = text.split("%")
    return parts[0] + "".join("%" + part[:2].lower() + part[2:] for part in parts[1:])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_is_removed_in_every_form(secret: str, form: str) -> None:
    echo = FORMS[form](secret)
    text = redact(f"before [{echo}] after", [secret])
    assert echo not in text
    assert text.startswith("before [")
    assert text.endswith("] after")
    assert HIDDEN in text
    if form != "base64 of something longer":
        assert text == f"before [{HIDDEN}] after"


@pytest.mark.parametrize("length", range(4, 10))
@pytest.mark.parametrize("before", range(4))
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode], ids=["base64", "for URLs"])
def test_of_longer_base64_what_holds_the_secret_alone_is_removed(
    encode: Callable[[bytes], bytes], before: int, length: int
) -> None:
    """A character stands for six bits: one that has some of what comes before stays, one of the end goes."""
    secret = "\xff\xfe?>~}"[:length].ljust(length, "?")
    plain = secret.encode()
    whole = encode(b"a" * before + plain + b"zzz").decode()
    first, last = -(-before * 8 // 6), -(-(before + len(plain)) * 8 // 6)
    assert redact(whole, [secret]) == whole[:first] + HIDDEN + whole[last:]


def test_what_is_too_short_to_be_told_from_other_text_stays() -> None:
    # the three characters that a secret of three has of its own in the midst of something longer
    whole = base64.b64encode(b"aabc").decode()
    assert redact(whole, ["abc"]) == whole
    assert redact(base64.b64encode(b"abc").decode(), ["abc"]) == HIDDEN


def test_every_secret_is_removed_wherever_it_stands() -> None:
    assert redact("s1 s2 s1", ["s1", "s2"]) == f"{HIDDEN} {HIDDEN} {HIDDEN}"


@pytest.mark.parametrize("nothing", [[], [None], [""], [None, ""]])
def test_no_secret_changes_nothing(nothing: list[str | None]) -> None:
    assert redact("as it was", nothing) == "as it was"


def test_a_secret_within_another_leaves_nothing_of_either() -> None:
    assert "tail" not in redact("short and shorttail", ["short", "shorttail"])


@pytest.mark.parametrize(
    ("about", "text"),
    [
        ({}, "It failed."),
        ({"instance": "https://halo.example.com"}, "https://halo.example.com: It failed."),
        ({"subject": "agent 'x'"}, "agent 'x': It failed."),
        (
            {"instance": "https://halo.example.com", "subject": "agent 'x'", "answer": "No.", "hint": "Try."},
            "https://halo.example.com: agent 'x': It failed. Halo said: No. Try.",
        ),
        ({"method": "GET", "path": "/Agent", "status": 500}, "It failed."),
    ],
)
def test_text(about: dict[str, str], text: str) -> None:
    assert str(HaloError("It failed.", **about)) == text


def test_for_programs() -> None:
    error = HaloError("It failed.", method="GET", path="/Agent", status=500, answer="No.", hint="Try.")
    assert error.failure() == {"method": "GET", "path": "/Agent", "status": 500, "answer": "No.", "hint": "Try."}


def test_about_fills_in_what_is_not_known_yet() -> None:
    error = HaloError("It failed.", subject="first")
    assert error.about(instance="https://halo.example.com", subject="second") is error
    assert (error.instance, error.subject) == ("https://halo.example.com", "first")


def test_names_in_an_error_do_nothing_to_a_terminal() -> None:
    error = HaloError("the agent 'a\x9b2J' is in use.", subject="agent 'b\x1b]0;x\x07'", hint="There are: c\x85d.")
    assert str(error) == "agent 'b ': the agent 'a ' is in use. There are: c d."
    assert error.message == error.args[0] == "the agent 'a ' is in use."


def test_unknown_fate_says_whether_the_server_may_still_work() -> None:
    assert AmbiguousWrite("Lost.").late is False
    assert AmbiguousWrite("Lost.", late=True, path="/Agent").late is True


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("as it is", "as it is"),
        ("  two\r\n lines\t", "two lines"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("a\x1b[2J\x1b[1;1Hb", "a b"),
        ("\x9b31mred", "red"),
        ("a\x1b]0;title\x07b", "a b"),
        ("a\x1b]8;;https://x.example.com\x1b\\link", "a link"),
        ("a\x9d0;title\x9cb", "a b"),
        ("a\x1b(0b", "a b"),
        ("a\x1bcb", "a b"),
        ("a\x1b", "a"),
        ("a\x00\x08\x7f\x80\x85\x9fb", "a b"),
        ("a\u202eb\u2066c\u2069\u200fd", "a b c d"),
        ("a\u200bb\ufeffc\u2028d\u2029e", "a b c d e"),
        ("a\ud800b", "a b"),
        ("a\U000e0041b", "a b"),
        ("Grüße, ünïcödé-☃ 日本語 [0] a]b", "Grüße, ünïcödé-☃ 日本語 [0] a]b"),
        ("x" * 301, "x" * 300 + "..."),
    ],
)
def test_one_line_holds_nothing_that_a_terminal_acts_on(text: str, line: str) -> None:
    assert one_line(text) == line


def test_one_line_is_as_long_as_it_may_be() -> None:
    assert one_line("x" * 6, 5) == "xxxxx..."
    # of what is much too long, no more than the beginning is looked at
    assert [one_line(" " * count + "x") for count in (5999, 6000)] == ["x", ""]
