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
    what is not as it was, one line for each binding, and counts the others.
  - With O(path) it also writes the report in four forms, a self-contained HTML page, JSON, JUnit's XML and a textfile
    for Prometheus. No secret is in any of them.
  - Of each host it takes the variables C(halo_integration_result), what M(haloops.halo.halo_binding) returned, and
    C(halo_integration_failure), why the tenant failed, if that is set.
  - It always works on the controller, and in check mode too. Run it once.
options:
  path:
    description:
      - The file to write, without its ending or with one of C(.html), C(.json), C(.xml) and C(.prom), which take its
        place. No file unless set.
    type: path
  title:
    description: Title of the report.
    type: str
    default: Halo integrations
  kind:
    description: What kind of run it was.
    type: str
    choices: [provision, rotate, audit, decommission, store_move, preflight]
  started:
    description: When the run began, as ISO 8601. Unless set, when Ansible was started, where the system says so.
    type: str
  untried:
    description: Hosts of the play that the run was stopped before. They are in the report as not tried.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: Can run in check mode; the report is written all the same.
    support: full
  diff_mode:
    description: There is never a difference to show.
    support: none
seealso:
  - module: haloops.halo.halo_binding
  - module: haloops.halo.halo_report_merge
"""

EXAMPLES = r"""
- name: What became of the fleet
  haloops.halo.halo_report:
    path: "{{ playbook_dir }}/report.html"
    kind: provision
  run_once: true
"""

RETURN = r"""
summary:
  description: How many bindings are in each state.
  returned: success
  type: dict
  sample: {failed: 0, not_tried: 0, drifted: 0, orphan: 0, rotated: 1, changed: 0, unchanged: 199}
html:
  description: Path of the page.
  returned: with O(path)
  type: str
json:
  description: Path of the JSON file.
  returned: with O(path)
  type: str
xml:
  description: Path of the file in JUnit's form.
  returned: with O(path)
  type: str
prom:
  description: Path of the textfile for Prometheus.
  returned: with O(path)
  type: str
"""

from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path"},
            "title": {"type": "str", "default": "Halo integrations"},
            "kind": {
                "type": "str",
                "choices": ["provision", "rotate", "audit", "decommission", "store_move", "preflight"],
            },
            "started": {"type": "str"},
            "untried": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    module.fail_json(msg="The report is the controller's: this module runs there, through its action plugin.")


if __name__ == "__main__":
    main()
