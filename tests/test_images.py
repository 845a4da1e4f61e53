"""Bytes to pixels: every kind of image a camera or a person may hand in, and every way to break one."""

import io
import pickle
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from melascope import images
from melascope.errors import ImageError


def encode(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def picture(height=40, width=60):
    """Left half red, right half blue, top rows white."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2, 0] = 255
    pixels[:, width // 2 :, 2] = 255
    pixels[:8] = 255
    return pixels


def near(pixels, expected, tolerance=12):
    same = pixels.shape == expected.shape
    # The encoder smears colour across the edges; the flat parts must agree.
    return same and np.median(np.abs(pixels.astype(int) - expected.astype(int))) <= tolerance


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_lossless_formats_give_the_pixels_that_were_written(kind):
    data = encode(Image.fromarray(picture()), kind)
    assert np.array_equal(images.decode(data, "a"), picture())
    assert images.format_of(data) == kind


def test_jpeg_and_cmyk_jpeg_look_alike():
    plain = images.decode(encode(Image.fromarray(picture()), "JPEG", quality=95), "a")
    cmyk = images.decode(encode(Image.fromarray(picture()).convert("CMYK"), "JPEG", quality=95), "a")
    assert near(plain, picture())
    assert near(cmyk, picture())


def test_grey_palette_and_one_bit_images_become_rgb():
    grey = Image.fromarray(picture()).convert("L")
    expected = np.repeat(np.asarray(grey)[:, :, None], 3, axis=2)
    assert np.array_equal(images.decode(encode(grey, "PNG"), "a"), expected)
    palette = Image.fromarray(picture()).convert("P", palette=Image.Palette.ADAPTIVE)
    assert near(images.decode(encode(palette, "PNG"), "a"), picture())
    bilevel = Image.fromarray(np.array([[0, 255], [255, 0]], np.uint8)).convert("1")
    assert images.decode(encode(bilevel, "PNG"), "a")[:, :, 1].tolist() == [[0, 255], [255, 0]]


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_keep_their_high_byte(kind):
    deep = np.array([[0, 0x1234], [0x8000, 0xFFFF]], np.uint16)
    assert images.decode(encode(Image.fromarray(deep), kind), "a")[:, :, 0].tolist() == [
        [0, 0x12],
        [0x80, 255],
    ]


def test_transparent_is_shown_on_white():
    clear = Image.new("RGBA", (4, 4), (10, 20, 30, 0))
    assert (images.decode(encode(clear, "PNG"), "a") == 255).all()


def test_exif_orientation_is_honoured():
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held on its side: turn by 90 degrees clockwise to see it upright
    data = encode(Image.fromarray(picture()), "JPEG", quality=95, exif=exif)
    pixels = images.decode(data, "a")
    assert pixels.shape == (60, 40, 3)
    assert near(pixels, np.rot90(picture(), -1))


def test_metadata_that_cannot_be_read_does_not_cost_the_image():
    data = encode(Image.fromarray(picture()), "JPEG", quality=95, exif=b"Exif\0\0MM\0*\0\0\xff\xff rubbish")
    assert near(images.decode(data, "a"), picture())


def claimed(width, height):
    """A small PNG that claims a huge size."""

    def block(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = block(b"IHDR", header) + block(b"IDAT", zlib.compress(bytes(100))) + block(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


JPEG = encode(Image.fromarray(picture(200, 300)), "JPEG")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "0 bytes"),
        (JPEG[: len(JPEG) // 2], "damaged"),
        (JPEG[:30], "image"),
        (b"this is a text that someone named lesion.jpg", "not an image"),
        (b"<!doctype html><title>404</title>", "not an image"),
        (encode(Image.fromarray(picture()), "GIF"), "not an image"),
        (claimed(30_000, 30_000), "pixels"),
        (claimed(9_000, 9_000), "9000 x 9000 pixels"),
        (claimed(100, 100), "damaged"),
    ],
)
def test_a_broken_image_is_one_error_that_names_the_file(data, reason):
    with pytest.raises(ImageError, match=reason) as caught:
        images.decode(data, "folder/lesion.jpg")
    with pytest.raises(ImageError, match=reason):
        images.check(data, "folder/lesion.jpg")
    assert caught.value.name == "folder/lesion.jpg"
    assert "\n" not in str(caught.value)
    again = pickle.loads(pickle.dumps(caught.value))  # as a worker process hands it over  # noqa: S301
    assert (again.name, again.reason) == (caught.value.name, caught.value.reason)


@given(st.binary(max_size=200), st.integers(0, len(JPEG) - 1))
def test_any_damage_is_an_image_or_an_image_error(noise, at):
    damaged = JPEG[:at] + noise + JPEG[at + len(noise) :]
    try:
        pixels = images.decode(damaged, "a")
    except ImageError:
        with pytest.raises(ImageError):  # what is checked is not taken for whole
            images.check(damaged, "a")
        return
    images.check(damaged, "a")
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 3


def test_content_counts_and_not_the_name():
    assert near(images.decode(encode(Image.fromarray(picture()), "PNG"), "a.jpg"), picture())


def test_an_image_that_is_also_a_zip_is_only_an_image(tmp_path):
    """A JPEG with a ZIP behind it, the usual polyglot: both readers are content, and only pixels come out."""
    path = tmp_path / "lesion.jpg"
    path.write_bytes(JPEG)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("evil.html", "<script>")
    assert np.array_equal(images.decode(path.read_bytes(), "a"), images.decode(JPEG, "a"))
    assert path.stat().st_size > len(JPEG)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux to measure memory")
@pytest.mark.parametrize(
    ("mode", "name", "pixels", "options"),
    [
        ("RGB", "a.jpg", 63_900_000, {"progressive": True}),
        ("CMYK", "a.jpg", 63_900_000, {}),
        ("RGBA", "a.png", 31_900_000, {"compress_level": 1}),
        ("P", "a.png", 31_900_000, {"compress_level": 1}),
        ("F", "a.tif", 31_900_000, {}),
        ("I", "a.tif", 31_900_000, {}),
        ("RGB", "a.tif", 31_900_000, {"compression": "tiff_lzw"}),
        ("RGB", "a.bmp", 31_900_000, {}),
        ("RGB", "a.webp", 15_900_000, {"quality": 80}),
    ],
)
def test_the_largest_accepted_files_fit_memory(mode, name, pixels, options, tmp_path):
    side = int(pixels**0.5)
    tile = np.random.default_rng(0).integers(0, 256, (470, 470, 3), dtype=np.uint8)
    large = np.tile(tile, (side // 470 + 1, side // 470 + 1, 1))[:side, :side]
    Image.fromarray(large).convert(mode).save(tmp_path / name, **options)
    code = (
        "import re, sys, time; from melascope import images, files; name = sys.argv[1]\n"
        "started = time.process_time(); images.decode(files.read(name), name, at_least=224)\n"
        "peak = re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]\n"
        "print(time.process_time() - started, int(peak) / 1024)"
    )
    words = [sys.executable, "-c", code, str(tmp_path / name)]
    seconds, megabytes = map(float, subprocess.run(words, capture_output=True, check=True).stdout.split())
    assert megabytes < 800
    assert seconds < 4  # twice what a quiet machine of two cores takes at most


def test_square_takes_the_central_square():
    pixels = np.zeros((100, 300, 3), np.uint8)
    pixels[:, 100:200] = 200
    fitted = images.square(pixels, 50)
    assert fitted.shape == (50, 50, 3)
    assert (fitted[:, 1:-1] == 200).all()  # the edge is antialiased with what lies beyond
    assert images.square(fitted, 50) is fitted


def test_decoding_for_a_size_is_faster_and_never_too_small(tmp_path):
    path = tmp_path / "a.jpg"
    Image.fromarray(np.asarray(Image.fromarray(picture()).resize((1600, 1200)))).save(path)
    reduced = images.decode(path.read_bytes(), "a", at_least=224)
    assert 224 <= min(reduced.shape[:2]) < 1200
    assert images.load(str(path), 224).shape == (224, 224, 3)


RAMP = np.arange(240, dtype=np.uint8).reshape(8, 10, 3)  # every value once


@pytest.mark.parametrize(
    "values",
    [
        RAMP,
        RAMP[:, ::-1][:, ::-1],
        np.asfortranarray(RAMP),
        RAMP.astype(np.int64),
        RAMP.astype(np.int16),
        RAMP.astype(np.uint16) * 257,
        RAMP.astype(np.float32),
        RAMP.astype(np.float16),
        RAMP.astype(np.float64) / 255,
        (RAMP / 255).astype(np.float32),
        np.concatenate([RAMP, np.full((8, 10, 1), 255, np.uint8)], axis=2),
        np.concatenate([RAMP / 255, np.ones((8, 10, 1))], axis=2),
    ],
    ids=lambda values: f"{values.dtype}-{values.shape[2]}-{values.max():.0f}",
)
def test_arrays_of_one_image_give_the_same_pixels(values):
    np.testing.assert_array_equal(images.from_array(values), RAMP)


def test_grey_boolean_and_transparent_arrays():
    grey = RAMP[..., 0]
    for values in (grey, grey[..., None], grey / 255):
        np.testing.assert_array_equal(images.from_array(values), np.repeat(grey[..., None], 3, axis=2))
    mask = grey > 100
    np.testing.assert_array_equal(images.from_array(mask)[..., 1], np.where(mask, 255, 0))
    clear = np.concatenate([RAMP, np.zeros((8, 10, 1), np.uint8)], axis=2)
    assert (images.from_array(clear) == 255).all()
    half = np.concatenate([np.zeros((1, 1, 3), np.uint8), np.full((1, 1, 1), 51, np.uint8)], axis=2)
    assert images.from_array(half).tolist() == [[[204, 204, 204]]]  # a fifth of black on white


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.zeros(5), r"the shape \(5,\) is not that of an image"),
        (np.zeros((0, 4, 3)), "not that of an image"),
        (np.zeros((2, 4, 4, 3)), "not that of an image"),
        (np.zeros((4, 4, 2)), r"2 channels in the shape \(4, 4, 2\); an image has 1, 3 or 4"),
        (np.zeros((3, 32, 32)), r"channels come first .* use \.transpose\(1, 2, 0\)"),
        (np.zeros((1, 32, 32)), "channels come first"),
        (np.full((4, 4), np.nan), "not finite"),
        (np.full((4, 4), np.inf), "not finite"),
        (np.full((4, 4), -0.5), r"floats from -0\.5 to -0\.5; give 0 to 1, or 0 to 255"),
        (np.full((4, 4), 1.4), "floats from 1.4 to 1.4"),
        (np.full((4, 4), 256.0), "floats from 256 to 256"),
        (np.full((4, 4), 300), "int64 from 300 to 300; give 0 to 255"),
        (np.full((4, 4), -1), "int64 from -1 to -1"),
        (np.full((4, 4), 200, np.uint16), "uint16 of 200 to 200 may have 8 or 16 bits; give uint8"),
        (np.full((4, 4), "x"), "values of type <U1 are not pixels"),
        (np.full((4, 4), None), "values of type object"),
        (np.full((4, 4), 1j), "values of type complex128"),
    ],
)
def test_arrays_in_doubt_are_refused_in_one_sentence(values, reason):
    with pytest.raises(ImageError, match=f"^mine: .*{reason}") as refused:
        images.from_array(values, "mine")
    assert "\n" not in str(refused.value)


def test_pictures_of_pillow_give_the_pixels_of_their_file(tmp_path):
    turned = Image.Exif()
    turned[0x0112] = 6
    for mode, kind, options in (
        ("RGB", "PNG", {}),
        ("P", "PNG", {}),
        ("L", "TIFF", {}),
        ("RGB", "JPEG", {"exif": turned}),
    ):
        data = encode(Image.fromarray(picture()).convert(mode), kind, **options)
        np.testing.assert_array_equal(
            images.from_picture(Image.open(io.BytesIO(data))), images.decode(data, "same")
        )
    broken = Image.open(io.BytesIO(encode(Image.fromarray(picture()), "PNG")[:-60]))
    with pytest.raises(ImageError, match=r"^mine: damaged image"):
        images.from_picture(broken, "mine")
