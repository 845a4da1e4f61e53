"""Images as the ISIC Archive stores them, drawn as noise, and the tables, texts and ZIPs that it makes of them."""

import csv
import io
import zipfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

LICENSES = ("CC-0", "CC-BY", "CC-BY-NC")
_DIAGNOSES = (
    ("Benign", "Benign melanocytic proliferations", "Nevus"),
    ("Malignant", "Malignant melanocytic proliferations (Melanoma)", "Melanoma Invasive"),
    ("Malignant", "Malignant melanocytic proliferations (Melanoma)", "Melanoma in situ"),
    ("Malignant", "Malignant adnexal epithelial proliferations - Follicular", "Basal cell carcinoma"),
    ("Indeterminate", "Indeterminate epidermal proliferations", "Solar or actinic keratosis"),
    ("Benign", "Benign epidermal proliferations", "Seborrheic keratosis"),
    (),
)
_TYPES = ("dermoscopic",) * 7 + ("clinical: close-up", "TBP tile: close-up", "clinical: overview")
_CREDITS = ("Anonymous", "Anonymous", "Klinik für Dermatologie, Zürich", "=Formula clinic", "MILK study team")
_BASE = ("isic_id", "attribution", "copyright_license")
_PIXELS = {"pixels_x", "pixels_y"}  # are in an image's entry, but not in the table


@dataclass
class StoredImage:
    """One image of the archive."""

    isic_id: str
    created: str
    license: str
    attribution: str
    path: Path
    acquisition: dict[str, Any]
    clinical: dict[str, Any]
    collections: tuple[int, ...] = ()

    @property
    def name(self):
        return self.path.name

    @property
    def data(self):
        return self.path.read_bytes()

    @property
    def fields(self):
        return {
            "isic_id": self.isic_id,
            "copyright_license": self.license,
            "attribution": self.attribution,
            "public": True,
            **self.acquisition,
            **self.clinical,
        }


def make_images(folder, n=40, seed=0, side=48, kinds=True):
    """Draw images with provenance. The first five are a PNG named .jpg, a PNG, grey, CMYK, and turned by EXIF.

    Several images share a time of creation, so that pages end between them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    images = []
    for i in range(n):
        isic_id = f"ISIC_{10 * i + 7:07d}"
        path = folder / f"{isic_id}{'.png' if kinds and i == 1 else '.jpg'}"
        pixels = rng.integers(0, 256, (side, side + 8, 3), dtype=np.uint8)
        _save(Image.fromarray(pixels), path, i if kinds else 99)
        acquisition = {"pixels_x": side + 8, "pixels_y": side, "image_type": _TYPES[i % len(_TYPES)]}
        if acquisition["image_type"] == "dermoscopic":
            acquisition["dermoscopic_type"] = ("contact polarized", "contact non-polarized")[i % 2]
        if i % 11 == 5:
            acquisition["image_manipulation"] = "synthetic"
        images.append(
            StoredImage(
                isic_id,
                f"2024-01-05 10:{i // 7 // 60 % 60:02d}:{i // 7 % 60:02d}.123456+00:00",
                LICENSES[i % 3],
                _CREDITS[i % len(_CREDITS)],
                path,
                acquisition,
                _clinical(rng, i),
                (65,) if i % 4 == 0 else (70, 212) if i % 4 == 1 else (),
            )
        )
    return images


def _save(image, path, kind):
    options = {}
    if kind in (2, 3):
        image = image.convert("L" if kind == 2 else "CMYK")
    if kind == 4:
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = 6
    image.save(path, "PNG" if kind in (0, 1) else "JPEG", **options)


def _clinical(rng, i):
    fields = {"patient_id": f"IP_{i // 3:07d}", "lesion_id": f"IL_{i // 2:07d}"}
    for level, word in enumerate(_DIAGNOSES[i % len(_DIAGNOSES)], start=1):
        fields[f"diagnosis_{level}"] = word
    if i % 5:
        fields["age_approx"] = int(rng.integers(3, 18)) * 5
    if i % 3:
        fields["sex"] = ("male", "female")[int(rng.integers(2))]
    if i % 4 == 1:
        fields["mel_thick_mm"] = ("0.5", "1.2", 2.5)[i % 3]  # decimals come as text or as numbers
    if i % 2:
        fields["melanocytic"] = bool(rng.integers(2))
    fields["anatom_site_1"] = ("Trunk", "Head and neck", "Upper extremity")[i % 3]
    return fields


def metadata_csv(images):
    names = sorted({name for image in images for name in {**image.acquisition, **image.clinical}} - _PIXELS)
    out = io.StringIO()
    writer = csv.DictWriter(out, [*_BASE, *names], extrasaction="ignore")
    writer.writeheader()
    for image in sorted(images, key=lambda image: image.isic_id):
        writer.writerow({name: _guarded(value) for name, value in image.fields.items()})
    return out.getvalue()


def _guarded(value):
    return f"\t{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@") else value


def attribution_txt(images):
    counted = Counter(image.attribution for image in images)
    return "\n\n".join(sorted(counted, key=lambda name: (name == "Anonymous", -counted[name], name)))


def license_txt(name):
    return f"The text of {name}.\n"


def zip_of(images):
    """The ZIP that the archive makes of a search."""
    members = {image.name: image.data for image in images}
    members |= {
        "metadata.csv": metadata_csv(images).encode(),
        "attribution.txt": attribution_txt(images).encode(),
    }
    for license_ in sorted({image.license for image in images}):
        members[f"licenses/{license_}.txt"] = license_txt(license_).encode()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        for name, data in members.items():
            packed.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), data)
    return out.getvalue()
