# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: halo_report_merge
short_description: Make one report of those of job slices
version_added: 1.0.0
author: Halo Ops contributors (@haloops)
description:
  - Merges the JSON form of reports that M(haloops.halo.halo_report) wrote, and writes all four forms of the whole. Its
    rows, their order and the counts are as if there had been one run.
  - The playbook C(haloops.halo.report_merge) does it.
  - Of a tenant that is in several parts, as after a run over those that failed, the part that ended last counts.
  - It always works on the controller, and in check mode too.
options:
  parts:
    description:
      - The C(.json) files of the parts; a pattern such as C(reports/*.json) stands for all files that match. The file
        that is written is never one of them.
      - A part that is missing, cannot be read or is no report is an error, and nothing is written.
    type: list
    elements: path
    required: true
  path:
    description:
      - The file to write, without its ending or with one of C(.html), C(.json), C(.xml) and C(.prom), which take its
        place.
    type: path
    required: true
  title:
    description: Title of the report. That of the first part unless set.
    type: str
attributes:
  check_mode:
    description: Can run in check mode; the report is written all the same.
    support: full
  diff_mode:
    description: There is never a difference to show.
    support: none
seealso:
  - module: haloops.halo.halo_report
"""

EXAMPLES = r"""
- name: One report of all slices
  haloops.halo.halo_report_merge:
    parts: ["reports/slice-*.json"]
    path: reports/fleet.html
"""

RETURN = r"""
summary:
  description: How many bindings are in each state.
  returned: success
  type: dict
  sample: {failed: 0, not_tried: 0, drifted: 0, orphan: 0, rotated: 1, changed: 0, unchanged: 199}
parts:
  description: The files that were merged.
  returned: success
  type: list
  elements: str
  sample: [reports/slice-1.json, reports/slice-2.json]
html:
  description: Path of the page.
  returned: success
  type: str
json:
  description: Path of the JSON file.
  returned: success
  type: str
xml:
  description: Path of the file in JUnit's form.
  returned: success
  type: str
prom:
  description: Path of the textfile for Prometheus.
  returned: success
  type: str
"""

from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "parts": {"type": "list", "elements": "path", "required": True},
            "path": {"type": "path", "required": True},
            "title": {"type": "str"},
        },
        supports_check_mode=True,
    )
    module.fail_json(msg="The report is the controller's: this module runs there, through its action plugin.")


if __name__ == "__main__":
    main()
