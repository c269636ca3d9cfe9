# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page on troubleshooting quotes messages that the collection has."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "docs" / "docsite" / "rst" / "troubleshooting.rst"
QUOTED = re.findall(r"^``(.+)``$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
# how many characters of a text must be fixed: one that is all blanks to fill would be any message
FEWEST = 10


def parts(node: ast.expr) -> list[str | None]:
    """The fixed parts of a text, None for each that is filled in."""
    if isinstance(node, ast.BinOp):
        return [*parts(node.left), *parts(node.right)]
    if isinstance(node, ast.JoinedStr):
        return [str(value.value) if isinstance(value, ast.Constant) else None for value in node.values]
    return [node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None]


def texts() -> Iterator[list[str | None]]:
    """All texts in the code of the plugins."""
    for path in sorted((ROOT / "plugins").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.Constant, ast.JoinedStr, ast.BinOp)):
                yield parts(node)


@functools.cache
def patterns() -> list[re.Pattern[str]]:
    fixed = [found for found in texts() if len("".join(filter(None, found))) >= FEWEST]
    return [re.compile("".join(".+?" if part is None else re.escape(part) for part in found)) for found in fixed]


def exists(message: str) -> bool:
    """Whether a text of the source is the message, with something in its blanks."""
    return any(pattern.fullmatch(message) for pattern in patterns())


def test_some_are_quoted() -> None:
    assert len(QUOTED) > 20
    assert len(set(QUOTED)) == len(QUOTED)


@pytest.mark.parametrize("message", QUOTED)
def test_a_quoted_message_exists(message: str) -> None:
    assert exists(message)


@pytest.mark.parametrize("message", QUOTED)
def test_another_message_would_be_found_out(message: str) -> None:
    """A word less, and there is no such message, unless the word is an example."""
    words = message.split()
    others = [" ".join(words[:place] + words[place + 1 :]) for place in range(len(words))]
    assert any(not exists(other) for other in others)
