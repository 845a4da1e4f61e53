"""Metrics for Prometheus: counts and times, all that is kept of requests."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """The metrics of one server."""

    media_type = CONTENT_TYPE_PLAIN_0_0_4

    def __init__(self, identity: str) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "melascope_requests", "Requests answered.", ("path", "code"), registry=self._registry
        )
        self._images = Counter("melascope_images", "Images by answer.", ("status",), registry=self._registry)
        self._seconds = Histogram(
            "melascope_request_seconds",
            "From the first byte of a request to the last of its answer.",
            ("path",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.open = Gauge(
            "melascope_images_open", "Images waiting or being analysed.", registry=self._registry
        )
        model = Gauge("melascope_model", "The model that answers.", ("identity",), registry=self._registry)
        model.labels(identity).set(1)
        for status in ("ok", "refused", "error"):
            self._images.labels(status)

    def request(self, path: str, code: int, seconds: float) -> None:
        """Count a request; `path` must be one of few, or `other`."""
        self._requests.labels(path, str(code)).inc()
        self._seconds.labels(path).observe(seconds)

    def image(self, status: str) -> None:
        """Count an image by the status of its answer."""
        self._images.labels(status).inc()

    def text(self) -> bytes:
        """All metrics, in the text format of Prometheus."""
        return generate_latest(self._registry)
