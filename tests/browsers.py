"""A browser for tests that look at pages as a person does."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def browser() -> str:
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        assert not os.environ.get("MEDSCREEN_REQUIRE_BROWSER"), "a browser is required here and there is none"
        pytest.skip(f"no browser on the path ({', '.join(BROWSERS)}): install chromium to run this test")
    return found


@contextmanager
def new_tab(browser: str) -> Iterator[Page]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=browser, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        tab = chromium.new_page(viewport={"width": 1500, "height": 950})
        tab.set_default_timeout(60_000)
        yield tab
        chromium.close()


@pytest.fixture
def seen(tmp_path: Path) -> Path:
    """Where screenshots go."""
    folder = Path(os.environ.get("MEDSCREEN_SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
