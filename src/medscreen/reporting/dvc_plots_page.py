"""Offline page for `dvc plots show`: includes Vega, which the default page of DVC loads from the network."""

from pathlib import Path

from medscreen.reporting.pages.markdown import TEMPLATES
from medscreen.workspace.atomic_outputs import replaced
from medscreen.workspace.layout import find_layout

_VEGA_LITE = "5.20"  # DVC's templates are written for Vega-Lite 5


def write_plots_page(root: Path) -> Path:
    """Writes the HTML template named in .dvc/config and returns its path; DVC fills in {plot_divs}."""
    import vl_convert

    bundle: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=_VEGA_LITE)
    page = root / ".dvc" / "plots" / "offline.html"
    with replaced(page) as partial:
        content = TEMPLATES.get_template("dvc_plots.html.j2").render(vega=bundle.replace("</script", "<\\/script"))
        partial.write_text(content, encoding="utf-8")
    return page


if __name__ == "__main__":
    write_plots_page(find_layout().workspace)
