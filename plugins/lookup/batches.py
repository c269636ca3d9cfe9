# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: batches
short_description: How many tenants a play takes at a time
version_added: 1.0.0
author: Halo Ops contributors (@haloops)
description:
  - Returns what the C(serial) of a play takes. The playbooks of this collection give it C(halo_serial), which may be
    the answer of a survey, and so a text.
  - What is no such number fails before the first tenant, instead of meaning all tenants at once.
options:
  _terms:
    description:
      - Numbers, or per cent of the fleet, in a list or in a text with commas, as in V(1, 5%, 100%). What is empty
        stands for all.
    type: list
    elements: raw
    required: true
seealso:
  - plugin: haloops.halo.tenants
    plugin_type: lookup
"""

EXAMPLES = r"""
- name: One tenant, then five per cent of them at a time
  hosts: "{{ query('haloops.halo.tenants', 'halo_tenants') }}"
  serial: "{{ query('haloops.halo.batches', '1, 5%') }}"
  connection: local
  gather_facts: false
  roles:
    - haloops.halo.halo_integration
"""

RETURN = r"""
_raw:
  description: One item for each batch, the last of which stands for all that follow.
  type: list
  elements: str
"""

import typing as t

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase

from ..module_utils.errors import HaloError
from ..plugin_utils.fleet import batches


class LookupModule(LookupBase):
    def run(self, terms: list[t.Any], variables: t.Any = None, **kwargs: t.Any) -> list[str]:
        self.set_options(var_options=variables, direct=kwargs)
        try:
            return batches(terms)
        except HaloError as error:
            raise AnsibleLookupError(str(error)) from None
