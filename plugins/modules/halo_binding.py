# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: halo_binding
short_description: Converge API-only agents, what logs in as them, and their secrets
version_added: 0.9.0
author: Halo Ops contributors (@haloops)
description:
  - Converges the bindings of one tenant whole. A binding is one API-only agent, one application (or the Halo
    Integrator) that logs in as it, and the client secret in the store. The role
    P(haloops.halo.halo_integration#role) is this one task, and the tasks of your own that follow from it.
  - All bindings are looked at before the first is changed. What fails for one binding is its own; the others are done,
    and the task fails in the end.
  - A new secret is stored as pending before Halo gets it, sent together with the change of agent in one request, proven
    by a login, and then made current. A run that was killed is finished by the next one.
  - One run at a time works on a tenant. Another one stops with a message before it changes anything.
  - It always runs on the controller, where the store is, whatever the host's connection, and needs C(requests) there.
extends_documentation_fragment:
  - haloops.halo.connection
  - haloops.halo.fleet
  - haloops.halo.store
  - haloops.halo.attributes
options:
  bindings:
    description: What shall log in as whom. Either this or O(acknowledge) is needed.
    type: list
    elements: dict
    suboptions:
      name:
        description: Name of the application, and the key in the store.
        type: str
        required: true
      kind:
        description: Whether an application or the Halo Integrator logs in.
        type: str
        choices: [application, integrator]
        default: application
      agent:
        description: The agent, by the options of M(haloops.halo.halo_api_agent).
        type: dict
        required: true
        suboptions:
          name:
            description: Name of the agent.
            type: str
            required: true
          email:
            description: Email address.
            type: str
          enabled:
            description: Whether the account is active. False is refused, for nothing could log in.
            type: bool
            default: true
          api_only:
            description: Whether the agent is API-only.
            type: bool
            default: true
          roles:
            description: Roles by name or id.
            type: list
            elements: str
          teams:
            description:
              - Teams by name or id, or as C({name, can_be_assigned, sees_unassigned, sees_others, leader}); see
                M(haloops.halo.halo_api_agent).
            type: list
            elements: raw
          default_team:
            description: Default team by name or id.
            type: str
          append:
            description: Add the given roles and teams to those that the agent has.
            type: bool
            default: false
          allow_conversion:
            description: Allow to turn a human agent into an API-only one.
            type: bool
            default: false
          properties:
            description: Further fields of Halo's agent model.
            type: dict
      application:
        description: The application, by the options of M(haloops.halo.halo_application).
        type: dict
        suboptions:
          enabled:
            description: Whether it is active. False is refused, for nothing could log in.
            type: bool
            default: true
          authentication_method:
            description: How programs log in.
            type: str
            choices: [client_credentials, authorization_code, implicit, password, api_key]
          scopes:
            description: The scopes granted. Required where the application is to be made.
            type: list
            elements: str
          redirect_uris:
            description: Where a login may return to.
            type: list
            elements: str
          logout_redirect_uris:
            description: Where a logout may return to.
            type: list
            elements: str
          cors_origins:
            description: Origins allowed to call from a browser.
            type: list
            elements: str
          properties:
            description: Further fields of Halo's application model.
            type: dict
      can:
        description:
          - What it is to be able to do. Once its secret has logged in, Halo is asked with it for one row of each, and
            RV(bindings.rights) says what came of it. Nothing is asked where this is not set.
          - A right to edit is never tried by a write. It is proven by the scope of the token and, where they can be
            read, by the permissions of the agent's roles.
          - What is refused is the binding's error, after its secret has been stored; a previous agent is not retired
            then. In check mode it is drift. What is allowed and gives no rows is a warning.
          - It is refused before anything is changed where none of O(bindings[].application.scopes) could grant it.
        type: list
        elements: str
        choices:
          - read tickets
          - edit tickets
          - read projects
          - edit projects
          - read customers
          - edit customers
          - read users
          - edit users
          - read assets
          - edit assets
          - read calendar
          - edit calendar
          - read knowledge base
          - edit knowledge base
          - read contracts
          - edit contracts
          - read suppliers
          - edit suppliers
          - read items
          - edit items
          - read sales
          - edit sales
          - read quotes
          - edit quotes
          - read sales orders
          - edit sales orders
          - read purchase orders
          - edit purchase orders
          - read invoices
          - edit invoices
          - read reports
          - edit reports
      previous_agent:
        description:
          - What becomes of the agent that it logged in as before, once the new login is proven.
          - A human agent, or one that something else logs in as, is kept, with a warning.
        type: str
        choices: [keep, disable, delete]
        default: keep
      max_age_days:
        description:
          - Make a new secret before the stored one is older than this many days. It is due at 80 % of that age, more or
            less by O(jitter).
        type: int
      on_rotated:
        description:
          - File with tasks of your own for a new secret; the role runs them. Its path is relative to the inventory, the
            playbook or the working folder.
          - They run again in the next run when they failed or the run was killed.
        type: path
      adopt:
        description:
          - What to do where Halo has the application and the store knows no secret of it. Someone may be using that
            secret, so V(false) refuses.
          - V(rotate) makes a new one. V(proven) takes over O(bindings[].adopt_secret) if it logs in as the agent; its
            age counts from then on.
        type: str
        choices: ["false", rotate, proven]
        default: "false"
      adopt_secret:
        description: The client secret in force, for O(bindings[].adopt=proven).
        type: str
      renamed_from:
        description:
          - The name that the binding had before. The stored entry of that name becomes this one's, and the application
            that it is of, or else the one that has that name in Halo, is renamed. No new secret is made.
          - Once that is done it changes nothing any more. It is refused where the store, or Halo, has both.
          - Of the Halo Integrator, only the stored entry gets another name.
        type: str
      allow_self:
        description: Allow to change the login of what this very run logs in with. Such a binding comes last.
        type: bool
        default: false
      allow_system:
        description: Allow to change an application that one of Halo's own programs depends on.
        type: bool
        default: false
      allow_hosted:
        description: Allow a new secret although Halo hosts the Integrator.
        type: bool
        default: false
  bindings_extra:
    description:
      - Further ones, by the same options, as those of one tenant beside the O(bindings) of its group; the variable
        C(halo_integration_bindings_extra) of the host unless set. A name that is in both is refused.
    type: list
    elements: dict
    default: []
  state:
    description:
      - V(absent) takes the bindings out of service; their applications are deleted, their agents retired, and the last
        secrets stay in the store as previous. All bindings are checked before the first deletion.
    type: str
    choices: [present, absent]
    default: present
  acknowledge:
    description:
      - Notes in the store that a secret has been delivered by tasks of your own; nothing else is done, and Halo is not
        asked. The secret is named by when it was made, so that a newer one stays outstanding.
    type: dict
    suboptions:
      name:
        description: Name of the binding.
        type: str
        required: true
      made_at:
        description: The C(made_at) of the pending action.
        type: str
        required: true
  rotate:
    description:
      - V(true) makes new secrets now.
      - V(rollback) sets the previous secret of each binding again, for the agent that is declared. It is refused,
        before anything is changed, where there is none, where it is of another application, or where a rotation has
        yet to be finished. Each run with V(rollback) is a rollback, so that the second one undoes the first.
      - Anything else is taken for a boolean, or refused.
    type: raw
    default: false
  verify:
    description:
      - Whether to prove on every run that each stored secret logs in; the variable C(halo_integration_verify) of the
        host unless set.
    type: bool
    default: true
  jitter:
    description:
      - By how much the time varies at which secrets are due because of their age, in per cent of that age, 0 to 20. A
        hash of tenant and binding decides, so that a fleet that was provisioned in one day is not rotated in one. The
        variable C(halo_integration_jitter) of the host unless set.
    type: float
    default: 10
  window:
    description:
      - When secrets that are due because of their age may be replaced; at any time unless set. What Halo demands, what
        is asked for, and what is older than C(max_age_days) in full does not wait for it. The variable
        C(halo_integration_window) of the host unless set.
    type: dict
    suboptions:
      days:
        description: The days on which it begins, C(mon) to C(sun); all unless set.
        type: list
        elements: str
      from:
        description: When it begins, local time, as in V(22:00), in quotes; midnight unless set.
        type: raw
      to:
        description: When it ends; on the next day where that is not later than O(window.from). Midnight unless set.
        type: raw
      timezone:
        description: The time zone, as in V(Europe/London). UTC unless set.
        type: str
  log_path:
    description:
      - File for the audit trail, one line of JSON for each step of a rotation, a retirement, an adoption or a deletion;
        the variable C(halo_integration_log_path) of the host unless set, or else none. No secret is in it. A relative
        path is relative to the inventory.
      - The file is made with mode 0600; its folder must be there. A symbolic link is refused. Where it cannot be
        opened, nothing is changed in Halo. A line that cannot be written later is a warning.
    type: path
  defer_failure:
    description:
      - Not to fail where RV(pending_actions) are left for other bindings, so that they can be done first. Whoever does
        them fails after them with RV(ignore:msg). The role does so.
    type: bool
    default: false
  decommission_agent:
    description:
      - With O(state=absent), what becomes of the agent, unless something else logs in as it. The variable
        C(halo_integration_decommission_agent) of the host unless set.
    type: str
    choices: [keep, disable, delete]
    default: disable
  decommission_adopted:
    description:
      - With O(state=absent), whether to delete applications that were there before the first secret. The variable
        C(halo_integration_decommission_adopted) of the host unless set.
    type: bool
    default: false
notes:
  - The connection options are taken from the task, the host's variables of the same names, or the environment.
  - With C(async) the task is refused, since the stored secrets are the controller's.
  - What of this is assumed about Halo stands in the README.
seealso:
  - module: haloops.halo.halo_api_agent
  - module: haloops.halo.halo_application
  - module: haloops.halo.halo_integrator
  - plugin: haloops.halo.credential
    plugin_type: lookup
"""

EXAMPLES = r"""
- name: An API-only agent, and an application that logs in as it
  haloops.halo.halo_binding:
    bindings:
      - name: Ticket integration
        agent: {name: api-tickets, roles: [API Integration], teams: [1st Line Support]}
        application: {scopes: [read:tickets, edit:tickets]}
        can: [read tickets, edit tickets]
        previous_agent: disable
  register: converged

- name: As whom it logs in from now on
  ansible.builtin.debug:
    msg: "{{ binding.client_id }} logs in as {{ binding.agent_name }}"
  vars:
    binding: "{{ converged.bindings['Ticket integration'] }}"

- name: The previous secret again, and a line for each step
  haloops.halo.halo_binding:
    rotate: rollback
    log_path: /var/log/halo/secrets.jsonl
    bindings:
      - name: Ticket integration
        agent: {name: api-tickets}

- name: Out of service
  haloops.halo.halo_binding:
    state: absent
    bindings:
      - name: Ticket integration
        agent: {name: api-tickets}
"""

RETURN = r"""
bindings:
  description: What became of each binding, by its name. No secret is in it.
  returned: when Halo could be asked
  type: dict
  contains:
    kind:
      description: V(application) or V(integrator).
      type: str
    agent_id:
      description: Id of the agent; null for one that check mode would make.
      type: int
    agent_name:
      description: Its name.
      type: str
    application_id:
      description: Id of the application.
      type: str
    client_id:
      description: Its client ID.
      type: str
    hosted:
      description: Whether it is the Integrator and Halo hosts it.
      type: bool
    changed:
      description: Whether anything was changed, or, in check mode, would be.
      type: bool
    rotated:
      description: Whether there is another secret than before, or, in check mode, would be.
      type: bool
    reason:
      description:
        - Why, V(created), V(agent_changed), V(login_type_changed), V(requested), V(rollback), V(expired), V(missing),
          V(invalid) or V(none).
      type: str
    verified:
      description: Whether the secret is proven to log in; null where it was not tried.
      type: bool
    made_at:
      description: When the current secret was made, UTC.
      type: str
    due_at:
      description: When it is to be replaced because of its age.
      type: str
    rights:
      description:
        - For each right in O(bindings[].can) its C(name), its C(state) and the C(reason). V(granted), V(refused), or
          V(empty) where Halo refused nothing and gave no rows. The reason is null where a row has proven it.
        - Empty where Halo was not asked, as in check mode of a binding that would get a new secret.
      type: list
      elements: dict
    drift:
      description: What was not as declared, in sentences.
      type: list
      elements: str
    previous_agent_id:
      description: Id of the agent that it logged in as before.
      type: int
    previous_agent:
      description: What became of that agent, V(disabled), V(deleted), or why it was kept.
      type: str
    warnings:
      description: What the user should know.
      type: list
      elements: str
    error:
      description: What failed for this binding; null where nothing did.
      type: str
    hint:
      description: What to do about it, the end of RV(bindings.error); null where there is nothing to say.
      type: str
    handover:
      description: The text for Halo's support, where Halo hosts the Integrator and its secret was changed.
      type: str
  sample:
    Ticket integration:
      kind: application
      agent_id: 31
      agent_name: api-tickets
      application_id: 6f1d2f0e-8a77-4f0c-9d53-0c7a52b4f1aa
      client_id: 0b1e7a52-0c59-49b5-8f2c-0f2f4c2c7d11
      hosted: false
      changed: true
      rotated: false
      reason: none
      verified: true
      made_at: "2026-03-02T09:14:07.120431+00:00"
      due_at: null
      rights: [{name: read tickets, state: granted, reason: null}]
      drift: ["roles: API Integration is missing"]
      previous_agent_id: null
      previous_agent: null
      warnings: []
      error: null
      hint: null
      handover: null
pending_actions:
  description:
    - What is left for tasks of the user's own, in this order. C(action) is C(own_login), C(deliver) or C(handover).
    - Check mode has none but C(own_login), where the run itself had to log in with a stored secret.
  returned: when Halo could be asked
  type: list
  elements: dict
  sample: []
orphans:
  description:
    - Names of the bindings of this tenant that have a secret in the store, current or pending, and are not in
      O(bindings). RV(ignore:warnings) says so too. What was taken out of service is none.
    - Where the store cannot be listed, or holds something that cannot be read, it is empty, with a warning.
  returned: with O(state=present), when Halo could be asked
  type: list
  elements: str
  sample: []
instance:
  description: Address of the instance.
  returned: when Halo could be asked
  type: str
check_mode:
  description: Whether this was check mode, and nothing was changed.
  returned: when Halo could be asked
  type: bool
failure:
  description: What failed.
  returned: failure, with O(fleet)
  type: str
error:
  description: What Halo answered to the request that failed.
  returned: failure
  type: dict
  sample: {method: POST, path: /Application, status: 400, answer: "Invalid scope", hint: null}
"""

from ansible_collections.haloops.halo.plugins.module_utils.binding import BINDINGS
from ansible_collections.haloops.halo.plugins.module_utils.module import run_on_controller


def main() -> None:
    run_on_controller(BINDINGS)


if __name__ == "__main__":
    main()
