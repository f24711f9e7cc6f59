"""One way to open a picture: upright RGB, or a sentence with the file's name."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile, ImageOps

from firstsight.errors import InputError
from firstsight.pictures.decode import MOST_PIXELS, open_picture, squared, upright_rgb

GRADIENT = np.add.outer(np.arange(30) * 4, np.arange(40) * 3).astype(np.uint8)  # [h, w]
COLOURS = np.stack([GRADIENT, GRADIENT[::-1], 255 - GRADIENT], axis=2)  # [h, w, 3]


def encoded(picture: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def says(sentence, content, **options):
    with pytest.raises(InputError) as caught:
        open_picture(content, "images/owl/1.jpg", **options)
    assert str(caught.value) == sentence


def test_colours_are_kept(tmp_path):
    Image.fromarray(COLOURS).save(tmp_path / "a.png")
    for source in (tmp_path / "a.png", str(tmp_path / "a.png"), (tmp_path / "a.png").read_bytes()):
        picture = open_picture(source)
        assert picture.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(picture), COLOURS)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_as_they_were_taken(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(Image.fromarray(COLOURS), kind, exif=exif)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    found = open_picture(content)
    assert found.size == ((40, 30) if orientation < 5 else (30, 40))
    np.testing.assert_array_equal(np.asarray(found), np.asarray(expected))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_once(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)).save(file, "PNG", exif=exif)
    once = open_picture(file.getvalue())
    np.testing.assert_array_equal(np.asarray(upright_rgb(once)), np.asarray(once))


def test_an_orientation_that_is_none():
    exif = Image.Exif()
    exif[0x0112] = 77
    found = open_picture(encoded(Image.fromarray(COLOURS), exif=exif))
    np.testing.assert_array_equal(np.asarray(found), COLOURS)
    assert open_picture(encoded(Image.fromarray(COLOURS), exif=b"Exif\0\0nonsense")).size == (40, 30)


def test_grey_becomes_three_colours():
    found = open_picture(encoded(Image.fromarray(GRADIENT)))
    np.testing.assert_array_equal(np.asarray(found), np.repeat(GRADIENT[:, :, None], 3, axis=2))


def test_one_bit():
    found = open_picture(encoded(Image.fromarray(GRADIENT > 90)))
    assert set(np.unique(np.asarray(found))) == {0, 255}


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_brought_down_to_eight(kind):
    deep = (GRADIENT.astype(np.uint16) * 257) + 3
    found = open_picture(encoded(Image.fromarray(deep), kind))
    np.testing.assert_array_equal(np.asarray(found)[:, :, 1], GRADIENT)


def test_brightness_beyond_sixteen_bits_is_refused():
    deep = GRADIENT.astype(np.int32) * 1000
    reason = "brightness must be 0 to 65,535; got 0 to 233,000"
    says(
        f"images/owl/1.jpg must be a whole picture; got one that is broken: {reason}",
        encoded(Image.fromarray(deep), "TIFF"),
    )


def test_floats_are_refused():
    reason = "brightness must be whole numbers; got floats"
    content = encoded(Image.fromarray(GRADIENT.astype(np.float32)), "TIFF")
    says(f"images/owl/1.jpg must be a whole picture; got one that is broken: {reason}", content)


def test_cmyk():
    content = encoded(Image.fromarray(COLOURS).convert("CMYK"), "JPEG", quality=95)
    found = np.asarray(open_picture(content)).astype(int)
    assert np.abs(found - COLOURS).mean() < 6  # a JPEG


def test_transparency_is_white():
    alpha = np.full_like(GRADIENT, 255)
    alpha[:, :10] = 0
    alpha[:, 10:20] = 128
    expected = np.round(COLOURS * (alpha[:, :, None] / 255) + 255 * (1 - alpha[:, :, None] / 255))
    found = open_picture(encoded(Image.fromarray(np.dstack([COLOURS, alpha])))).convert("RGB")
    np.testing.assert_allclose(np.asarray(found), expected, atol=1)
    grey = open_picture(encoded(Image.fromarray(np.dstack([GRADIENT, alpha]))))
    assert (np.asarray(grey)[:, :10] == 255).all()


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_palette_with_transparency(kind):
    palette = Image.fromarray((GRADIENT > 90).astype(np.uint8), "L").convert("P")
    palette.putpalette([10, 20, 30, 200, 100, 50])
    content = encoded(palette, kind, transparency=1)
    found = np.asarray(open_picture(content))
    assert (found[GRADIENT > 90] == 255).all()
    assert (found[GRADIENT <= 90] == [10, 20, 30]).all()


def test_a_transparent_colour_of_png():
    found = np.asarray(open_picture(encoded(Image.fromarray(COLOURS), transparency=tuple(map(int, COLOURS[3, 4])))))
    assert (found[3, 4] == 255).all()
    np.testing.assert_array_equal(found[10], COLOURS[10])


def test_of_an_animation_the_first_frame():
    frames = [Image.new("RGB", (9, 8), colour) for colour in ("red", "blue")]
    for kind in ("GIF", "WEBP"):
        options = {"lossless": True} if kind == "WEBP" else {}
        content = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        assert open_picture(content).getpixel((4, 4)) == (255, 0, 0)


def test_one_pixel():
    assert open_picture(encoded(Image.new("RGB", (1, 1), "red"))).getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "BMP"])
def test_a_file_that_breaks_off(kind):
    noise = np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    content = encoded(Image.fromarray(noise), kind)
    with pytest.raises(InputError, match=r"^images/owl/1\.jpg must be a (whole )?picture"):
        open_picture(content[: len(content) * 2 // 3], "images/owl/1.jpg")


def test_damaged_files_are_refused_or_read_never_worse():
    rng = np.random.default_rng(1)
    sentences = []
    for kind in ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP"):
        content = encoded(Image.fromarray(COLOURS), kind)
        for _ in range(40):
            broken = bytearray(content)
            for at in rng.integers(0, len(broken), 3):
                broken[at] = rng.integers(0, 256)
            try:
                assert open_picture(bytes(broken), "x", most_pixels=10**6).mode == "RGB"
            except InputError as error:
                sentences.append(str(error))
    assert sentences
    assert all(sentence.startswith("x must be a ") for sentence in sentences)


def test_not_a_picture():
    other = "images/owl/1.jpg must be a picture (JPEG, PNG, WebP, BMP, TIFF or GIF); got"
    says(f"{other} something else", b"%!PS-Adobe-3.0 EPSF-3.0\n")
    says(f"{other} something else", b"<svg/>")
    says(f"{other} an empty file", b"")


def test_formats_that_run_programs_are_not_tried():
    content = encoded(Image.fromarray(COLOURS), "EPS")
    assert Image.open(io.BytesIO(content)).format == "EPS"
    says("images/owl/1.jpg must be a picture (JPEG, PNG, WebP, BMP, TIFF or GIF); got something else", content)


def test_no_such_file(tmp_path):
    with pytest.raises(InputError) as caught:
        open_picture(tmp_path / "no.jpg")
    assert str(caught.value) == (
        f"{tmp_path}/no.jpg must be a picture; got a file that cannot be read: No such file or directory"
    )


def test_too_many_pixels_are_refused_before_decoding(monkeypatch):
    content = bytearray(encoded(Image.new("RGB", (40, 30))))
    content[16:24] = struct.pack(">II", 20_000, 20_000)  # what its header says
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    content = bytes(content)
    small = encoded(Image.new("RGB", (40, 30)))
    sentence = "images/owl/1.jpg must be a picture of at most {} pixels; got {}; make it smaller"
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda _: pytest.fail("decoded"))
    says(sentence.format("100,000,000", "20,000 x 20,000"), content)
    says(sentence.format("1,199", "40 x 30"), small, most_pixels=1199)
    monkeypatch.undo()
    assert open_picture(small, most_pixels=1200).size == (40, 30)


def test_what_pillow_would_warn_of_is_read(monkeypatch):
    """Its own limit lies below ours; it is as it was afterwards."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert open_picture(encoded(Image.new("RGB", (40, 30)))).size == (40, 30)
    assert Image.MAX_IMAGE_PIXELS == 100
    assert MOST_PIXELS == 100_000_000


def test_a_large_jpeg_is_decoded_smaller_but_never_too_small():
    content = encoded(Image.fromarray(COLOURS).resize((1600, 1200)), "JPEG")
    for enough, side in ((None, 1200), (601, 1200), (600, 600), (301, 600), (300, 300), (150, 150), (10, 150)):
        assert open_picture(content, enough=enough).height == side


def test_a_picture_that_is_open_already():
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = Image.open(io.BytesIO(encoded(Image.fromarray(COLOURS), exif=exif)))
    assert upright_rgb(turned).size == (30, 40)
    with pytest.raises(InputError) as caught:
        upright_rgb(Image.fromarray(GRADIENT.astype(np.float32)), "it")
    assert str(caught.value) == (
        "it must be a whole picture; got one that is broken: brightness must be whole numbers; got floats"
    )


@pytest.mark.parametrize("size", [(60, 20), (20, 60), (40, 40)])
def test_a_picture_keeps_its_shape(size):
    """A disc in the middle stays a disc, and what lies beyond the central square is gone."""
    width, height = size
    across, down = np.meshgrid(np.arange(width) + 0.5 - width / 2, np.arange(height) + 0.5 - height / 2)
    disc = np.where(across**2 + down**2 < 8**2, 255, 0)[..., None].repeat(3, axis=2).astype(np.uint8)
    found = squared(Image.fromarray(disc), 20)
    side = min(size)
    assert found.shape == (20, 20, 3)
    lit = found[..., 0] > 127
    assert lit.any(axis=0).sum() == lit.any(axis=1).sum() == round(16 * 20 / side)


def test_the_central_square_is_cut_by_whole_pixels():
    picture = np.random.default_rng(0).integers(0, 256, (5, 9, 3), dtype=np.uint8)
    np.testing.assert_array_equal(squared(Image.fromarray(picture), 5), picture[:, 2:7])
    turned = np.ascontiguousarray(picture.transpose(1, 0, 2))
    np.testing.assert_array_equal(squared(Image.fromarray(turned), 5), turned[2:7])
