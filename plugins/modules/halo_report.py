# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: halo_report
short_description: Write the fleet report of a play
version_added: 0.9.0
author: Halo Ops contributors (@haloops)
description:
  - Collects what the role P(haloops.halo.halo_integration#role) left with all hosts of the play, says in the terminal
    what is not as it was, one line for each binding, and counts the rest.
  - With O(path) it also writes that as one self-contained HTML page and as JSON. No secret is in either.
  - It always works on the controller, and in check mode too. Run it once.
options:
  path:
    description: The file to write; C(.html) and C(.json) take the place of its ending. No file unless set.
    type: path
  title:
    description: Title of the page.
    type: str
    default: Halo integrations
attributes:
  check_mode:
    description: Can run in check mode; the report is written all the same.
    support: full
  diff_mode:
    description: There is never a difference to show.
    support: none
seealso:
  - module: haloops.halo.halo_binding
"""

EXAMPLES = r"""
- name: What became of the fleet
  haloops.halo.halo_report:
    path: "{{ playbook_dir }}/report.html"
  run_once: true
"""

RETURN = r"""
summary:
  description: How many bindings are in each state.
  returned: success
  type: dict
  sample: {failed: 0, drifted: 0, rotated: 1, changed: 0, unchanged: 199}
html:
  description: Path of the page.
  returned: with O(path)
  type: str
json:
  description: Path of the JSON file.
  returned: with O(path)
  type: str
"""

from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path"},
            "title": {"type": "str", "default": "Halo integrations"},
        },
        supports_check_mode=True,
    )
    module.fail_json(msg="The report is the controller's: this module runs there, through its action plugin.")


if __name__ == "__main__":
    main()
