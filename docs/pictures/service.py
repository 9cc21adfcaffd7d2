"""Draws service.png: the page of `medscreen serve` with a simulated film and a broken file.

python docs/pictures/service.py, in a checkout in which `make repro` has run; needs chromium.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import sync_playwright

from medscreen.data.images import load_images

_PICTURE = Path(__file__).with_name("service.png")
_SHOWN = 3  # which abnormal image of val


def main() -> int:
    """Writes the screenshot."""
    val = load_images(Path("data/curated/development/val"))
    with tempfile.TemporaryDirectory() as scratch:
        film, broken = files = [Path(scratch) / name for name in ("film.png", "broken.png")]
        Image.fromarray(np.asarray(val.pixels[np.flatnonzero(val.labels)[_SHOWN]])).save(film)
        broken.write_text("no image")
        command = ["medscreen", "serve", "--port", "0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server, sync_playwright() as playwright:
            assert server.stdout is not None
            address = re.search(r"at (http://\S+) ", server.stdout.readline())
            assert address is not None
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1240, "height": 700})
            page.goto(address[1])
            page.set_input_files("#files", files)
            page.get_by_text("Screened: 2 files.").wait_for()
            page.screenshot(path=_PICTURE, full_page=True)
            browser.close()
            server.terminate()
    return 0


if __name__ == "__main__":
    sys.exit(main())
