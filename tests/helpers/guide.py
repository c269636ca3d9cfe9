# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the guide to the stores gives to copy, for the tests that run it."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

GUIDE = Path(__file__).resolve().parent.parent.parent / "docs" / "docsite" / "rst" / "stores.rst"


def block(start: str) -> str:
    """The code block that begins so."""
    blocks = re.findall(r"^\.\. code-block:: \w+\n\n((?:    .*\n|\n)+)", GUIDE.read_text(encoding="utf-8"), re.M)
    (found,) = (text for text in map(textwrap.dedent, blocks) if text.startswith(start))
    return str(found).strip() + "\n"
