# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The README has the form that certification asks for, names all that there is, and links to what exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
# In this order, with others between them.
SECTIONS = [
    "Description", "Requirements", "Installation", "Use cases", "Testing", "Contributing", "Support",
    "Release notes and roadmap", "Related information", "License information",
]  # fmt: skip
OWN = re.compile(r"https://github\.com/haloops/haloops\.halo/(?:blob|tree)/main/(.+)")
# what Galaxy and Automation Hub render outside of the repository
RENDERED = ["README.md", "roles/halo_integration/README.md"]


def links(name: str) -> list[str]:
    text = (ROOT / name).read_text(encoding="utf-8")
    return re.findall(r"\]\(([^)]+)\)", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


def test_sections_are_those_of_a_certified_collection() -> None:
    titles = re.findall(r"^## (.+)$", TEXT, re.MULTILINE)
    assert [title for title in titles if title in SECTIONS] == SECTIONS


@pytest.mark.parametrize("name", RENDERED)
def test_links_are_whole_and_lead_to_what_exists(name: str) -> None:
    titles = re.findall(r"^#+ (.+)$", TEXT, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}
    for link in links(name):
        if own := OWN.fullmatch(link):
            assert (ROOT / own[1]).exists(), link
        else:
            assert link.startswith("https://") or link.removeprefix("#") in anchors, link


@pytest.mark.parametrize(
    ("folder", "form"),
    [("plugins/modules", "`{}`"), ("plugins/lookup", "| `{}` |"), ("playbooks", "| `haloops.halo.{}` |")],
)
def test_everything_is_named(folder: str, form: str) -> None:
    names = [path.stem for path in (ROOT / folder).iterdir() if path.suffix in {".py", ".yml"}]
    assert [name for name in names if form.format(name) not in TEXT] == []


def test_the_oldest_python_and_ansible_core_are_those_of_the_metadata() -> None:
    runtime = yaml.safe_load((ROOT / "meta/runtime.yml").read_text(encoding="utf-8"))
    config = yaml.safe_load((ROOT / "tests/config.yml").read_text(encoding="utf-8"))
    assert runtime["requires_ansible"] == ">=2.16.0"
    assert "ansible-core 2.16 to " in TEXT
    assert config["modules"]["python_requires"] == ">=3.11"
    assert "Python 3.11 or newer on the controller" in TEXT


def test_ansible_itself_is_not_installed_by_pip() -> None:
    assert not re.search(r"pip install [^\n`]*ansible", TEXT)
