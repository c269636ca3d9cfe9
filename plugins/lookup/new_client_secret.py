# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: new_client_secret
short_description: Make a new client secret for a Halo application
version_added: 1.0.0
author: Halo Ops contributors (@haloops)
description:
  - Returns a new random secret in Halo's form, two version-4 UUIDs joined by a hyphen.
  - Each evaluation makes another one. Store it before it is used.
options: {}
seealso:
  - module: haloops.halo.halo_application
"""

EXAMPLES = r"""
- name: Make a secret and keep it
  ansible.builtin.copy:
    content: "{{ lookup('haloops.halo.new_client_secret') }}"
    dest: "{{ playbook_dir }}/reporting.secret"
    mode: "0600"
  no_log: true
"""

RETURN = r"""
_raw:
  description: A list of one secret.
  type: list
  elements: str
"""

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase

from ..module_utils.secret import new_secret


class LookupModule(LookupBase):
    def run(self, terms: list[str], variables: object = None, **kwargs: object) -> list[str]:
        if terms or kwargs:
            raise AnsibleError("The lookup haloops.halo.new_client_secret takes no terms and no options.")
        return [new_secret()]
