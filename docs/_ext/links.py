"""Follow the links inside a built site: ``python docs/_ext/links.py build/site``.

Sphinx checks the references that it resolves itself; here are all links of the pages, those of the theme and
of raw HTML included, to pages, files and headings. Links to other sites are left alone.
"""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The links of a page and the places that links can lead to."""

    def __init__(self, text: str) -> None:
        """Read the page."""
        super().__init__()
        self.links: set[str] = set()
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take note of what a tag refers to and of its name."""
        for name, value in attrs:
            if value and name in ("href", "src"):
                self.links.add(value)
            elif value and name in ("id", "name"):
                self.places.add(value)


def broken(site: Path) -> list[str]:
    """Return what leads nowhere."""
    paths = [path for path in site.rglob("*.html") if "_static" not in path.parts]
    pages = {path: Page(path.read_text("utf-8")) for path in paths}
    found = []
    for path, page in pages.items():
        for link in sorted(page.links):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir():
                target /= "index.html"
            lost = not target.exists() or (
                target in pages and parts.fragment and unquote(parts.fragment) not in pages[target].places
            )
            if lost:
                found.append(f"{path.relative_to(site)}: {link}")
    return found


def main() -> int:
    """Print what is broken; the exit status is 1 where anything is."""
    site = Path(sys.argv[1]).resolve()
    found = broken(site)
    print("\n".join(found) or f"all links inside {site.name} lead somewhere")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
