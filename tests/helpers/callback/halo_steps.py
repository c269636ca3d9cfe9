# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""For scenario tests: steers the sandbox from a task's variables, and writes down what a callback gets to see.

A task's variable ``sandbox`` is a list of requests to the sandbox's control side, ``[method, path, value]``, made
before the task starts. When it is over, one line of JSON goes to the file HALO_STEPS: the task's name, the outcome of
each item, what the tenant HALO_STEPS_TENANT was asked meanwhile, and whether its state is another one.
"""

from __future__ import annotations

import json
import os
import ssl
import urllib.request

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: halo_steps
type: aggregate
short_description: Record the steps of a scenario test
description: Writes results and the requests that a sandbox got, task by task.
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "halo_steps"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self):
        super().__init__()
        self._record = os.environ["HALO_STEPS"]
        self._url = os.environ["HALO_STEPS_SANDBOX"]
        self._tenant = os.environ["HALO_STEPS_TENANT"]
        context = ssl.create_default_context(cafile=os.environ.get("HALO_STEPS_CA"))
        handlers = urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        self._opener = urllib.request.build_opener(*handlers)
        self._task = None
        self._items = []
        self._from = 0
        self._state = None

    def _control(self, method, path, value=None):
        request = urllib.request.Request(f"{self._url}/_sandbox/{path}", method=method)
        if value is not None:
            request.data = json.dumps(value).encode()
        with self._opener.open(request, timeout=30) as response:
            return json.load(response)

    def _requests(self):
        return self._control("GET", f"requests?tenant={self._tenant}")["requests"]

    def _finish(self):
        """Write down the task that is over."""
        if self._task is None:
            return
        state = self._control("GET", f"state/{self._tenant}")
        line = {
            "task": self._task,
            "items": self._items,
            "requests": [
                {name: entry[name] for name in ("method", "path", "query", "kind", "status")}
                for entry in self._requests()
                if entry["n"] > self._from
            ],
            "state_changed": state != self._state,
        }
        with open(self._record, "a", encoding="utf-8") as file:
            file.write(json.dumps(line, default=str) + "\n")
        self._task = None

    def v2_playbook_on_task_start(self, task, is_conditional):
        self._finish()
        for method, path, value in task.vars.get("sandbox", []):
            self._control(method, path, value)
        self._task, self._items = task.get_name(), []
        self._from = max([entry["n"] for entry in self._requests()], default=0)
        self._state = self._control("GET", f"state/{self._tenant}")

    def v2_playbook_on_stats(self, stats):
        self._finish()

    def _note(self, outcome, result):
        self._items.append({"outcome": outcome, "host": result._host.get_name(), "result": result._result})

    def v2_runner_on_ok(self, result):
        self._note("ok", result)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self._note("failed", result)

    def v2_runner_on_unreachable(self, result):
        self._note("unreachable", result)

    def v2_runner_on_skipped(self, result):
        self._note("skipped", result)

    def v2_runner_item_on_ok(self, result):
        self._note("item ok", result)

    def v2_runner_item_on_failed(self, result):
        self._note("item failed", result)

    def v2_runner_item_on_skipped(self, result):
        self._note("item skipped", result)

    def v2_runner_on_async_ok(self, result):
        self._note("async ok", result)

    def v2_runner_on_async_failed(self, result):
        self._note("async failed", result)
