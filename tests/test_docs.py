"""What is made from the catalog is as the catalog says, and the README does what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
_README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_made_files_are_not_stale() -> None:
    done = subprocess.run(
        [sys.executable, "docs/generate.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "stale: nothing\n"), (
        f"run: python docs/generate.py\n{done.stderr[-3000:]}"
    )


def test_the_readmes_first_lines_work(tmp_path: Path) -> None:
    """As they stand there, in a folder of their own: they write a .pte, and print a report and a verification."""
    code = _README.split("```python\n")[1].split("```")[0]
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "model.pte").read_bytes()[4:6] == b"ET"
    assert "ethos-u85-256" in done.stdout
    assert "TOSA reference model" in done.stdout


def test_links_of_the_readme_lead_to_files() -> None:
    links = re.findall(r'\]\((?!http)([^)#]+)[^)]*\)|src="([^"]+)"', _README)
    missing = [path for pair in links for path in pair if path and not (ROOT / path).exists()]
    assert links and not missing
