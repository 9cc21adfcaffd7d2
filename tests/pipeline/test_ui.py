import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import environment
from servers import free_port, serving

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def browser() -> str:
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        assert not os.environ.get("MEDSCREEN_REQUIRE_BROWSER"), "a browser is required here and there is none"
        pytest.skip(f"no browser on the path ({', '.join(BROWSERS)}): install chromium to run this test")
    return found


@pytest.fixture(scope="module")
def address(finished: Path) -> Iterator[str]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with serving(["medscreen", "ui", "--port", str(port)], url, finished, environment(finished)):
        yield url


def test_the_ui_shows_runs_metrics_pictures_and_the_version_in_production(
    browser: str, address: str, tmp_path: Path
) -> None:
    from playwright.sync_api import expect, sync_playwright

    seen = Path(os.environ.get("MEDSCREEN_SCREENSHOTS") or tmp_path)
    seen.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=browser, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        page = chromium.new_page(viewport={"width": 1500, "height": 950})
        page.set_default_timeout(60_000)
        # what a person would click away at the first visit
        page.add_init_script(
            "localStorage.setItem('mlflow.workflowType_v1', '\"machine_learning\"');"
            "localStorage.setItem('mlflow.assistant.panelOpen_v1', 'false');"
            "localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true');"
        )
        page.goto(f"{address}/#/experiments")
        page.get_by_role("link", name="phantom", exact=True).first.click()
        expect(page.get_by_text("autoencoder").first).to_be_visible()
        page.screenshot(path=seen / "runs.png")
        page.get_by_role("link", name="cnn", exact=True).first.click()
        expect(page.get_by_text("test/auroc", exact=True).first).to_be_visible()
        page.screenshot(path=seen / "run.png")
        page.get_by_role("tab", name="Artifacts").or_(page.get_by_role("link", name="Artifacts")).first.click()
        page.get_by_text("figures", exact=True).first.click()
        page.get_by_text("confusion.png", exact=True).first.click()
        expect(
            page.locator("img[src*='confusion'], img[src^='blob:'], .image-outer-container img").first
        ).to_be_visible()
        page.screenshot(path=seen / "confusion.png")
        page.goto(f"{address}/#/models/phantom-detector")
        expect(page.get_by_text("production").first).to_be_visible()
        page.screenshot(path=seen / "model.png")
        chromium.close()
