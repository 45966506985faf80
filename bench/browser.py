"""Debian's Chromium for measurements and pictures of pages, where it and Playwright are installed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page


@contextmanager
def open_tab(width: int = 1280, height: int = 900) -> Iterator[Page | None]:
    """Give an empty tab of a window of this size, or None where there is no browser or nothing to drive it."""
    names = ("chromium", "chromium-browser", "google-chrome")
    chromium = next((found for name in names if (found := shutil.which(name))), None)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        chromium = None
    if chromium is None:
        yield None
        return
    # Chromium's sandbox refuses root, which is what containers run as.
    root = ["--no-sandbox"] if hasattr(os, "getuid") and os.getuid() == 0 else []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=[*root, "--disable-dev-shm-usage"])
        yield browser.new_page(viewport={"width": width, "height": height})
        browser.close()
