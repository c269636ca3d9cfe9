# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  halo_url:
    description:
      - Address of the Halo instance, as in C(https://acme.halopsa.com). It may have a path
        (C(https://it.example.org/halo)).
      - Required. Falls back on the environment variable E(HALO_URL).
    type: str
  halo_tenant:
    description:
      - Name of the tenant, where Halo hosts the instance. On-premise instances have none.
      - Falls back on the environment variable E(HALO_TENANT).
    type: str
  halo_client_id:
    description:
      - Client ID of the application that the automation logs in with. Its login agent must be an administrator.
      - Falls back on the environment variable E(HALO_CLIENT_ID).
    type: str
  halo_client_secret:
    description:
      - Client secret of that application.
      - Falls back on the environment variable E(HALO_CLIENT_SECRET).
    type: str
  halo_access_token:
    description:
      - An access token, instead of O(halo_client_id) and O(halo_client_secret). It cannot be renewed.
      - Falls back on the environment variable E(HALO_ACCESS_TOKEN).
    type: str
  halo_auth_url:
    description:
      - Address of the authorisation server, without C(/token).
      - When it is not set, O(halo_url) with C(/auth) is tried, and when that answers 404 Halo is asked (C(AuthInfo)).
        Where O(halo_url) is https, an answer without https is refused.
      - Falls back on the environment variable E(HALO_AUTH_URL).
    type: str
  halo_scope:
    description:
      - Scopes to ask for, separated by blanks. A token without a scope opens nothing, so there is always one.
      - Falls back on the environment variable E(HALO_SCOPE).
    type: str
    default: all
  halo_validate_certs:
    description:
      - Whether to verify the TLS certificate. Each task warns while it is not verified.
      - Falls back on the environment variable E(HALO_VALIDATE_CERTS).
    type: bool
    default: true
  halo_ca_path:
    description:
      - File with the CA certificates to trust, instead of the ones that C(requests) brings.
      - Where it is not set, E(REQUESTS_CA_BUNDLE) and E(CURL_CA_BUNDLE) are honoured.
      - Falls back on the environment variable E(HALO_CA_PATH).
    type: path
  halo_timeout:
    description:
      - Seconds for one request, from opening the connection to the last byte of the response.
      - Falls back on the environment variable E(HALO_TIMEOUT).
    type: int
    default: 30
  halo_retry_seconds:
    description:
      - How long, in all, a task waits out rate limits (429) and outages (502, 503, 504), in seconds.
        Hosted Halo allows 300 requests in any 5 minutes and need not say when to come back.
      - Each wait of two seconds or more is said in the terminal when it begins, where the module runs inside the
        controller's own process.
      - Falls back on the environment variable E(HALO_RETRY_SECONDS).
    type: int
    default: 330
requirements:
  - requests >= 2.28
notes:
  - An option that is the empty string, and an environment variable that is set but empty, count as unset.
  - Proxies come from the environment variables C(http_proxy), C(https_proxy), C(all_proxy) and C(no_proxy), in lower or
    upper case, and from nowhere else. A C(~/.netrc) is not read.
  - The module runs inside the controller's own process where the task's connection is local; otherwise where the task
    is sent. The variable C(halo_in_process) or the environment variable E(HALO_IN_PROCESS) set to false turns that off.
"""
