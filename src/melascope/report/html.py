"""Pages: one self-contained HTML file each, from a template in `templates/` that extends `base.html`."""

import base64
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from melascope import __version__, images
from melascope.images import Pixels
from melascope.labels import NOT_RECORDED
from melascope.model.card import INTENDED_USE
from melascope.report import filters


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("melascope", "report/templates"),
        autoescape=True,
        undefined=StrictUndefined,  # a misspelt name is an error, not a blank in a report
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(version=__version__, intended_use=INTENDED_USE, not_recorded=NOT_RECORDED)
    environment.filters |= {f.__name__: f for f in filters.ALL}
    return environment


def render(template: str, **values: object) -> str:
    """Render a page.

    Args:
        template: name of a file in `templates/`.
        values: what it shows; text is escaped, so mark trusted HTML, such as an SVG figure of our own, with
            `markupsafe.Markup`.
    """
    return _environment().get_template(template).render(values)


def picture(image: Pixels | Image.Image) -> str:
    """An image as an address that a page can hold in itself, as JPEG."""
    return data_uri(images.encoded(image, "JPEG", quality=85), "image/jpeg")


def data_uri(data: bytes, media_type: str) -> str:
    """Bytes of an image as an address that a page can hold in itself, such as for `<img src=...>`."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode('ascii')}"
