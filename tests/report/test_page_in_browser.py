"""The page in Chromium: every figure is drawn, nothing is asked for, no error, no side scroll."""

import json
import re
import shutil
import subprocess
from html import unescape

import pytest

from nasgen.report.page.comparison import comparison
from nasgen.report.page.html import page
from tests.report.made_run import begun_run, task_of, whole_run

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync "
    "--virtual-time-budget=5000 --dump-dom"
).split()
POLICY = re.compile('<meta http-equiv="Content-Security-Policy"[^>]*>')
# Before the page's own scripts: notes what goes wrong. After them: looks, points and clicks.
BEFORE = """<script>
const wrong = [];
addEventListener("error", (e) => wrong.push(String(e.message)));
for (const level of ["error", "warn"]) console[level] = (...said) => wrong.push(said.join(" "));
</script>"""
AFTER = """<script>
addEventListener("load", () => setTimeout(() => {
  const found = { wrong, drawn: {}, inner: innerWidth };
  for (const [name, { chart }] of charts) {
    const canvas = document.querySelector(`#${name} canvas`);
    const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    found.drawn[name] = new Set(new Uint32Array(pixels.buffer)).size;
  }
  found.asked = performance.getEntriesByType("resource").map((one) => one.name);
  found.scroll = document.documentElement.scrollWidth;
  const dialog = document.getElementById("cells");
  const button = document.querySelector("button[data-net]");
  if (button) {
    button.click();
    found.opened = dialog.open && dialog.querySelectorAll("svg.cell").length;
    dialog.querySelector(".close").click();
    found.closed = !dialog.open;
  }
  const front = charts.get("pareto-params");
  if (front) {
    const { chart } = front, first = chart.getOption().series[0].data[0];
    const [zrX, zrY] = chart.convertToPixel({ seriesIndex: 0 }, first.value);
    for (const kind of ["mousemove", "mousedown", "mouseup", "click"]) {
      chart.getZr().handler.dispatch(kind, { zrX, zrY });
    }
    found.clicked = dialog.open && dialog.querySelector("h3").textContent;
  }
  document.body.replaceChildren(JSON.stringify(found));
}, 1500));
</script>"""

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="needs Chromium (Debian: apt-get install chromium)"
)


def seen(text: str, folder, *, width: int = 1200) -> dict:
    """What the page is in a browser, without the policy that would keep requests from leaving."""
    assert POLICY.search(text)
    text = POLICY.sub("", text)
    text, _, end = text.replace("<head>", f"<head>{BEFORE}", 1).rpartition("</body>")
    text = f"{text}{AFTER}</body>{end}"
    (folder / "page.html").write_text(text)
    own = [f"--user-data-dir={folder / 'browser'}", f"--window-size={width},900"]
    command = [CHROMIUM, *FLAGS, *own, f"file://{folder / 'page.html'}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    body = re.search(r"<body>(.*?)</body>", done.stdout, re.DOTALL)
    assert body, done.stderr[-2000:]
    return json.loads(unescape(body[1]))


def is_quiet(found: dict) -> bool:
    """Whether nothing went wrong and no request left."""
    return (found["wrong"], found["asked"]) == ([], [])


@pytest.mark.parametrize("width", [500, 1200])
def test_every_figure_is_drawn_and_nothing_leaves(tmp_path, width):
    found = seen(page(whole_run()), tmp_path, width=width)
    assert is_quiet(found), found
    assert len(found["drawn"]) == 11 and min(found["drawn"].values()) > 10
    assert found["scroll"] <= found["inner"] <= width
    assert found["opened"] == 2 and found["closed"]
    assert found["clicked"] == "called ours-0"


@pytest.mark.parametrize("kind", ["regression", "segmentation"])
def test_other_kinds_are_drawn(tmp_path, kind):
    found = seen(page(whole_run(task_of(kind))), tmp_path)
    assert is_quiet(found) and len(found["drawn"]) == 11


def test_a_run_that_has_begun(tmp_path):
    found = seen(page(begun_run()), tmp_path)
    assert is_quiet(found) and not found["drawn"]


def test_several_runs(tmp_path):
    found = seen(comparison({"a": whole_run(), "b": whole_run(), "c": begun_run()}), tmp_path)
    assert is_quiet(found) and len(found["drawn"]) == 4 and found["opened"] == 2


def test_a_request_would_be_seen(tmp_path):
    text = page(begun_run()).replace("<main>", '<main><img src="http://127.0.0.1:9/a.png">')
    assert seen(text, tmp_path)["asked"] == ["http://127.0.0.1:9/a.png"]
