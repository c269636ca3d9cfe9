# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""For tests of the role: writes down what a callback gets to see, and kills the run where it is told to.

ROLE_WATCH is the file to write to, one JSON document a line. ROLE_KILL is the number of the task at whose start the
run's process group is killed, ROLE_KILL_AFTER the seconds to wait then. Tasks are counted from the role's first on.
"""

from __future__ import annotations

import json
import os
import signal
import threading

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: role_watch
type: aggregate
short_description: Watch, and kill, a run of the role
description: Writes results, and ends the run at a given task or instant.
"""

FIRST = "Look at all bindings"


def _kill():
    os.killpg(os.getpgrp(), signal.SIGKILL)


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "role_watch"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self):
        super().__init__()
        self._file = open(os.environ["ROLE_WATCH"], "w", encoding="utf-8")  # noqa: SIM115
        self._kill_at = int(os.environ.get("ROLE_KILL") or -1)
        self._kill_after = float(os.environ.get("ROLE_KILL_AFTER") or 0)
        self._number = -1

    def _note(self, **what):
        self._file.write(json.dumps(what, default=str) + "\n")
        self._file.flush()

    def v2_playbook_on_task_start(self, task, is_conditional):
        name = task.get_name().rpartition(" : ")[2]
        if self._number >= 0 or name.startswith(FIRST):
            self._number += 1
        self._note(task=name, number=self._number)
        if 0 <= self._number == self._kill_at:
            if self._kill_after:
                threading.Timer(self._kill_after, _kill).start()
            else:
                _kill()

    def v2_playbook_on_handler_task_start(self, task):
        self.v2_playbook_on_task_start(task, False)

    def v2_playbook_on_stats(self, stats):
        for host in stats.processed:
            self._note(host=host, stats=stats.summarize(host))
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
