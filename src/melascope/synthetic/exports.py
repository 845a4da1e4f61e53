"""Two drawn exports of the ISIC Archive, with planted faults that an audit should detect."""

import csv
import io
import multiprocessing
import zipfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from melascope import files
from melascope.images import encoded, to_pixels
from melascope.progress import Progress, silent
from melascope.synthetic.camera import Style
from melascope.synthetic.drawing import CARCINOMA, KERATOSIS, MELANOMA, NEVUS, draw

if TYPE_CHECKING:
    import pandas as pd

_LEVELS = {
    NEVUS: ("Benign", "Benign melanocytic proliferations", "Nevus"),
    KERATOSIS: ("Benign", "Benign epidermal proliferations", "Seborrheic keratosis"),
    MELANOMA: ("Malignant", "Malignant melanocytic proliferations (Melanoma)", "Melanoma Invasive"),
    CARCINOMA: (
        "Malignant",
        "Malignant adnexal epithelial proliferations - Follicular",
        "Basal cell carcinoma",
    ),
}
_UNSURE = ("Indeterminate", "Indeterminate epidermal proliferations", "Solar or actinic keratosis")
_SHARES = {NEVUS: 0.46, KERATOSIS: 0.14, MELANOMA: 0.26, CARCINOMA: 0.14}
_CLINICS = ("Synthetic clinic A", "Synthetic clinic B")
_SITES = ("trunk", "head/neck", "upper extremity", "lower extremity")
_EXACT_COPIES = 3
_CHANGES = ("re-encoded", "re-scaled", "recoloured", "flipped", "turned")
_MIN_IMAGES = 60
_QUALITY, _COPY_QUALITY = 92, 75  # of JPEGs


@dataclass
class Truth:
    """What `write_archive` planted, by image id; also written as `truth.json`."""

    sources: list[str] = field(default_factory=list)
    """For `melascope prepare`: a folder and a ZIP."""
    diagnoses: dict[str, str] = field(default_factory=dict)
    exact_duplicates: list[tuple[str, str]] = field(default_factory=list)
    near_duplicates: dict[str, tuple[str, str]] = field(default_factory=dict)
    """By the change to the copy."""
    lesions: dict[str, list[str]] = field(default_factory=dict)
    """Images of each lesion that was photographed more than once."""
    shortcut: str = "a pen mark in the corner of most malignant images of clinic A"
    shortcut_source: str = f"ISIC Archive/{_CLINICS[0]}"
    marked: list[str] = field(default_factory=list)
    """Images with the pen mark."""
    damaged: dict[str, str] = field(default_factory=dict)
    """Kind of damage."""
    not_dermoscopic: list[str] = field(default_factory=list)
    altered: list[str] = field(default_factory=list)
    synthetic: list[str] = field(default_factory=list)
    """Images whose row says so. The other rows do not, or there would be nothing to learn from."""
    indeterminate: list[str] = field(default_factory=list)

    def check(self, audit: dict[str, Any], table: "pd.DataFrame", shortcut: float) -> list[tuple[str, bool]]:
        """Check that an audit detects each planted fault.

        Args:
            audit: what `audit.json` holds.
            table: the manifest.
            shortcut: ROC-AUC of a pixel probe, at the lower end of its interval, from which on there is a shortcut.

        Returns:
            For each fault its description, and whether it was detected and dealt with.
        """
        rows = table.drop_duplicates("image_id").set_index("image_id")
        kinds = {frozenset(pair["images"]): pair["kind"] for pair in audit["duplicates"]["pairs"]}

        def copies(pair: Sequence[str], kind: str) -> bool:
            return kinds.get(frozenset(pair)) == kind and len(set(rows.loc[list(pair), "group"])) == 1

        def excluded(name: str, reason: str) -> bool:
            entries = (entry for why, entry in audit["excluded"].items() if why.startswith(reason))
            return any(name in path for entry in entries for path in entry["images"])

        probes = (probe for probe in audit["probes"]["malignant"] if probe["name"] != "file")
        lows = [probe["within_sources"]["low"] for probe in probes]
        together = [rows.loc[names] for names in self.lesions.values()]
        unsure = rows.loc[self.indeterminate]
        return [
            *((f"exact copy {b} of {a}", copies((a, b), "exact")) for a, b in self.exact_duplicates),
            *(
                (f"{how} copy {b} of {a}", copies((a, b), "near"))
                for how, (a, b) in self.near_duplicates.items()
            ),
            (
                f"{len(together)} lesions with several images, each kept in one split",
                all(len(set(part["group"])) == len(set(part["split"])) == 1 for part in together),
            ),
            *(
                (f"{how} named {name}.jpg", excluded(name, "unreadable"))
                for name, how in self.damaged.items()
            ),
            *(
                (f"not dermoscopic: {name}", excluded(name, "not dermoscopic"))
                for name in self.not_dermoscopic
            ),
            *((f"altered: {name}", excluded(name, "altered")) for name in self.altered),
            *((f"synthetic: {name}", excluded(name, "synthetic")) for name in self.synthetic),
            (f"indeterminate, not benign: {', '.join(unsure.index)}", bool(unsure["malignant"].isna().all())),
            (f"the shortcut: {self.shortcut}", any(low is not None and low >= shortcut for low in lows)),
        ]


@dataclass(frozen=True)
class _Shot:
    """One photograph to draw, and its row."""

    image_id: str
    clinic: int
    lesion: int
    seed: int
    diagnosis: str
    style: Style
    age: int
    sex: str
    site: str


@dataclass
class _Export:
    """The export of one clinic."""

    jpegs: dict[str, bytes] = field(default_factory=dict)
    rows: dict[str, dict[str, object]] = field(default_factory=dict)


def write_archive(folder: str | Path, images: int = 600, seed: int = 0, progress: Progress = silent) -> Truth:
    """Write the exports of two clinics, in the form of the ISIC Archive's, with planted faults.

    `clinic_a/` is a folder, `clinic_b.zip` a ZIP; each has images, `metadata.csv`, `attribution.txt` and
    `licenses/`. `truth/` has `truth.json` and the masks of the lesions.

    The faults: exact and near copies under other ids, several images of one lesion, a pen mark beside most
    malignant lesions of clinic A (the shortcut), damaged files, images that are not dermoscopic, altered or
    synthetic, and an indeterminate diagnosis.

    Args:
        folder: where to write.
        images: photographs before copies are added; at least 60.
        seed: the same seed gives the same bytes.
        progress: called with (what, done, total).

    Raises:
        ValueError: for fewer images.
    """
    if images < _MIN_IMAGES:
        raise ValueError(f"{images} images are too few for the faults to fit in; ask for {_MIN_IMAGES}")
    folder, rng = Path(folder), np.random.default_rng(seed)
    truth = Truth()
    shots = _plan(images, seed, rng, truth)
    exports = (_Export(), _Export())
    context = multiprocessing.get_context("spawn")  # a fork of a process with threads can hang
    with ProcessPoolExecutor(mp_context=context) as pool:
        for i, (shot, (jpeg, mask)) in enumerate(
            zip(shots, pool.map(_take, shots, chunksize=8), strict=True)
        ):
            exports[shot.clinic].jpegs[shot.image_id] = jpeg
            exports[shot.clinic].rows[shot.image_id] = _row(shot)
            _write(folder / "truth" / "masks" / f"{shot.image_id}_segmentation.png", mask)
            progress("drawing images", i + 1, len(shots))
    _plant_copies(shots, exports, rng, truth)
    _plant_faults(shots, exports[0], truth)
    for name, data in _members(exports[0]).items():
        _write(folder / "clinic_a" / name, data)
    with files.replacing(folder / "clinic_b.zip") as beside, zipfile.ZipFile(beside, "w") as archive:
        for name, data in _members(exports[1]).items():
            archive.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), data)
    truth.sources = [str(folder / "clinic_a"), str(folder / "clinic_b.zip")]
    files.write_json(folder / "truth" / "truth.json", asdict(truth))
    return truth


def _plan(images: int, seed: int, rng: np.random.Generator, truth: Truth) -> list[_Shot]:
    """Choose the photographs: one or several of each lesion, in one clinic."""
    shots: list[_Shot] = []
    lesion = 0
    while len(shots) < images:
        lesion += 1
        clinic = int(rng.random() < 0.35)
        diagnosis = str(rng.choice(list(_SHARES), p=list(_SHARES.values())))
        malignant = diagnosis in (MELANOMA, CARCINOMA)
        ink = bool(clinic == 0 and rng.random() < (0.9 if malignant else 0.03))
        age = int(np.clip(rng.normal(63 if malignant else 48, 15) // 5 * 5, 10, 85))
        sex, site = str(rng.choice(["female", "male"])), str(rng.choice(_SITES))
        times = min(int(rng.choice([1, 2, 3], p=[0.82, 0.13, 0.05])), images - len(shots))
        for _ in range(times):
            name, style = f"ISIC_99{len(shots):05d}", _style(rng, clinic, ink)
            shots.append(_Shot(name, clinic, lesion, seed * 10**6 + lesion, diagnosis, style, age, sex, site))
            truth.diagnoses[name] = diagnosis
        taken = [shot.image_id for shot in shots[-times:]]
        if times > 1:
            truth.lesions[_lesion_id(lesion)] = taken
        if ink:
            truth.marked += taken
    return shots


def _style(rng: np.random.Generator, clinic: int, ink: bool) -> Style:
    """A random style of a clinic; clinics differ in framing, colour and the share of dark corners."""
    tint = (1.0, 0.98, 0.97) if clinic == 0 else (0.94, 0.95, 1.06)
    gains = np.array(tint) * np.exp(rng.normal(0, 0.03, 3))
    return Style(
        width=240 if clinic == 0 else 208,
        height=180 if clinic == 0 else 208,
        hair=int(rng.integers(2, 14)) if rng.random() < 0.35 else 0,
        ruler=bool(rng.random() < 0.12),
        bubbles=int(rng.integers(1, 8)) if rng.random() < 0.3 else 0,
        dark_corners=bool(rng.random() < (0.04 if clinic == 0 else 0.3)) and not ink,
        ink=ink,
        tint=(float(gains[0]), float(gains[1]), float(gains[2])),
        turn=float(rng.uniform(0, 2 * np.pi)),
        zoom=float(np.exp(rng.normal(0, 0.1))),
    )


def _take(shot: _Shot) -> tuple[bytes, bytes]:
    """The JPEG of a shot and the PNG of its mask."""
    drawing = draw(shot.seed, shot.diagnosis, shot.style)
    return encoded(drawing.pixels, "JPEG", quality=_QUALITY), encoded(Image.fromarray(drawing.mask), "PNG")


def _lesion_id(lesion: int) -> str:
    return f"IL_99{lesion:05d}"


def _row(shot: _Shot) -> dict[str, object]:
    levels = _LEVELS[shot.diagnosis]
    return {
        "isic_id": shot.image_id,
        "attribution": _CLINICS[shot.clinic],
        "copyright_license": "CC-0",
        "age_approx": shot.age,
        "anatom_site_general": shot.site,
        "diagnosis_1": levels[0],
        "diagnosis_2": levels[1],
        "diagnosis_3": levels[2],
        "diagnosis_confirm_type": "histopathology",
        "image_manipulation": "instrument only",
        "image_type": "dermoscopic",
        "lesion_id": _lesion_id(shot.lesion),
        "melanocytic": shot.diagnosis in (NEVUS, MELANOMA) or "",
        "sex": shot.sex,
    }


def _plant_copies(
    shots: list[_Shot], exports: tuple[_Export, _Export], rng: np.random.Generator, truth: Truth
) -> None:
    """Copy images to the other clinic under new ids and lesions: only their pixels are equal."""
    chosen = rng.choice(len(shots), size=_EXACT_COPIES + len(_CHANGES), replace=False)
    for i, place in enumerate(chosen):
        shot = shots[int(place)]
        copy = replace(shot, image_id=f"ISIC_98{i:05d}", clinic=1 - shot.clinic, lesion=90_000 + i)
        data = exports[shot.clinic].jpegs[shot.image_id]
        pair = (shot.image_id, copy.image_id)
        if i < _EXACT_COPIES:
            truth.exact_duplicates.append(pair)
        else:
            change = _CHANGES[i - _EXACT_COPIES]
            data = encoded(_changed(Image.open(io.BytesIO(data)), change), "JPEG", quality=_COPY_QUALITY)
            truth.near_duplicates[change] = pair
        exports[copy.clinic].jpegs[copy.image_id] = data
        exports[copy.clinic].rows[copy.image_id] = _row(copy)
        truth.diagnoses[copy.image_id] = shot.diagnosis


def _changed(image: Image.Image, change: str) -> Image.Image:
    if change == "re-scaled":
        return image.resize((image.width * 3 // 4, image.height * 3 // 4), Image.Resampling.LANCZOS)
    if change == "recoloured":
        return Image.fromarray(to_pixels(np.asarray(image) * [0.88, 1.0, 1.12] + 6))
    if change == "flipped":
        return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if change == "turned":
        return image.transpose(Image.Transpose.ROTATE_90)
    return image


def _plant_faults(shots: list[_Shot], export: _Export, truth: Truth) -> None:
    """Plant faults in images that have no copy and whose lesion has no second photograph."""
    taken = {name for pair in (*truth.exact_duplicates, *truth.near_duplicates.values()) for name in pair}
    taken |= {name for names in truth.lesions.values() for name in names}
    free = (shot.image_id for shot in shots if shot.clinic == 0 and shot.image_id not in taken)
    half, empty, text, clinical, altered, synthetic, unsure = (next(free) for _ in range(7))
    export.jpegs[half] = export.jpegs[half][: len(export.jpegs[half]) // 2]
    export.jpegs[empty] = b""
    export.jpegs[text] = b"This is not an image.\n"
    export.rows[clinical]["image_type"] = "clinical: close-up"
    export.rows[altered]["image_manipulation"] = "altered"
    export.rows[synthetic]["image_manipulation"] = "synthetic"
    export.rows[unsure] |= dict(zip(("diagnosis_1", "diagnosis_2", "diagnosis_3"), _UNSURE, strict=True))
    truth.damaged = {half: "half a JPEG", empty: "zero bytes", text: "a text file"}
    truth.not_dermoscopic, truth.altered, truth.synthetic = [clinical], [altered], [synthetic]
    truth.indeterminate = [unsure]
    truth.diagnoses[unsure] = "actinic keratosis"


def _members(export: _Export) -> dict[str, bytes]:
    """Files of an export, by name."""
    rows = [export.rows[name] for name in sorted(export.rows)]
    table = io.StringIO()
    writer = csv.DictWriter(table, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return {
        **{f"{name}.jpg": export.jpegs[name] for name in sorted(export.jpegs)},
        "metadata.csv": table.getvalue().encode(),
        "attribution.txt": f"{rows[0]['attribution']}\n".encode(),
        "licenses/CC-0.txt": b"CC0 1.0 Universal: no rights reserved.\n",
    }


def _write(path: Path, data: bytes) -> None:
    with files.replacing(path) as beside:
        beside.write_bytes(data)
