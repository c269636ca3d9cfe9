# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Prints the results of a run as one JSON document at its end, as ansible.posix.json does, which is not installed."""

from __future__ import annotations

import json

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: results_as_json
type: stdout
short_description: JSON on standard output
description: The results of all tasks on all hosts.
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "results_as_json"

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._results = []

    def _result(self, result, **_more):
        self._results.append({result._host.get_name(): result._result, "task": result._task.get_name()})

    v2_runner_on_ok = v2_runner_on_failed = v2_runner_on_skipped = v2_runner_on_unreachable = _result

    def v2_playbook_on_stats(self, stats):
        self._display.display(json.dumps({"results": self._results, "custom": stats.custom}, default=repr, indent=4))
