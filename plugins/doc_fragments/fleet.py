# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  fleet:
    description:
      - Makes the task part of a run over many tenants, which M(haloops.halo.halo_fleet) ends. What fails is noted for
        that end, is RV(ignore:failure) of the result, and does not fail the host. The playbooks do so.
    type: dict
    suboptions:
      max_failed:
        description:
          - How many tenants may fail, as a number or per cent of the fleet. Once more have, this one is not tried, and
            the task is skipped. Any number unless set.
        type: str
      fail_on_drift:
        description: Whether a tenant that drifted fails at the end, in check mode.
        type: bool
        default: false
"""
