"""What a measurement leaves: the date, the machine, and the figures, as JSON."""

import json
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path


def record(path: str, *packages: str, **figures: object) -> None:
    """Write figures, with the versions of the packages that decide them."""
    versions = "".join(f", {name} {version(name)}" for name in packages)
    document = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}{versions}",
        **figures,
    }
    Path(path).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
