import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from browsers import new_tab
from conftest import environment
from medscreen.data.images import load_images
from servers import free_port, serving


@pytest.fixture(scope="module")
def address(finished: Path) -> Iterator[str]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with serving(["medscreen", "ui", "--port", str(port)], url, finished, environment(finished)):
        yield url


@pytest.fixture
def page(browser: str) -> Iterator[Page]:
    """A tab as somebody has it who has clicked away what MLflow shows at the first visit."""
    with new_tab(browser) as tab:
        tab.add_init_script(
            "localStorage.setItem('mlflow.workflowType_v1', '\"machine_learning\"');"
            "localStorage.setItem('mlflow.assistant.panelOpen_v1', 'false');"
            "localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true');"
        )
        yield tab


def test_the_ui_shows_runs_metrics_and_pictures(page: Page, address: str, seen: Path) -> None:
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
    expect(page.locator("img[src*='confusion'], img[src^='blob:'], .image-outer-container img").first).to_be_visible()
    page.screenshot(path=seen / "confusion.png")


def test_the_ui_shows_alias_card_tags_and_decision_of_the_version_in_production(
    page: Page, address: str, seen: Path, finished: Path
) -> None:
    promoted = json.loads((finished / "reports" / "promotion.json").read_text())["promoted"]
    page.goto(f"{address}/#/models/phantom-detector")
    expect(page.get_by_text("production").first).to_be_visible()
    page.screenshot(path=seen / "model.png")
    page.get_by_role("link", name=f"Version {promoted['version']}", exact=True).first.click()
    expect(page.get_by_text("Aliases").first).to_be_visible()
    expect(page.get_by_text("@ production").first).to_be_visible()
    expect(page.get_by_role("heading", name="Intended use")).to_be_visible()
    expect(page.get_by_text("Research use only, never diagnosis.").first).to_be_visible()
    page.screenshot(path=seen / "version.png")
    tags = page.get_by_text("medscreen.decision", exact=False).first
    tags.scroll_into_view_if_needed()
    expect(tags).to_be_visible()
    expect(page.get_by_text("to Production by", exact=False).first).to_be_visible()
    page.screenshot(path=seen / "tags.png")
    page.goto(f"{address}/#/experiments")
    page.get_by_role("link", name="phantom-detector decisions", exact=True).first.click()
    page.get_by_role("link", name=f"version {promoted['version']} ({promoted['detector']}) to Production").first.click()
    expect(page.get_by_text("beats the baseline ", exact=False).first).to_be_visible()
    page.screenshot(path=seen / "decision.png")


@pytest.fixture(scope="module")
def service(finished: Path) -> Iterator[str]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = ["medscreen", "serve", "--port", str(port)]
    with serving(command, url, finished, environment(finished), page="readyz"):
        yield url


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_of_the_service_shows_decision_map_similar_cases_and_errors(
    browser: str, service: str, seen: Path, finished: Path, tmp_path: Path, width: int
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    film = tmp_path / "<i>film.png"
    val = load_images(finished / "data" / "curated" / "development" / "val")
    Image.fromarray(np.asarray(val.pixels[0])).save(film)
    dicom = sorted((finished / "data" / "phantom").rglob("*.dcm"))[0]
    with new_tab(browser) as tab:
        outside: list[str] = []
        tab.on("request", lambda request: outside.append(request.url))
        tab.set_viewport_size({"width": width, "height": 900})
        tab.goto(f"{service}/")
        expect(tab.get_by_text("Research use only, never diagnosis.")).to_be_visible()
        expect(tab.get_by_text("phantom-detector version")).to_be_visible()
        tab.keyboard.press("Tab")
        assert tab.evaluate("document.activeElement.id") == "files"
        tab.set_input_files("#files", [str(film), str(dicom), str(broken)])
        expect(tab.get_by_text("Screened: 3 files.")).to_be_visible()
        for name in (film.name, dicom.name):
            card = tab.get_by_role("article", name=name)
            expect(card.locator(".decision")).to_have_text(
                re.compile("Normal|Abnormal|Deferred to a reader|No decision")
            )
            expect(card.get_by_role("img", name=re.compile("^Score"))).to_be_visible()
            expect(card.get_by_role("img", name="Image as displayed")).to_be_visible()
            expect(card.get_by_role("img", name="Map: ").or_(card.get_by_text("No map:"))).to_be_visible()
            expect(card.locator("table tr")).to_have_count(7)  # the header, and three cases of each class
        expect(tab.get_by_role("article", name="broken.png").get_by_role("alert")).to_contain_text(
            "unsupported file type"
        )
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        assert [url for url in outside if not url.startswith((service, "data:"))] == []
        tab.screenshot(path=seen / f"service-{width}.png", full_page=True)
