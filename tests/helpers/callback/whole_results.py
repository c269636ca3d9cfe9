# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes down all that a callback can see of tasks and results, one JSON document a line, to the file WHOLE_RESULTS."""

from __future__ import annotations

import json
import os

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: whole_results
type: aggregate
short_description: Dump every result whole
description: What callbacks send to logs and databases, and more.
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "whole_results"
    CALLBACK_NEEDS_ENABLED = True

    def _note(self, **what):
        with open(os.environ["WHOLE_RESULTS"], "a", encoding="utf-8") as file:
            file.write(json.dumps(what, default=repr, skipkeys=True) + "\n")

    def _result(self, result, **_more):
        # of a task with no_log the arguments are its author's to hide
        fields = {} if result._task.no_log else {"fields": result._task_fields, "args": result._task.args}
        self._note(host=result._host.get_name(), task=result._task.get_name(), result=result._result, **fields)

    def v2_playbook_on_task_start(self, task, is_conditional):
        self._note(starts=task.get_name(), args=None if task.no_log else task.args)

    def v2_playbook_on_stats(self, stats):
        self._note(custom=stats.custom)

    v2_runner_on_ok = v2_runner_on_failed = v2_runner_on_skipped = v2_runner_on_unreachable = _result
    v2_runner_item_on_ok = v2_runner_item_on_failed = v2_runner_item_on_skipped = v2_runner_retry = _result
    v2_runner_on_async_ok = v2_runner_on_async_failed = v2_runner_on_async_poll = v2_on_file_diff = _result
