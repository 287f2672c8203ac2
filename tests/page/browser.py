# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A headless Chromium, spoken to over its pipe (--remote-debugging-pipe): nothing beside the browser is needed."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import typing as t
from pathlib import Path

if t.TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Without its sandbox: that needs rights which root in a container has not, and only our own page is opened.
OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--hide-scrollbars",
    "--no-first-run",
    "--remote-debugging-pipe",
)
PRINT = {"printBackground": True, "preferCSSPageSize": False, "paperWidth": 8.27, "paperHeight": 11.69}


def program() -> str | None:
    return next((path for path in map(shutil.which, PROGRAMS) if path), None)


class Browser:
    """One browser with one page open."""

    def __init__(self, reading: t.IO[bytes], writing: t.IO[bytes]) -> None:
        self._reading, self._writing = reading, writing
        self._number, self._session = 0, ""
        self.events: list[dict[str, t.Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "Accessibility"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: t.Any) -> dict[str, t.Any]:
        """Call a method of the browser's protocol, and return its result; events meanwhile are kept."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        self._writing.write(json.dumps(message).encode() + b"\0")
        self._writing.flush()
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def _receive(self) -> dict[str, t.Any]:
        parts = bytearray()
        while True:
            byte = self._reading.read(1)
            if not byte:
                raise RuntimeError("the browser has ended")
            if byte == b"\0":
                return json.loads(bytes(parts))
            parts += byte

    def open(self, path: Path) -> None:
        self.events.clear()
        self.call("Page.navigate", url=path.resolve().as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._receive())

    def look(self, width: int, height: int = 900, **media: str) -> None:
        """Set the size of the window and what the page is told of its medium (color_scheme='dark', media='print')."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        features = [{"name": f"prefers-{name}".replace("_", "-"), "value": value} for name, value in media.items()]
        features = [feature for feature in features if feature["name"] != "prefers-media"]
        self.call("Emulation.setEmulatedMedia", media=media.get("media", ""), features=features)

    def evaluate(self, script: str) -> t.Any:
        """Return what a script gives; it runs beside the page's own policy, which allows none."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(json.dumps(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def press(self, key: str, code: int = 0, text: str = "") -> None:
        for kind in ("keyDown", "keyUp"):
            more = {"text": text} if text and kind == "keyDown" else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **more)

    def picture(self, path: Path, *, whole: bool = True) -> None:
        """Save what is seen, of all the page or of the window."""
        if whole:
            size = self.call("Page.getLayoutMetrics")["cssContentSize"]
            clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 12000), "scale": 1}
            answer = self.call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        else:
            answer = self.call("Page.captureScreenshot")
        path.write_bytes(base64.b64decode(answer["data"]))

    def pdf(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("Page.printToPDF", **PRINT)["data"]))

    def names(self, *roles: str) -> list[tuple[str, str]]:
        """Return what a screen reader is told of: role and name of each part of the page with one of the roles."""
        nodes = {node["nodeId"]: node for node in self.call("Accessibility.getFullAXTree")["nodes"]}
        found, waiting = [], [node["nodeId"] for node in nodes.values() if "parentId" not in node]
        while waiting:
            node = nodes[waiting.pop()]
            # What is not there yet is what its parent has not shown, as in a closed <details>.
            waiting += reversed([child for child in node.get("childIds", ()) if child in nodes])
            role = node.get("role", {}).get("value")
            if role in roles and not node.get("ignored"):
                found.append((role, node.get("name", {}).get("value", "")))
        return found


@contextlib.contextmanager
def started(path: str) -> Iterator[Browser]:
    """Start a browser, and end it."""
    to_browser, writing = os.pipe()
    reading, from_browser = os.pipe()

    def pipes() -> None:  # the browser reads from 3 and writes to 4
        low, high = os.dup(to_browser), os.dup(from_browser)
        os.dup2(low, 3)
        os.dup2(high, 4)

    with tempfile.TemporaryDirectory(prefix="browser-", ignore_cleanup_errors=True) as folder:
        running = subprocess.Popen(
            [path, *OPTIONS, f"--user-data-dir={folder}", "about:blank"],
            preexec_fn=pipes,
            close_fds=False,
            env={**os.environ, "HOME": folder},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        with os.fdopen(reading, "rb") as answers, os.fdopen(writing, "wb") as calls:
            try:
                yield Browser(answers, calls)
            finally:
                running.terminate()
                try:
                    running.wait(10)
                except subprocess.TimeoutExpired:
                    running.kill()
                    running.wait()


# --- Pictures ---------------------------------------------------------------------------------------------------------

# Name, width of the window, scheme.
LOOKS = (("light", 1280, "light"), ("dark", 1280, "dark"), ("phone", 390, "light"), ("phone-dark", 390, "dark"))


def pictures(page: Path, folder: Path) -> None:
    """Save the page as it looks in each way, and as it is printed."""
    folder.mkdir(parents=True, exist_ok=True)
    with started(program() or "chromium") as browser:
        browser.open(page)
        for name, width, scheme in LOOKS:
            browser.look(width, color_scheme=scheme)
            browser.picture(folder / f"{name}.png")
        browser.look(1280, color_scheme="light")
        browser.pdf(folder / "print.pdf")


if __name__ == "__main__":
    pictures(Path(sys.argv[2]), Path(sys.argv[1]))
