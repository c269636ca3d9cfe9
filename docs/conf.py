# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Settings of Sphinx, for the pages that antsibull-docs writes into .build/docs/rst."""

from __future__ import annotations

import zlib
from pathlib import Path

project = title = html_short_title = "haloops.halo"
copyright = "Halo Ops contributors"
extensions = ["sphinx.ext.intersphinx", "sphinx_antsibull_ext"]
default_role = "any"
nitpicky = True
highlight_language = "YAML+Jinja"
pygments_style = "ansible"
html_theme = "sphinx_ansible_theme"
html_theme_options = {"vcs_pageview_mode": ""}
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_use_index = False

# The generated pages point at these places of Ansible's own documentation. Sphinx would fetch a list of its places from
# there; this one makes the same links without a network.
ANSIBLE_DOCUMENTATION = "https://docs.ansible.com/projects/ansible/devel/"
ANSIBLE_LABELS = {
    "action_plugins": "plugins/action.html#action-plugins",
    "ansible_configuration_settings": "reference_appendices/config.html#ansible-configuration-settings",
    "common_return_values": "reference_appendices/common_return_values.html#common-return-values",
}


def _write_inventory(path: Path) -> Path:
    """Write the labels in the form of Sphinx's objects.inv, version 2."""
    head = ("Sphinx inventory version 2", "Project: Ansible", "Version: devel", "The rest is compressed with zlib.")
    lines = [f"{label} std:label -1 {place} {label}\n" for label, place in ANSIBLE_LABELS.items()]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(f"# {line}\n" for line in head).encode() + zlib.compress("".join(lines).encode()))
    return path


_INVENTORY = _write_inventory(Path(__file__).resolve().parent.parent / ".build/docs/ansible.inv")
intersphinx_mapping = {"ansible_devel": (ANSIBLE_DOCUMENTATION, str(_INVENTORY))}
