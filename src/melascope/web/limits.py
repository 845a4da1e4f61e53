"""What a server accepts at most, so that no client can fill its memory or keep others waiting."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Limits of one server; `melascope.images` has those of pixels."""

    files: int = 64
    """Files in one request."""
    file_bytes: int = 64 * 2**20
    """Bytes of one file; the largest cameras write 15 MB as JPEG and 72 MB raw."""
    request_bytes: int = 256 * 2**20
    held_bytes: int = 512 * 2**20
    """Bytes of all requests at once."""
    waiting: int = 256
    """Images of all requests that wait or are being analysed."""
    patience_s: float = 60.0
    """Seconds for a request to arrive."""
