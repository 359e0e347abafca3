"""How long a user waits for the Studio: `python tests/bench/studio_start.py [--rounds N]`.

Seconds from the command until it names its address, until it has answered what the page asks for first, and until
Chromium, already running and with nothing in its cache, has drawn the first example. The least of some rounds and
their median; each is a fresh Studio.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

TESTS = Path(__file__).parents[1]
sys.path.insert(0, str(TESTS))

from browser.editor import Editor  # noqa: E402
from browser.hosts import ARGUMENTS, CHROMIUM, StudioProcess  # noqa: E402

from varifold.studio.server.frontend import find_frontend  # noqa: E402

FIRST_QUESTIONS = ("", "api/object_info", "api/extensions")


def measure(browser: Browser, folder: Path) -> list[float]:
    start = time.monotonic()
    with StudioProcess(folder, find_frontend()) as studio:
        times = [time.monotonic()]
        for path in FIRST_QUESTIONS:
            urllib.request.urlopen(studio.url + path).read()
        times.append(time.monotonic())
        editor = Editor(browser.new_page(), studio.url)
        editor.open()
        editor.until("t.node('VarifoldSampler') && document.querySelector('.varifold-curve .line')")
        editor.drawn()
        times.append(time.monotonic())
        editor.page.close()
    return [each - start for each in times]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as scratch:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        found = [measure(browser, Path(scratch, str(number))) for number in range(rounds)]
        browser.close()
    for name, times in zip(("address", "first answers", "graph drawn"), zip(*found, strict=True), strict=True):
        print(f"{name:14} {min(times):.2f} s at least, {statistics.median(times):.2f} s in the median of {rounds}")


if __name__ == "__main__":
    main()
