# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: halo_role
short_description: Manage the roles of agents and what they allow
version_added: 1.0.0
author: Halo Ops contributors (@haloops)
description:
  - Creates, changes and removes agent roles of HaloPSA, HaloITSM and HaloCRM.
  - What an application may do is what both its scopes and the roles of its login agent allow. A role with just the
    permissions that an integration needs, for an agent of its own, keeps it to them; only the scope V(all:teams) opens
    all teams whatever the agent may do.
  - Roles are matched by their exact name, in any letter case; two of one name are an error that gives their ids. Only
    the options that are set are compared and sent.
extends_documentation_fragment:
  - haloops.halo.connection
  - haloops.halo.attributes
options:
  name:
    description:
      - Name of the role, at most 255 characters. With O(role_id) it is the name that the role shall have.
      - Either this or O(role_id) is needed.
    type: str
  role_id:
    description: Id of a role that exists, to choose between two of one name or to rename one.
    type: str
  cached_id:
    description:
      - The id that the role O(name) had when it was last seen, for where Halo's list does not show it yet after it was
        made. An id that is gone, or belongs to another name by now, is ignored.
    type: str
  state:
    description: Whether the role shall exist.
    type: str
    choices: [present, absent]
    default: present
  permissions:
    description:
      - What the role allows, in words. They are exact. What is not named is not allowed, and an empty dictionary takes
        everything away. Left out, the permissions stay as they are.
      - An agent may do what any of its roles allows, and what it was given itself.
    type: dict
    suboptions:
      administrator:
        description: Is a Halo administrator, to whom everything is allowed.
        type: bool
      tickets:
        description: Access to tickets.
        type: str
        choices: [none, read, modify]
      add_tickets:
        description: Can add tickets.
        type: bool
      edit_closed_tickets:
        description: Can edit closed tickets.
        type: bool
      reassign_tickets:
        description: Can reassign tickets.
        type: bool
      remove_tickets:
        description: Can remove tickets.
        type: bool
      view_others_tickets:
        description: Can see tickets that are assigned to other agents.
        type: bool
      view_unassigned_tickets:
        description: Can see tickets that are assigned to nobody.
        type: bool
      all_ticket_types:
        description: Can use all ticket types.
        type: bool
      edit_actions:
        description: Can edit no actions of tickets, its own ones, or all.
        type: str
        choices: [none, own, all]
      customers:
        description: Access to customers; V(names) shows their names alone.
        type: str
        choices: [none, names, read, modify]
      all_customers:
        description: Can use all customers. Without it, lists can be empty where nothing is refused.
        type: bool
      users:
        description: Access to users, the people at customers; V(names) shows their names alone.
        type: str
        choices: [none, names, read, modify]
      assets:
        description: Access to assets; V(remove) includes V(modify).
        type: str
        choices: [none, read, modify, remove]
      calendar:
        description: Access to calendars and appointments.
        type: str
        choices: [none, read, modify]
      knowledge_base:
        description: Access to the knowledge base.
        type: str
        choices: [none, read, modify]
      contracts:
        description: Access to customers' contracts.
        type: str
        choices: [none, read, modify]
      suppliers:
        description: Access to suppliers.
        type: str
        choices: [none, read, modify]
      items:
        description: Access to items; V(names) shows their names alone.
        type: str
        choices: [none, names, read, modify]
      sales:
        description: Access to sales.
        type: str
        choices: [none, read, modify]
      quotes:
        description: Access to quotations.
        type: str
        choices: [none, read, modify]
      sales_orders:
        description: Access to sales orders.
        type: str
        choices: [none, read, modify]
      purchase_orders:
        description: Access to purchase orders.
        type: str
        choices: [none, read, modify]
      billing:
        description: Access to billing details.
        type: str
        choices: [none, read, modify]
      invoices:
        description: Access to invoices; V(remove) includes V(modify).
        type: str
        choices: [none, read, modify, remove]
      reporting:
        description: Access to reports.
        type: str
        choices: [none, read, modify]
      services:
        description: Access to services.
        type: str
        choices: [none, read, modify]
      software:
        description: Access to software releases.
        type: str
        choices: [none, read, modify]
      timesheets:
        description:
          - Access to timesheets. V(own), V(managed) and V(all) say whose can be modified, V(read) that none can.
        type: str
        choices: [none, read, own, managed, all]
  claims:
    description:
      - The further permissions that the role holds, as Halo keeps them. Those that have a name in O(permissions) are
        refused here. The list is exact; left out, they stay as they are.
    type: list
    elements: dict
    suboptions:
      type:
        description: Halo's code, such as V(Px) for projects. Letter case counts.
        type: str
        required: true
      value:
        description: Halo's value, such as V(1) to read and V(2) to modify.
        type: str
        required: true
  allow_built_in:
    description:
      - Allow to change or remove a role that Halo comes with.
      - These are known by their names, Administrator and Standard User, also with the name of a Halo product before it.
    type: bool
    default: false
  force:
    description: Allow to remove a role that agents have.
    type: bool
    default: false
  properties:
    description:
      - Further fields of Halo's model C(NHD_Roles) that this module does not know, by Halo's names. They are compared
        and sent as they are, and must not hold secrets.
    type: dict
notes:
  - Halo does not publish what its claims are called. The ones in O(permissions) are those that reports on Halo's
    database name, by a code (C(Tx)) or by an older word (C(Ticket_Level)). Both are read, a claim that is there keeps
    its type, and a new one gets the code.
  - It is an assumption that Halo replaces the claims of a role by those that are sent. What O(permissions) takes away
    is sent with the value for none, so that this does not hang on it. If Halo keeps anything else than what was sent,
    the module warns.
seealso:
  - module: haloops.halo.halo_role_info
  - module: haloops.halo.halo_api_agent
  - module: haloops.halo.halo_binding
"""

EXAMPLES = r"""
- name: A role for an integration that works on tickets
  haloops.halo.halo_role:
    halo_url: https://acme.halopsa.com
    halo_tenant: acme
    halo_client_id: "{{ automation_client_id }}"
    halo_client_secret: "{{ automation_client_secret }}"
    name: API tickets
    permissions:
      tickets: modify
      add_tickets: true
      view_others_tickets: true
      view_unassigned_tickets: true
      all_ticket_types: true
      customers: names
      all_customers: true

- name: The agent, application and secret of a binding, now that there is the role that it names
  ansible.builtin.include_role:
    name: haloops.halo.halo_integration
  vars:
    halo_integration_bindings:
      - name: Ticket integration
        agent: {name: api-tickets, email: api-tickets@example.com, roles: [API tickets]}
        application: {scopes: [read:tickets, edit:tickets, read:customers]}

- name: Projects too, for which there is no word
  haloops.halo.halo_role:
    name: API tickets
    claims:
      - {type: Px, value: "1"}

- name: Remove a role, which fails while an agent has it
  haloops.halo.halo_role:
    name: API tickets
    state: absent
"""

RETURN = r"""
role:
  description: The role as it is now, or, in check mode, would be. Null when it is absent.
  returned: success
  type: dict
  contains:
    id:
      description: Its id; null for one that check mode would create.
      type: str
    name:
      description: Its name.
      type: str
    permissions:
      description: What it allows, without what it does not; Halo's own value where it is none of the choices.
      type: dict
    claims:
      description: Its further claims, by C(type) and C(value).
      type: list
      elements: dict
    built_in:
      description: Whether Halo comes with it.
      type: bool
  sample:
    id: 3d2a9f64-5e0b-4c1d-8a77-1f6f2b9c0e11
    name: API tickets
    permissions: {tickets: modify, add_tickets: true, customers: names}
    claims: [{type: Px, value: "1"}]
    built_in: false
error:
  description: What Halo answered to the request that failed.
  returned: failure, when a request failed
  type: dict
  sample: {method: POST, path: /Roles, status: 400, answer: "name: A name is required"}
"""

from ansible_collections.haloops.halo.plugins.module_utils.module import run_module
from ansible_collections.haloops.halo.plugins.module_utils.resources.role import ROLE
from ansible_collections.haloops.halo.plugins.module_utils.run import manage


def main() -> None:
    run_module(manage(ROLE))


if __name__ == "__main__":
    main()
