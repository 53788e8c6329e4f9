"""Build the site of the documentation from docs/: `make docs`.

python scripts/build_docs.py [FOLDER]

Fails on broken links. The site works from disk and fetches nothing from elsewhere.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
KATEX = ROOT / "lagrangian" / "studio" / "katex"
_DISPLAYED = re.compile(r"^(\$\$.+?\$\$)$", re.MULTILINE | re.DOTALL)


def build(folder: Path, docs: Path = ROOT / "docs") -> None:
    """Write the site of the pages in `docs` into `folder`, which is replaced.

    Raises:
        subprocess.CalledProcessError: a link is broken, or a name is not found.
    """
    with tempfile.TemporaryDirectory() as scratch:
        stage = Path(scratch)
        shutil.copytree(docs, stage / "docs")
        for page in (stage / "docs").rglob("*.md"):
            # Forges set a formula within a paragraph on a line of its own; Python's
            # Markdown asks for empty lines around it.
            page.write_text(_DISPLAYED.sub(r"\n\1\n", page.read_text()))
        # KaTeX's own pages are none of the site.
        no_pages = shutil.ignore_patterns("*.md")
        shutil.copytree(KATEX, stage / "docs" / "katex", ignore=no_pages)
        (stage / "scripts").mkdir()
        for name in ("zensical.toml", "scripts/docstrings.py"):
            shutil.copy(ROOT / name, stage / name)
        command = ["zensical", "build", "--strict", "-f", str(stage / "zensical.toml")]
        subprocess.run([sys.executable, "-m", *command], cwd=ROOT, check=True)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(stage / "site", folder)


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "site"
    build(target)
    print(f"Open {target / 'index.html'}")
