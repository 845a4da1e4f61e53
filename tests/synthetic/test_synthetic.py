"""Synthetic images: they show what the truth says, and are the same every time."""

import csv
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from melascope import files, images, labels, quality
from melascope.infer import refusal
from melascope.synthetic import CARCINOMA, KERATOSIS, MELANOMA, NEVUS, Style, draw, write_archive

DIAGNOSES = (NEVUS, KERATOSIS, MELANOMA, CARCINOMA)
PLAIN = Style(width=160, height=120)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("raw")
    return folder, write_archive(folder, images=60, seed=5)


@pytest.mark.parametrize("diagnosis", DIAGNOSES)
def test_the_mask_is_where_the_image_differs_from_skin(diagnosis):
    contrasts = []
    for seed in range(8):
        drawing = draw(seed, diagnosis, PLAIN)
        assert drawing.pixels.shape == (120, 160, 3)
        assert drawing.pixels.dtype == np.uint8
        assert drawing.mask.shape == (120, 160)
        assert drawing.mask.dtype == bool
        assert 0.03 < drawing.mask.mean() < 0.75
        assert drawing.mask[40:80, 55:105].any(), "the lesion is near the centre"
        # Against skin round the lesion, as light falls off towards the corners.
        near = np.asarray(Image.fromarray(drawing.mask).convert("L").resize((20, 15)).resize((160, 120))) > 8
        ring = near & ~drawing.mask
        inside, outside = (drawing.pixels[where].astype(float).mean(axis=0) for where in (drawing.mask, ring))
        contrasts.append(np.abs(inside - outside).max())
    assert np.median(contrasts) > (8 if diagnosis == CARCINOMA else 25)


def test_a_seed_is_a_lesion_and_a_style_a_photograph():
    one = draw(3, MELANOMA, PLAIN)
    assert np.array_equal(one.pixels, draw(3, MELANOMA, PLAIN).pixels)
    assert not np.array_equal(one.pixels, draw(4, MELANOMA, PLAIN).pixels)
    turned = draw(3, MELANOMA, Style(width=160, height=160, turn=np.pi / 2))
    straight = draw(3, MELANOMA, Style(width=160, height=160))
    back = np.rot90(turned.mask, -1), np.rot90(turned.mask, 1)
    overlap = max((b & straight.mask).sum() / (b | straight.mask).sum() for b in back)
    assert overlap > 0.95
    assert (turned.pixels != straight.pixels).any()


def test_artefacts_are_drawn_where_they_belong():
    plain = draw(1, NEVUS, PLAIN).pixels.astype(int)

    def change(**artefact):
        return np.abs(draw(1, NEVUS, Style(width=160, height=120, **artefact)).pixels - plain).max(axis=2)

    ink = change(ink=True)
    assert ink[:8, :8].mean() > 40
    assert ink[60:, 80:].mean() < 5
    ruler = change(ruler=True)
    assert (ruler[95:] > 60).sum() > 50
    assert (ruler[:60] > 60).sum() < 10
    corners = draw(1, NEVUS, Style(width=160, height=120, dark_corners=True)).pixels
    assert corners[0, 0].max() < 40 < corners[60, 80].max()
    assert (change(hair=8) > 40).sum() > 30
    assert (change(bubbles=8) > 15).sum() > 10


def test_another_diagnosis_is_an_error():
    with pytest.raises(ValueError, match="freckle: draw one of nevus"):
        draw(0, "freckle")


def test_melanomas_and_nevi_differ_in_colours_but_overlap():
    """Colours inside the lesion, the C of the ABCD rule, separate the classes, though not perfectly."""

    def variety(diagnosis):
        spread = []
        for seed in range(30):
            drawing = draw(seed + 50, diagnosis, PLAIN)
            spread.append(drawing.pixels[drawing.mask].astype(float).std(axis=0).mean())
        return np.array(spread)

    melanoma, nevus = variety(MELANOMA), variety(NEVUS)
    auc = (melanoma[:, None] > nevus).mean()
    assert 0.75 < auc < 1


def test_exports_have_the_form_of_the_isic_archives(archive):
    folder, truth = archive
    assert truth.sources == [str(folder / "clinic_a"), str(folder / "clinic_b.zip")]
    table = (folder / "clinic_a" / "metadata.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(table)))
    names = {path.stem for path in (folder / "clinic_a").glob("*.jpg")}
    assert names == {row["isic_id"] for row in rows}
    assert all(name.startswith(("ISIC_99", "ISIC_98")) for name in names)
    assert (folder / "clinic_a" / "attribution.txt").is_file()
    assert (folder / "clinic_a" / "licenses" / "CC-0.txt").is_file()
    known = {
        row["isic_id"]: labels.from_archive([row[f"diagnosis_{level}"] for level in (1, 2, 3)])
        for row in rows
    }
    for name, label in known.items():
        diagnosis = truth.diagnoses[name]
        if name in truth.indeterminate:
            assert label.malignant is None
        else:
            assert label.malignant == (diagnosis in (MELANOMA, CARCINOMA))
            assert label.melanoma == (diagnosis == MELANOMA)
    with zipfile.ZipFile(folder / "clinic_b.zip") as other:
        assert {"metadata.csv", "attribution.txt", "licenses/CC-0.txt"} <= set(other.namelist())
    assert (
        json.loads((folder / "truth" / "truth.json").read_text(encoding="utf-8"))["damaged"] == truth.damaged
    )


def test_planted_faults_are_what_the_truth_says(archive):
    folder, truth = archive

    def data(name):
        inside = folder / "clinic_a" / f"{name}.jpg"
        where = str(inside) if inside.is_file() else f"{folder / 'clinic_b.zip'}::{name}.jpg"
        return files.read(where)

    for name in truth.damaged:
        with pytest.raises(images.ImageError):
            images.decode(data(name), name)
    for one, copy in truth.exact_duplicates:
        assert np.array_equal(images.decode(data(one), one), images.decode(data(copy), copy))
    for one, copy in truth.near_duplicates.values():
        assert data(one) != data(copy)
        assert truth.diagnoses[one] == truth.diagnoses[copy]
    assert set(truth.near_duplicates) == {"re-encoded", "re-scaled", "recoloured", "flipped", "turned"}
    for name in truth.diagnoses:
        if name not in truth.damaged and name.startswith("ISIC_99"):
            corner = images.decode(data(name), name)[:45, :45].astype(int)
            violet = (corner[..., 2] > corner[..., 0] + 12) & (corner[..., 0] > corner[..., 1])
            assert (violet.mean() > 0.015) == (name in truth.marked), name


def test_masks_lie_outside_of_what_is_prepared(archive):
    folder, truth = archive
    masks = sorted((folder / "truth" / "masks").iterdir())
    assert len(masks) == 60
    assert not list(Path(truth.sources[0]).rglob("*.png"))
    with Image.open(masks[0]) as mask:
        assert mask.size in {(240, 180), (208, 208)}


def test_the_same_seed_gives_the_same_bytes(archive, tmp_path):
    folder, _ = archive
    write_archive(tmp_path, images=60, seed=5)
    one, again = (
        {
            str(path.relative_to(root)): path.read_bytes()
            for path in root.rglob("*")
            if path.is_file() and path.name != "truth.json"  # names the folder
        }
        for root in (folder, tmp_path)
    )
    assert one == again


def test_too_few_images_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="too few"):
        write_archive(tmp_path, images=10)


def test_the_predictor_would_not_refuse_them():
    """Or the demo would show refusals instead of answers."""
    for seed in range(6):
        for diagnosis in DIAGNOSES:
            pixels = draw(seed, diagnosis, Style(width=208, height=208)).pixels
            assert refusal.refusal(quality.measure(pixels)) is None
