# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""For tests of the role: writes down what a callback gets to see, one JSON document a line, to the file ROLE_WATCH."""

from __future__ import annotations

import json
import os

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: role_watch
type: aggregate
short_description: Watch a run of the role
description: Writes results.
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "role_watch"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self):
        super().__init__()
        self._file = open(os.environ["ROLE_WATCH"], "w", encoding="utf-8")  # noqa: SIM115

    def _note(self, **what):
        self._file.write(json.dumps(what, default=str) + "\n")
        self._file.flush()

    def v2_playbook_on_stats(self, stats):
        for host in stats.processed:
            self._note(host=host, stats=stats.summarize(host))
        for host, values in stats.custom.items():
            self._note(custom=values, of=host)
        self._file.close()

    def _result(self, outcome, result):
        name = result._task.get_name().rpartition(" : ")[2]
        self._note(host=result._host.get_name(), task=name, outcome=outcome, result=result._result)

    def v2_runner_on_ok(self, result):
        self._result("ok", result)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self._result("failed", result)

    def v2_runner_on_unreachable(self, result):
        self._result("unreachable", result)

    def v2_runner_on_skipped(self, result):
        self._result("skipped", result)
