"""The page of `dvc plots show` with Vega inside it: DVC's own loads it from the network, and stays blank offline."""

from pathlib import Path

from medscreen.workspace.atomic_outputs import replaced
from medscreen.workspace.layout import find_layout

_VEGA_LITE = "5.20"  # DVC's templates are written for Vega-Lite 5
_PAGE = """<!DOCTYPE html>
<html>
<head>
<meta charset="utf-8">
<title>medscreen: plots</title>
<style>
body { font-family: sans-serif; margin: 2rem }
h1 { font-size: 1.2rem }
main { display: flex; flex-wrap: wrap; gap: 1rem }
</style>
<script>SCRIPT</script>
</head>
<body>
<h1>medscreen: curves of the test split. Research use only, never diagnosis.</h1>
<main>{plot_divs}</main>
</body>
</html>
"""


def write_plots_page(root: Path) -> Path:
    """Writes the template that .dvc/config names and returns its path."""
    import vl_convert

    bundle: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=_VEGA_LITE)
    page = root / ".dvc" / "plots" / "offline.html"
    with replaced(page) as partial:
        partial.write_text(_PAGE.replace("SCRIPT", bundle.replace("</script", "<\\/script")), encoding="utf-8")
    return page


if __name__ == "__main__":
    write_plots_page(find_layout().workspace)
