"""Lesions drawn from optics: skin reflects light, melanin and blood absorb it.

Each absorber has a density at every pixel, and exp(-density x extinction) of the light remains in each channel
(Beer-Lambert). That alone gives the browns and reds of dermoscopy. Melanin deep in the dermis looks blue and scars
look white because light is scattered above them; these colours are blended in.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from melascope.images import Pixels
from melascope.synthetic.camera import Field, Style, axes, photograph, trace

NEVUS, KERATOSIS = "nevus", "seborrheic keratosis"
MELANOMA, CARCINOMA = "melanoma", "basal cell carcinoma"
DIAGNOSES = (NEVUS, KERATOSIS, MELANOMA, CARCINOMA)

_REFLECTED = np.array((246, 221, 208), np.float32)  # skin without melanin and blood
_MELANIN = np.array((0.52, 0.86, 1.12), np.float32)  # extinction of red, green, blue
_BLOOD = np.array((0.10, 0.74, 0.60), np.float32)
_VEIL = np.array((116, 118, 142), np.float32)  # melanin under scattering dermis
_SCAR = np.array((222, 190, 184), np.float32)
_CYST = np.array((240, 220, 176), np.float32)

_LESION = 0.4  # a pixel belongs to the lesion's mask from this share on
_LATTICE = 64  # side of the periodic lattices of noise; a power of two


@dataclass(frozen=True)
class Drawing:
    """An image and its truth."""

    pixels: Pixels
    """Shape (height, width, 3)."""
    mask: NDArray[np.bool_]
    """Where the lesion is, shape (height, width)."""


@dataclass
class _Tissue:
    """Content of each pixel, shape (height, width) each."""

    melanin: Field
    blood: Field
    veil: Field
    """Share of the pixel, 0 to 1, as are scar and cyst."""
    scar: Field
    cyst: Field


def draw(seed: int, diagnosis: str, style: Style | None = None) -> Drawing:
    """Draw a lesion.

    Benign and malignant lesions differ by the ABCD rule of dermoscopy (Stolz et al. 1994): in asymmetry, border,
    colours and structures. How clearly a lesion shows its kind is random, and the kinds overlap.

    Args:
        seed: of the lesion; the same seed in another style is another photograph of the same lesion.
        diagnosis: one of `DIAGNOSES`.
        style: of the photograph.

    Raises:
        ValueError: for another diagnosis.
    """
    if diagnosis not in DIAGNOSES:
        raise ValueError(f"{diagnosis}: draw one of {', '.join(DIAGNOSES)}")
    style = style or Style()
    rng = np.random.default_rng([seed, 1])  # of the lesion; each photograph has its own
    shot = np.random.default_rng([seed, 2, int(style.turn * 1e6) % 2**31])
    x, y = axes(style)
    tissue = _skin(rng, shot, x, y)
    odd = float(np.clip(rng.normal(0.72 if diagnosis == MELANOMA else 0.22, 0.16), 0, 1))
    radius = float(np.clip(rng.lognormal(-0.75 + 0.2 * odd, 0.22), 0.28, 0.8))
    u, v = (x - rng.normal(0, 0.06)) / radius, (y - rng.normal(0, 0.06)) / radius
    depth = _depth(rng, u, v, odd if diagnosis != CARCINOMA else rng.uniform(0.2, 0.7))
    if diagnosis == CARCINOMA:
        inside = _carcinoma(rng, tissue, style, u, v, depth, radius)
    elif diagnosis == KERATOSIS:
        inside = _keratosis(rng, tissue, u, v, depth, radius)
    else:
        inside = _melanocytic(rng, tissue, u, v, depth, radius, odd)
    return Drawing(photograph(_reflected(tissue), style, shot), inside > _LESION)


def bare(seed: int, style: Style | None = None) -> Pixels:
    """Draw skin without a lesion, shape (height, width, 3)."""
    style = style or Style()
    rng, shot = np.random.default_rng([seed, 3]), np.random.default_rng([seed, 4])
    return photograph(_reflected(_skin(rng, shot, *axes(style))), style, shot)


def _reflected(tissue: _Tissue) -> Field:
    density = tissue.melanin[..., None] * _MELANIN + tissue.blood[..., None] * _BLOOD
    picture = _REFLECTED * np.exp(-density)
    for share, colour in ((tissue.veil, _VEIL), (tissue.scar, _SCAR), (tissue.cyst, _CYST)):
        if share.any():
            # These lie in the skin, and so are as tanned as the skin is.
            tan = float(np.exp(-0.35 * np.median(tissue.melanin[:8])))
            picture += np.clip(share, 0, 1)[..., None] * (colour * tan - picture)
    return picture


def _noise(rng: np.random.Generator, x: Field, y: Field, scale: float, octaves: int = 1) -> Field:
    """Smooth noise with structures of about `scale`: zero mean, about unit variance."""
    total, variance = np.zeros_like(x), 0.0
    for octave in range(octaves):
        lattice = rng.standard_normal((_LATTICE, _LATTICE), np.float32)
        flat = np.pad(lattice, (0, 1), mode="wrap").ravel()  # periodic
        way, shift = rng.uniform(0, 2 * np.pi), rng.uniform(0, _LATTICE, 2).astype(np.float32)
        c, s = np.float32(np.cos(way) / scale * 2**octave), np.float32(np.sin(way) / scale * 2**octave)
        p, q = c * x - s * y + shift[0], s * x + c * y + shift[1]
        i, j = np.floor(p), np.floor(q)
        p, q = p - i, q - j
        p, q = p * p * (3 - 2 * p), q * q * (3 - 2 * q)
        row = _LATTICE + 1
        at = (i.astype(np.int32) & _LATTICE - 1) * row + (j.astype(np.int32) & _LATTICE - 1)
        near, far = flat.take(at), flat.take(at + row)
        near += q * (flat.take(at + 1) - near)
        far += q * (flat.take(at + row + 1) - far)
        total += (near + p * (far - near)) * np.float32(0.5**octave)
        variance += 0.52 * 0.25**octave
    return total / np.float32(np.sqrt(variance))


def _cells(
    rng: np.random.Generator, x: Field, y: Field, scale: float, disorder: float
) -> tuple[Field, Field]:
    """Distance to the nearest of scattered points, and to the second minus to the nearest; unit: `scale`."""
    lattice = rng.uniform(0.5 - disorder / 2, 0.5 + disorder / 2, (2, _LATTICE, _LATTICE)).astype(np.float32)
    p, q = x / np.float32(scale) + 32, y / np.float32(scale) * np.float32(1.1547) + 32
    p = p + 0.5 * (np.floor(q) % 2)  # rows shifted against each other, as in a honeycomb
    i, j = np.floor(p), np.floor(q)
    p, q = p - i, q - j
    i, j = i.astype(np.int32), j.astype(np.int32)
    first, second = np.full_like(x, 9), np.full_like(x, 9)
    for a in (-1, 0, 1):
        for b in (-1, 0, 1):
            ii, jj = (i + a) & _LATTICE - 1, (j + b) & _LATTICE - 1
            shift = np.float32(0.5) * ((j + b) % 2 - j % 2) if b else np.float32(0)
            dx = a + lattice[0, ii, jj] - shift - p
            dy = (b + lattice[1, ii, jj] - q) * np.float32(0.866)
            distance = dx * dx + dy * dy
            second = np.minimum(second, np.maximum(first, distance))
            first = np.minimum(first, distance)
    first, second = np.sqrt(first), np.sqrt(second)
    return first, second - first


def _step(values: Field, low: float | Field, high: float | Field) -> Field:
    """0 below `low`, 1 above `high`, smooth between."""
    t: Field = np.clip((values - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _skin(rng: np.random.Generator, shot: np.random.Generator, x: Field, y: Field) -> _Tissue:
    """Skin of any tone, with creases, mottled by blood, sometimes freckled."""
    tone = 0.04 + 0.95 * rng.beta(1.1, 3.6)
    flush = rng.uniform(0.06, 0.36)
    creases = np.abs(_noise(shot, x * 1.6, y, 0.09, 2))
    melanin = tone * (1 + 0.10 * _noise(shot, x, y, 0.6, 4)) + 0.035 * np.exp(-((creases / 0.25) ** 2))
    blood = flush * (1 + 0.22 * _noise(shot, x, y, 0.35, 4))
    if rng.random() < 0.3:  # fine vessels shine through
        course = np.abs(_noise(shot, x, y, 0.4, 3))
        blood = blood + 0.22 * rng.uniform(0.4, 1) * np.exp(-((course / 0.07) ** 2)) * _step(
            _noise(shot, x, y, 0.7), -0.2, 0.8
        )
    if rng.random() < 0.2:  # sun-damaged: freckles
        melanin = melanin + rng.uniform(0.08, 0.22) * _step(_noise(shot, x, y, 0.13, 2), 0.4, 2.6)
    none = np.zeros_like(x)
    return _Tissue(np.maximum(melanin, 0), np.maximum(blood, 0), none, none.copy(), none.copy())


def _depth(rng: np.random.Generator, u: Field, v: Field, odd: float) -> Field:
    """1 at the lesion's centre, 0 on its border, negative outside; ragged and lopsided if odd."""
    angle, tilt = np.arctan2(v, u), rng.uniform(0, np.pi)
    outline = 1 + rng.uniform(0.02, 0.16 + 0.12 * odd) * np.cos(2 * (angle - tilt))
    outline += 0.5 * odd * rng.uniform(0, 1) * np.exp(2.5 * (np.cos(angle - rng.uniform(0, 2 * np.pi)) - 1))
    outline -= 0.3 * odd * rng.uniform(0, 1) * np.exp(5 * (np.cos(angle - rng.uniform(0, 2 * np.pi)) - 1))
    rough = (0.035 + 0.13 * odd**1.3) * _noise(rng, u, v, 0.75, 2)
    rough += (0.025 + 0.05 * odd) * _noise(rng, u, v, 0.22, 3)
    depth: Field = 1 - np.hypot(u, v) / np.maximum(outline, 0.35) + rough
    return depth


def _melanocytic(
    rng: np.random.Generator, tissue: _Tissue, u: Field, v: Field, depth: Field, radius: float, odd: float
) -> Field:
    """Nevus and melanoma: browns, network, dots; if odd, more colours, in patches off the centre."""
    # A nevus fades into the skin all round; a melanoma ends abruptly in some sectors.
    sector = _noise(rng, np.cos(np.arctan2(v, u)), np.sin(np.arctan2(v, u)), 0.7)
    soft = 0.10 + rng.uniform(0.2, 0.4) * _step(sector, 1.6 * odd - 1.4, 1.6 * odd + 0.2)
    inside = _step(depth, -soft / 2, soft)
    scale = radius / 0.4  # the size of structures does not depend on the lesion's
    body = rng.uniform(0.55, 1.05) * (1 + (0.16 + 0.16 * odd) * _noise(rng, u, v, 0.5 / scale, 5))
    hub = rng.uniform(-0.3, 0.6)  # lighter or darker in the middle
    away = 0.6 * odd * rng.normal(0, 1, 2)
    body = body + hub * np.exp(-2.2 * ((u - away[0]) ** 2 + (v - away[1]) ** 2))
    melanin = body * _network(rng, u * scale, v * scale, depth, odd)
    dark = _step(_noise(rng, u, v, 0.7, 4), 1.5 - 1.3 * odd, 2.1 - 1.3 * odd)
    melanin += rng.uniform(0.3, 1.3) * odd * dark
    melanin += _dots(rng, u, v, scale, odd)
    tissue.melanin += np.maximum(melanin, 0.05) * inside
    tissue.blood += inside * (
        rng.uniform(-0.05, 0.22) + 0.1 * _noise(rng, u, v, 0.4, 3)
    ) + 0.12 * odd * _step(depth, -0.5, 0)
    if rng.random() < 0.9 * odd - 0.1:  # a milky-red area
        red = inside * _patch(rng, u, v)
        tissue.blood += 0.6 * red
        tissue.melanin *= 1 - 0.5 * red
    if rng.random() < 1.1 * odd - 0.15:
        tissue.veil += (
            rng.uniform(0.45, 0.8) * inside * _patch(rng, u, v) * (0.85 + 0.1 * _noise(rng, u, v, 0.2, 4))
        )
    if rng.random() < 0.9 * odd - 0.15:  # regression: a scar, peppered with grey
        scar = (
            rng.uniform(0.35, 0.75) * inside * _patch(rng, u, v) * (0.85 + 0.12 * _noise(rng, u, v, 0.2, 4))
        )
        first, _ = _cells(rng, u * scale, v * scale, 0.09, 1.0)
        pepper = 0.5 * scar * _step(-first, -0.28, -0.12)
        tissue.scar += scar * (1 - pepper)
        tissue.veil += pepper
    return inside


def _patch(rng: np.random.Generator, u: Field, v: Field) -> Field:
    """A cloud somewhere off the centre."""
    way, far = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.6)
    distance = np.hypot(u - far * np.cos(way), v - far * np.sin(way))
    return _step(rng.uniform(0.4, 0.7) - distance + 0.22 * _noise(rng, u, v, 0.35, 4), -0.2, 0.4)


def _network(rng: np.random.Generator, u: Field, v: Field, depth: Field, odd: float) -> Field:
    """Pigment network, globules or neither, as a factor on melanin; even in a nevus, broken in a melanoma."""
    kind = rng.choice(["network", "network", "globules", "even"])
    if kind == "even":
        return np.ones_like(u)
    bend = 0.03 + 0.06 * odd
    u, v = u + bend * _noise(rng, u, v, 0.4, 2), v + bend * _noise(rng, u, v, 0.4, 2)
    first, gap = _cells(rng, u, v, rng.uniform(0.13, 0.19), 0.35 + 0.6 * odd)
    there = _step(_noise(rng, u, v, 0.55, 2), 1.8 * odd - 1.9, 1.8 * odd - 0.7) * _step(depth, 0.75, 0.1)
    if kind == "globules":
        return 1 + there * (0.55 * _step(-first, -0.42, -0.2) - 0.25)
    width = rng.uniform(0.12, 0.2) * (1 + 0.5 * odd)
    lines: Field = np.exp(-((gap / width) ** 2))
    return 1 + there * (0.7 * lines - 0.3)


def _dots(rng: np.random.Generator, u: Field, v: Field, scale: float, odd: float) -> Field:
    """Dark dots and globules: few and central in a nevus, many and at the border in a melanoma."""
    first, _ = _cells(rng, u * scale, v * scale, rng.uniform(0.09, 0.16), 1.0)
    size = 0.22 + 0.10 * _noise(rng, u, v, 0.3)
    where = _step(_noise(rng, u, v, 0.5, 2), 1.6 - 1.5 * odd, 2.2 - 1.5 * odd)
    return rng.uniform(0.3, 0.9) * where * _step(size - first, 0, 0.12)


def _keratosis(
    rng: np.random.Generator, tissue: _Tissue, u: Field, v: Field, depth: Field, radius: float
) -> Field:
    """Stuck on: a sharp border, a waxy surface with ridges, white cysts and dark openings."""
    inside = _step(depth, -0.04, 0.08)
    scale = radius / 0.4
    ridge = np.abs(_noise(rng, u * scale, v * scale, 0.16, 2))
    first, _ = _cells(rng, u * scale, v * scale, 0.3, 1.0)
    second, _ = _cells(rng, u * scale, v * scale, 0.34, 1.0)
    body = rng.uniform(0.25, 1.15) * (1 + 0.22 * _noise(rng, u, v, 0.6, 4))
    body += rng.uniform(0.1, 0.45) * np.exp(-((ridge / 0.22) ** 2))
    some = _step(_noise(rng, u, v, 0.5), -0.6, 0.4)
    body += rng.uniform(0.3, 1.0) * some * _step(0.2 - second, 0, 0.1)
    tissue.melanin += np.maximum(body, 0.05) * inside
    tissue.blood += rng.uniform(-0.05, 0.25) * inside
    tissue.cyst += rng.uniform(0.35, 0.75) * inside * _step(rng.uniform(0.13, 0.2) - first, 0, 0.1)
    tissue.scar += 0.12 * inside * _step(ridge, 0.5, 1.4)
    return inside


def _carcinoma(
    rng: np.random.Generator, tissue: _Tissue, style: Style, u: Field, v: Field, depth: Field, radius: float
) -> Field:
    """Pearly pink, with branching vessels, and often blue-grey nests or an ulcer."""
    inside = _step(depth, -0.12, rng.uniform(0.1, 0.35))
    tissue.melanin *= 1 - 0.5 * inside
    tissue.melanin += rng.uniform(0, 0.22) * inside * _step(_noise(rng, u, v, 0.5, 4), -0.5, 1.2)
    tissue.blood += inside * np.maximum(rng.uniform(0.1, 0.45) + 0.12 * _noise(rng, u, v, 0.35, 4), 0)
    tissue.scar += inside * rng.uniform(0.15, 0.5) * _step(_noise(rng, u, v, 0.45, 4), -0.2, 1.5)
    courses = [c for _ in range(int(rng.integers(2, 6))) for c in _branches(rng)]
    vessels = trace(courses, style, rng.uniform(0.014, 0.026), lambda p: p * radius)
    tissue.blood += rng.uniform(0.5, 1.2) * vessels * _step(depth, -0.35, 0.1)
    if rng.random() < 0.6:
        for _ in range(int(rng.integers(1, 6))):
            cu, cv, size = *rng.normal(0, 0.4, 2), rng.uniform(0.1, 0.3)
            nest = _step(size - np.hypot(u - cu, v - cv) + 0.07 * _noise(rng, u, v, 0.15, 2), 0, 0.12)
            tissue.veil = np.maximum(tissue.veil, 0.75 * nest * inside)
            tissue.melanin += 0.45 * nest * inside
    if rng.random() < 0.35:
        ulcer = inside * _step(
            rng.uniform(0.15, 0.3)
            - np.hypot(u - rng.normal(0, 0.25), v - rng.normal(0, 0.25))
            + 0.1 * _noise(rng, u, v, 0.2, 3),
            0,
            0.1,
        )
        tissue.blood += 1.3 * ulcer
        tissue.melanin += 0.5 * ulcer
        tissue.scar *= 1 - ulcer
        tissue.veil *= 1 - ulcer
    return inside


def _branches(rng: np.random.Generator) -> list[tuple[NDArray[np.float64], float]]:
    """A vessel that enters from the border and branches: courses in units of the radius, and their widths."""
    way = rng.uniform(0, 2 * np.pi)
    todo = [(1.1 * np.array([np.cos(way), np.sin(way)]), way + np.pi + rng.normal(0, 0.5), 1.0, 16)]
    courses = []
    while todo:
        place, way, width, steps = todo.pop()
        points = [place]
        for _ in range(steps):
            way += rng.normal(0, 0.28)
            points.append(points[-1] + 0.075 * np.array([np.cos(way), np.sin(way)]))
            if width > 0.4 and rng.random() < 0.16:
                todo.append(
                    (points[-1], way + rng.choice([-1, 1]) * rng.uniform(0.5, 1.1), width * 0.65, steps // 2)
                )
        courses.append((np.array(points), width))
    return courses
