# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A connection that is local in truth and not in name: what is sent over it is sent as a module."""

from __future__ import annotations

from ansible.plugins.connection.local import Connection as LocalConnection

DOCUMENTATION = """
name: elsewhere
short_description: The controller under another name
description: Runs commands on the controller, as the local connection does.
options: {}
"""


class Connection(LocalConnection):
    transport = "elsewhere"
