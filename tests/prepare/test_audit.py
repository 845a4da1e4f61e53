"""What the audit detects: copies, leaks and shortcuts, and its verdicts."""

import io
import json
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from melascope.images import decode
from melascope.prepare import duplicates, features, probes
from melascope.prepare.pipeline import prepare
from melascope.prepare.scan import Scan
from melascope.report import audit as page
from melascope.synthetic import MELANOMA, NEVUS, Style, draw


def scan_of(pictures, hashes=None):
    described = [features.describe(pixels) for pixels in pictures]
    table = pd.DataFrame(
        {
            "pixel_hash": hashes or [str(i) for i in range(len(pictures))],
            "width": [p.shape[1] for p in pictures],
            "height": [p.shape[0] for p in pictures],
            "n_bytes": 9000,
            "format": "JPEG",
            "error": "",
        }
    )
    return Scan(table, {name: np.stack([d[name] for d in described]) for name in described[0]})


@pytest.fixture(scope="module")
def lesions():
    return [draw(seed, (NEVUS, MELANOMA)[seed % 2], Style(hair=seed % 4)).pixels for seed in range(40)]


def encoded(image, quality):
    held = io.BytesIO()
    image.save(held, "JPEG", quality=quality)
    return decode(held.getvalue(), "made")


CHANGES = {
    "re-scaled": lambda im: encoded(im.resize((im.width * 3 // 5, im.height * 3 // 5)), 90),
    "re-encoded": lambda im: encoded(im, 45),
    "recoloured": lambda im: encoded(
        Image.fromarray((np.asarray(im) * [0.8, 0.95, 1.0]).astype(np.uint8)), 90
    ),
    "grey": lambda im: encoded(im.convert("L").convert("RGB"), 90),
    "mirrored": lambda im: encoded(im.transpose(Image.Transpose.FLIP_LEFT_RIGHT), 90),
    "turned": lambda im: encoded(im.transpose(Image.Transpose.ROTATE_90), 90),
    "all of it": lambda im: encoded(
        im.resize((im.width * 4 // 5, im.height * 4 // 5))
        .convert("L")
        .convert("RGB")
        .transpose(Image.Transpose.TRANSVERSE),
        70,
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_altered_copies_are_detected(lesions, change):
    copies = [CHANGES[change](Image.fromarray(pixels)) for pixels in lesions[:12]]
    pairs = duplicates.find(scan_of([*lesions, *copies]), np.arange(len(lesions) + 12))
    detected = set(zip(pairs["i"], pairs["j"], strict=True))
    assert detected == {(i, len(lesions) + i) for i in range(12)}  # all of them, and nothing else
    assert (pairs["kind"] == "near").all()


def test_different_lesions_are_no_copies(lesions):
    scan = scan_of([*lesions, lesions[3], lesions[3]], [*map(str, range(40)), "3", "3"])
    pairs = duplicates.find(scan, np.arange(42))
    assert pairs[["i", "j", "kind"]].to_numpy().tolist() == [[3, 40, "exact"], [3, 41, "exact"]]


def test_one_image_has_no_copy(lesions):
    assert duplicates.find(scan_of(lesions[:1]), np.arange(1)).empty


def test_roc_auc_under_weights_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    score, truth = np.round(rng.normal(size=300), 1), rng.random(300) < 0.3
    weights = rng.integers(0, 4, (3, 300)).astype(float)
    expected = [roc_auc_score(truth, score, sample_weight=w) for w in weights]
    np.testing.assert_allclose(probes.roc_auc(score, truth, weights), expected)
    source = np.repeat([0, 1, 2], 100)
    pairs = [
        (roc_auc_score(truth[s], score[s]), truth[s].sum() * (~truth[s]).sum())
        for s in (source == k for k in range(3))
    ]
    within = sum(auc * n for auc, n in pairs) / sum(n for _, n in pairs)
    assert probes.roc_auc(score, truth, np.ones((1, 300)), source)[0] == pytest.approx(within)


def made_probes(n, predictor, copies=1):
    """Probes on noise, in which corners or source may predict the label."""
    rng = np.random.default_rng(0)
    truth = np.repeat(rng.random(n) < 0.5, copies)
    pictures = [rng.integers(90, 160, (40, 40, 3), dtype=np.uint8) for _ in range(n)]
    pictures = [picture for picture in pictures for _ in range(copies)]
    if predictor == "corners":
        for pixels, positive in zip(pictures, truth, strict=True):
            if positive and rng.random() < 0.8:
                pixels[:5, :5] = 10
    source = np.where(truth ^ (rng.random(len(truth)) < 0.1), "a", "b") if predictor == "source" else "a"
    rows = pd.DataFrame({"group": np.repeat(np.arange(n), copies), "source": source, "malignant": truth})
    results = probes.probe(rows.astype({"malignant": "boolean"}), scan_of(pictures), "malignant")
    return {probe["name"]: probe for probe in results}


def test_only_a_planted_shortcut_is_detected():
    planted, clean = made_probes(300, "corners"), made_probes(300, "nothing")
    assert planted["corners"]["within_sources"]["low"] > 0.8
    for probe in clean.values():
        assert probe["roc_auc"]["low"] is None or probe["roc_auc"]["low"] < 0.55
        assert probe["roc_auc"]["high"] is None or probe["roc_auc"]["high"] < 0.65


def test_a_predictive_source_counts_only_between_sources():
    results = made_probes(300, "source")
    assert results["file"]["roc_auc"]["low"] > 0.7
    assert 0.35 < results["corners"]["within_sources"]["value"] < 0.65


def test_copies_do_not_fool_cross_validation():
    """Five copies of each image would let a probe learn each one's noise by heart, were they not one group."""
    results = made_probes(120, "nothing", copies=5)
    assert results["corners"]["roc_auc"]["value"] < 0.65


def test_leaks_of_given_splits_are_counted_and_the_page_says_so(lesions, tmp_path):
    for split, numbers in (("train", range(24)), ("test", range(20, 40))):
        for i in numbers:  # 20 to 23 are in both
            folder = tmp_path / "set" / split / ("malignant" if i % 2 else "benign")
            folder.mkdir(parents=True, exist_ok=True)
            # The test copies of 20 and 21 are mirrored: near copies under the same id.
            pixels = lesions[i][:, ::-1] if split == "test" and i in (20, 21) else lesions[i]
            Image.fromarray(pixels).save(folder / f"ISIC_{i:07}.png")
    summary = prepare([tmp_path / "set"], tmp_path / "data", jobs=1, publish=page.write)
    leak = json.loads((tmp_path / "data" / "audit.json").read_text())["leaks"]["test"]
    assert leak["any"] == 4
    assert leak["by"]["same id"] == 4
    assert (leak["by"]["exact copy"], leak["by"]["near copy"]) == (2, 2)
    assert summary.audit["verdicts"][0]["level"] == "bad"
    text = (tmp_path / "data" / "audit.html").read_text()
    assert "4 of 20 test images" in text
    assert "never replaces" in text
    assert not re.search(r"(src|href)=.https?:", text)


@pytest.fixture(scope="module")
def neural_network_data(shared_data, tmp_path_factory):
    return prepare([shared_data / "neural_network_data.zip"], tmp_path_factory.mktemp("nn"))


@pytest.mark.slow
def test_the_data_that_fooled_its_makers(neural_network_data):
    audit = neural_network_data.audit
    assert audit["leaks"]["test"]["by"]["same id"] == 579
    corners = next(p for p in audit["probes"]["malignant"] if p["name"] == "corners")
    assert corners["within_sources"]["value"] >= 0.90
    assert audit["verdicts"][0]["title"] == "This data cannot support a claim"
    pairs = {frozenset(pair["images"]) for pair in audit["duplicates"]["pairs"]}
    assert frozenset(("ISIC_0000174", "ISIC_0015071")) in pairs  # recoloured


@pytest.mark.slow
def test_three_sources_share_images_and_their_splits_do_not_leak(shared_data, tmp_path):
    names = ["ISIC2018_Task3_Training_Input.zip", "HAM10000_metadata.csv", "ISIC-images.zip"]
    for part in ("Training", "Validation"):
        names += [f"ISIC-2017_{part}_Data.zip", f"ISIC-2017_{part}_Part3_GroundTruth.csv"]
    summary = prepare([shared_data / name for name in names], tmp_path / "data")
    counted = {tuple(row["sources"]): row["pairs"] for row in summary.audit["duplicates"]["between_sources"]}
    assert counted["HAM10000", "ISIC Archive"] >= 57
    kept = summary.table[summary.table["excluded"] == ""]
    assert kept.groupby("group")["split"].nunique().max() == 1
