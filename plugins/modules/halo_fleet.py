# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: halo_fleet
short_description: Note which tenants of a run failed, and end the run
version_added: 1.0.0
author: Halo Ops contributors (@haloops)
description:
  - What the playbooks of this collection are made of, for playbooks of your own that work in the same way. A first play
    works on the tenants, in batches of any size, and notes those that fail, so that none stops another. A second play
    reports over all of them and fails those.
  - With O(failure) it notes that its tenant failed. With O(hosts) it ends the run. On the first host it does so, it
    has M(haloops.halo.halo_report) report over the whole fleet and writes the file for C(--limit @); on each, it fails
    if the tenant failed.
  - It always works on the controller, and in check mode too.
options:
  failure:
    description: What failed for this tenant. Nothing is done if it is empty.
    type: str
  noted:
    description: Whether to note O(failure) for the end of the run and let the host go on, instead of failing.
    type: bool
    default: false
  hosts:
    description:
      - All tenants of the run. Those that no task of the run began with are reported as not tried.
    type: list
    elements: str
  report:
    description:
      - The options of M(haloops.halo.halo_report). With C(path), the tenants that failed or were not tried are also
        listed in a file of that name with the ending C(.retry), for C(--limit @). It is removed where there are none.
    type: dict
    default: {}
attributes:
  check_mode:
    description: Can run in check mode; the report is written all the same.
    support: full
  diff_mode:
    description: There is never a difference to show.
    support: none
seealso:
  - module: haloops.halo.halo_binding
  - module: haloops.halo.halo_report
  - plugin: haloops.halo.tenants
    plugin_type: lookup
"""

EXAMPLES = r"""
- name: Let the others go on
  haloops.halo.halo_fleet:
    failure: "{{ ansible_failed_result.msg }}"
    noted: true

- name: End the run
  haloops.halo.halo_fleet:
    hosts: "{{ query('haloops.halo.tenants', 'halo_tenants') }}"
    report:
      path: report.html
  throttle: 1
"""

RETURN = r"""
failure:
  description: What was noted.
  returned: with O(failure) and O(noted)
  type: str
summary:
  description: As M(haloops.halo.halo_report) returns it; so are the paths of the report.
  returned: on the host that reports
  type: dict
  sample: {failed: 1, drifted: 0, rotated: 1, changed: 0, unchanged: 198}
untried:
  description: How many tenants were not tried.
  returned: on the host that reports
  type: int
retry:
  description: Path of the file with the tenants that failed or were not tried.
  returned: on the host that reports, where there are such tenants and a report is written
  type: str
"""

from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "failure": {"type": "str"},
            "noted": {"type": "bool", "default": False},
            "hosts": {"type": "list", "elements": "str"},
            "report": {"type": "dict", "default": {}},
        },
        mutually_exclusive=[["failure", "hosts"]],
        supports_check_mode=True,
    )
    module.fail_json(msg="A run is the controller's: this module runs there, through its action plugin.")


if __name__ == "__main__":
    main()
