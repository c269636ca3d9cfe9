# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The self test as a task: its table is printed as it is, to be pasted somewhere, and written to a file of the
controller."""

from __future__ import annotations

import os
import typing as t

from ..module_utils.self_test import self_test
from .action import HaloAction, Result, display


class SelfTestAction(HaloAction):
    operation = self_test()

    def run(self, tmp: t.Any = None, task_vars: t.Any = None) -> Result:
        result = super().run(tmp, task_vars)
        if not result.get("table"):
            return result
        count, version = result["summary"], result["halo_version"] or "of unknown version"
        about = f"Halo {version}: " + ", ".join(f"{number} {word.replace('_', ' ')}" for word, number in count.items())
        # not the address: what is pasted says of which version it is, not of whom
        text = f"{about}\n\n{result['table']}\n"
        display.display(text)
        path = self._task.args.get("path")
        if path:
            try:
                with open(os.path.expanduser(str(path)), "w", encoding="utf-8") as file:
                    file.write(text)
            except OSError as error:
                return {**result, "failed": True, "msg": f"{path} could not be written: {error.strerror}."}
        return result
