"""Pages in a headless Chromium, where there is one ($CHROMIUM, or on the path)."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest


def chromium() -> str | None:
    names = (os.environ.get("CHROMIUM"), "chromium", "chromium-browser", "google-chrome")
    return next((found for name in names if name and (found := shutil.which(name))), None)


def needs_chromium(test: type) -> type:
    skipped = pytest.mark.skipif(chromium() is None, reason="no Chromium here")(test)
    marked: type = pytest.mark.needs("chromium")(skipped)
    return marked


def after(page: str, folder: Path, script: str = "") -> str:
    """The elements of a page, without its scripts, once it has loaded and `script` has run in it."""
    # The policy lets the page's own script run and no other, so that it has to be told of this one.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = page.replace("script-src ", f"script-src 'sha256-{digest}' ", 1)
    file = folder / "page.html"
    file.write_text(page.replace("</body>", f"<script>{script}</script></body>"), encoding="utf-8")
    browser = chromium()
    assert browser is not None
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
    flags += ["--disable-background-networking", f"--user-data-dir={folder / 'profile'}"]
    command = [browser, *flags, "--dump-dom", file.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return re.sub(r"<script.*?</script>", "", done.stdout, flags=re.DOTALL)
