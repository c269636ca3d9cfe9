# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A headless Chromium, driven over a pipe by its own protocol: nothing listens, and no driver must fit its version."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SECONDS = 30
# it wants the pipe at the descriptors 3 and 4
START = "import os, sys; [os.dup2(int(sys.argv[n]), n + 2) for n in (1, 2)]; os.execv(sys.argv[3], sys.argv[3:])"
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic",
    "--hide-scrollbars", "--force-color-profile=srgb", "--remote-debugging-pipe",
)  # fmt: skip


class Browser:
    """One tab. ``width`` and so on stay in force until they are set again."""

    def __init__(self, to: int, back: int) -> None:
        self._to = to
        self._back = back
        self._read = b""
        self._number = 0
        self._session: str | None = None
        self._messages: list[dict[str, Any]] = []
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")

    def open(self, path: Path) -> None:
        """Show a file, and wait until it is there."""
        self._messages.clear()
        self._call("Page.navigate", url=path.resolve().as_uri())
        self._until("Page.loadEventFired")

    def view(self, *, width: int = 1280, height: int = 800, dark: bool = False, print_media: bool = False) -> None:
        self._call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", media="print" if print_media else "", features=[scheme])

    def run(self, script: str) -> Any:
        """The value of an expression of JavaScript in the page; promises are awaited."""
        done = self._call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def click(self, selector: str) -> None:
        """Press the mouse button in the middle of an element, which must be in sight."""
        box = self.run(
            f"(() => {{ const one = document.querySelector({json.dumps(selector)});"
            " one.scrollIntoView({block: 'center'}); const box = one.getBoundingClientRect();"
            " return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self._call(
                "Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1, buttons=1
            )

    def type(self, selector: str, text: str) -> None:
        """Replace what stands in a field, as keys and a paste would."""
        self.run(f"document.querySelector({json.dumps(selector)}).select()")
        self.run(f"document.querySelector({json.dumps(selector)}).focus()")
        self._call("Input.insertText", text=text)

    def key(self, key: str, text: str = "") -> None:
        for kind in ("keyDown", "keyUp"):
            self._call("Input.dispatchKeyEvent", type=kind, key=key, code=key, text=text if kind == "keyDown" else "")

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        found = self._call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))

    def pdf(self, path: Path) -> None:
        found = self._call("Page.printToPDF", printBackground=False, landscape=True, preferCSSPageSize=False)
        path.write_bytes(base64.b64decode(found["data"]))

    def close(self) -> None:
        with contextlib.suppress(OSError):
            os.write(self._to, json.dumps({"id": 0, "method": "Browser.close"}).encode() + b"\0")

    def complaints(self) -> list[str]:
        """What the page wrote to its console, or raised, since it was opened."""
        self.run("0")
        kinds = ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled")
        return [json.dumps(one["params"]) for one in self._messages if one.get("method") in kinds]

    def requests(self) -> list[str]:
        """The addresses that the page asked for since it was opened, its own among them."""
        self.run("0")
        sent = [one for one in self._messages if one.get("method") == "Network.requestWillBeSent"]
        return [str(one["params"]["request"]["url"]) for one in sent]

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        session = {"sessionId": self._session} if self._session else {}
        message = {"id": self._number, "method": method, "params": params, **session}
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            found = self._message()
            if found.get("id") == self._number:
                assert "error" not in found, (method, found["error"])
                result: dict[str, Any] = found["result"]
                return result
            self._messages.append(found)

    def _until(self, event: str) -> None:
        while not any(one.get("method") == event for one in self._messages):
            self._messages.append(self._message())

    def _message(self) -> dict[str, Any]:
        end = time.monotonic() + SECONDS
        while b"\0" not in self._read:
            ready, _none, _no = select.select([self._back], [], [], max(0, end - time.monotonic()))
            assert ready, f"the browser said nothing for {SECONDS} s"
            part = os.read(self._back, 1 << 20)
            assert part, "the browser ended"
            self._read += part
        first, _zero, self._read = self._read.partition(b"\0")
        found: dict[str, Any] = json.loads(first)
        return found


@contextlib.contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """A browser with a profile of its own below ``folder``, ended at the end."""
    assert PROGRAM, "there is no Chromium"
    to_browser, from_browser = os.pipe(), os.pipe()
    # out of the way of those that it is to have
    theirs = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (to_browser[0], from_browser[1])]
    for end in (to_browser[0], from_browser[1]):
        os.close(end)
    with open(folder / "browser.log", "wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", START, *map(str, theirs), PROGRAM, *QUIET, f"--user-data-dir={folder / 'profile'}"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=theirs,
            env={**os.environ, "HOME": str(folder)},
        )
    for descriptor in theirs:
        os.close(descriptor)
    tab = None
    try:
        tab = Browser(to_browser[1], from_browser[0])
        yield tab
    finally:
        if tab:
            # it waits for its own processes, which a signal would leave behind with the profile
            tab.close()
        for descriptor in (to_browser[1], from_browser[0]):
            os.close(descriptor)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
