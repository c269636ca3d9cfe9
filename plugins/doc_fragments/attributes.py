# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
attributes:
  check_mode:
    description: Can run in check mode, and then says what it would do without doing it.
    support: full
  diff_mode:
    description: Returns what was and what is, in the collection's own names and without secrets.
    support: full
  idempotent:
    description: A second run with the same options changes nothing.
    support: full
  action_group:
    description: Use C(group/haloops.halo.halo) in C(module_defaults) to set the connection once.
    support: full
    membership:
      - haloops.halo.halo
"""

    INFO = r"""
attributes:
  check_mode:
    description: Can run in check mode; it changes nothing in any mode.
    support: full
  diff_mode:
    description: There is never a difference to show.
    support: none
  idempotent:
    description: It changes nothing.
    support: full
  action_group:
    description: Use C(group/haloops.halo.halo) in C(module_defaults) to set the connection once.
    support: full
    membership:
      - haloops.halo.halo
"""
