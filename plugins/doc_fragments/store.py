# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  store:
    description:
      - Where secrets are kept. V(vault_file) are files encrypted with Ansible Vault, V(file) plain ones, V(hashi_vault)
        is HashiCorp Vault or OpenBao, V(aws_secrets_manager) AWS, V(controller_host) a host's variable in AWX
        or Automation Controller, V(command) any program.
      - The variable C(halo_integration_store) of the host unless set, or else V(vault_file).
    type: str
  store_dir:
    description:
      - Folder of a file store; a relative one is relative to the inventory.
      - The variable C(halo_integration_store_dir) of the host unless set, or else C(halo_credentials).
    type: path
  store_options:
    description: Options of the store. The variable C(halo_integration_store_options) of the host unless set.
    type: dict
  store_key:
    description:
      - The tenant's key in the store, instead of its address and tenant name.
      - The variable C(halo_integration_store_key) of the host unless set.
    type: str
"""
