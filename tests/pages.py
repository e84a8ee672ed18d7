"""The page of the service in a real Chromium: started, opened, watched for complaints, and measured."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from servers import Server, picture

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
)  # fmt: skip
EXPECTED = (
    "Failed to load resource: the server responded with a status of 4",
    "Canvas2D: Multiple readback operations",  # those of the tests
)
"""What Chromium itself writes down when the service refuses something."""
expect = sync_api.expect
expect.set_options(timeout=30_000)


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser; one a module, as it occupies the event loop of its thread."""
    if CHROMIUM is None:
        pytest.skip("there is no chromium on this machine")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


@contextmanager
def opened(
    browser: Any, server: Server, *, width: int = 1200, height: int = 900, unless: str = "(nothing)", **options: Any
) -> Iterator[Any]:
    """The page in a tab of its own, which must ask for nothing elsewhere, and complain only of what is meant."""
    context = browser.new_context(viewport={"width": width, "height": height}, **options)
    context.set_default_timeout(20_000)
    tab = context.new_page()
    asked: list[str] = []
    complaints: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("console", lambda message: complaints.append(message.text))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on("dialog", lambda dialog: complaints.append(f"dialog {dialog.message}") or dialog.accept())
    tab.goto(f"{server.url}/")
    yield tab
    assert [url for url in asked if not url.startswith((server.url, f"blob:{server.url}", "data:"))] == []
    assert [text for text in complaints if not text.startswith(EXPECTED) and unless not in text] == []
    context.close()


def files(*seeds: int, names: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Pictures as they are chosen."""
    found = names or [f"picture {seed}.jpg" for seed in seeds]
    return [
        {"name": name, "mimeType": "image/jpeg", "buffer": picture(seed)}
        for name, seed in zip(found, seeds, strict=True)
    ]


def choose(tab: Any, *seeds: int, names: Sequence[str] = ()) -> None:
    """Choose pictures, and wait for their captions."""
    before = tab.locator(".picture").count()
    tab.set_input_files("#files", files(*seeds, names=names))
    expect(tab.locator(".picture")).to_have_count(before + len(seeds))
    expect(tab.locator('.picture:is([data-status="waiting"], [data-status="working"])')).to_have_count(0)


def drop(tab: Any, *paths: str) -> None:
    """Drop files and folders of this machine, as a hand would."""
    session = tab.context.new_cdp_session(tab)
    data = {"items": [], "files": list(paths), "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, "x": 300, "y": 300, "data": data})


CONTRASTS = """() => {
  const parse = (colour) => {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    const [red, green, blue, alpha] = canvas.getImageData(0, 0, 1, 1).data;
    return [red, green, blue, alpha / 255];
  };
  const over = ([r, g, b, a], below) => [r, g, b].map((value, place) => value * a + below[place] * (1 - a));
  const behind = (element) => {
    if (!element) return parse(getComputedStyle(document.documentElement).backgroundColor)[3]
      ? parse(getComputedStyle(document.documentElement).backgroundColor) : [255, 255, 255, 1];
    return over(parse(getComputedStyle(element).backgroundColor), behind(element.parentElement));
  };
  const luminance = (colour) => {
    const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    const [r, g, b] = colour.map((value) => linear(value / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || !element.checkVisibility({ visibilityProperty: true })) continue;
    if (element.closest(".unseen") || element.disabled) continue;
    const style = getComputedStyle(element);
    const background = behind(element);
    const text = over(parse(style.color), background);
    const [low, high] = [luminance(text), luminance(background)].sort((a, b) => a - b);
    found.push([element.className || element.tagName, element.textContent.slice(0, 40), (high + 0.05) / (low + 0.05)]);
  }
  return found;
}"""
"""For each element with text that can be seen: class, text, and contrast with what is behind it (WCAG 2.2, 1.4.3)."""
