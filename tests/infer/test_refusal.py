"""Unfit images are refused with a reason, and real ones pass."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from helpers import models
from melascope import files, images
from melascope.infer.refusal import refusal
from melascope.quality import measure


def degraded(how):
    return np.asarray(how(Image.fromarray(models.lesion(1, 400, 300))))


def scaled(factor, offset=0.0):
    return lambda image: (np.asarray(image) * factor + offset).clip(0, 255).astype(np.uint8)


def test_a_good_image_passes():
    assert refusal(measure(models.lesion(1, 400, 300))) is None


@pytest.mark.parametrize(
    ("how", "why"),
    [
        (lambda image: image.resize((130, 99)), "too small (130 x 99 pixels"),
        (lambda image: image.filter(ImageFilter.GaussianBlur(8)), "out of focus"),
        (scaled(0.1), "too dark"),
        (scaled(0.05, 242), "too bright"),
        (scaled(0.0, 128), "nearly uniform"),
    ],
    ids=["small", "blurred", "dark", "bright", "uniform"],
)
def test_a_degraded_image_is_refused_for_its_fault(how, why):
    assert why in str(refusal(measure(degraded(how))))


@pytest.mark.parametrize("archive", ["ISIC2018_Task3_Training_Input.zip", "ISIC-2017_Training_Data.zip"])
def test_real_dermoscopic_images_pass(shared_data, archive):
    path = shared_data / archive
    names = sorted(n for n in files.open_zip(path).namelist() if n.endswith(".jpg") and "super" not in n)
    chosen = [f"{path}::{name}" for name in names[:: len(names) // 150]]
    refused = [name for name in chosen if refusal(measure(images.decode(files.read(name), name)))]
    assert len(chosen) >= 150
    assert not refused  # of all images of these two, none is
