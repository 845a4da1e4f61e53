"""The files of the page, read once; a request can only pick one of them by its exact name."""

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

_SCRIPTS = ("card", "dom", "files", "format", "page", "server", "table")
_FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
    **{f"/{name}.js": (f"{name}.js", "text/javascript; charset=utf-8") for name in _SCRIPTS},
}


@dataclass(frozen=True)
class Asset:
    """A file of the page."""

    content: bytes
    media_type: str

    @property
    def etag(self) -> str:
        """Identifies this version of the file."""
        return f'"{hashlib.sha256(self.content).hexdigest()[:16]}"'


@cache
def assets() -> dict[str, Asset]:
    """All files of the page, by path."""
    folder = files("melascope.web") / "static"
    return {
        path: Asset((folder / name).read_bytes(), media_type) for path, (name, media_type) in _FILES.items()
    }
