"""Fingerprints against hashlib, perceptual hashes by hand, and look-alikes against every pair compared one by one."""

import hashlib
import io

import numpy as np
from PIL import Image
from sick_folders import encoded, make_image

from resnets.data.doctor.comparison import CORRELATION, NEAR_BITS, Fingerprints, Split
from resnets.data.doctor.image import Examined, examine, fingerprint, likeness_of, perceptual_hash, pixel_fingerprint


def test_copies_on_three_sides_stay_in_the_one_held_back_most() -> None:
    labels = np.zeros(2, np.int64)
    prints = Fingerprints([Split(name, ("a",), labels, (name + "{}").format) for name in ("test", "train", "val")], likeness=False)
    for number in range(3):
        for index in range(2):  # the first of each split is the same image, the second its own
            digest = fingerprint(b"same" if index == 0 else bytes([number]))
            prints.put((number, index), Examined((), digest, digest, b"", 5))
    (finding,) = prints.same()
    assert (finding.kind, finding.names) == ("leak", ("test0", "train0", "val0"))
    assert finding.excluded == ("train0", "val0")


def test_fingerprints_are_blake2b_of_bytes_and_of_pixels_with_their_size() -> None:
    image = make_image(3)
    content = encoded(image, "PNG")
    seen = examine(content, "a.png", likeness=False)
    assert seen.content == hashlib.blake2b(content, digest_size=16).digest()
    assert seen.pixels == hashlib.blake2b(image.tobytes(), digest_size=16, key="72×96×3".encode()).digest()
    flat = np.zeros((2, 6), np.uint8)
    assert pixel_fingerprint(flat) != pixel_fingerprint(flat.reshape(3, 4))


def test_the_perceptual_hash_by_hand() -> None:
    """Columns that grow brighter to the right by more than the margin: 64 bits of 1, and of 0 for rows, which are all the same."""
    ramp = np.tile(np.arange(9, dtype=np.uint8) * 10, (9, 1)).repeat(4, 0).repeat(4, 1)

    def hashed(pixels: np.ndarray) -> bytes:
        return perceptual_hash(Image.fromarray(pixels))

    assert hashed(ramp) == b"\xff" * 8 + b"\x00" * 8
    assert hashed(ramp.T) == b"\x00" * 8 + b"\xff" * 8
    assert hashed(ramp[:, ::-1]) == b""  # too plain: no bit is set
    assert hashed(ramp // 10) == b""  # steps of 1 are within the margin


def test_look_alikes_must_be_correlated_too() -> None:
    """With equal hashes, the correlation of the grey cells decides, as NumPy's corrcoef gives it; and only with a group's first."""
    random = np.random.default_rng(1)
    base = random.normal(128, 40, 256)
    rows = np.stack([base, *(base + random.normal(0, noise, 256) for noise in (3, 5, 8, 20))]).clip(0, 255).astype(np.uint8)
    prints = Fingerprints([Split("train", ("a",), np.zeros(len(rows), np.int64), str)], likeness=True)
    for index, cells in enumerate(rows):
        digest = fingerprint(bytes([index]))
        prints.put((0, index), Examined((), digest, digest, bytes(range(16)) + cells.tobytes(), 9))
    like_first = [str(index) for index in range(len(rows)) if np.corrcoef(rows)[0, index] >= CORRELATION]
    assert 2 < len(like_first) < len(rows)
    assert [finding.names for finding in prints.near()] == [tuple(like_first)]


def test_hashes_are_alike_up_to_the_stated_distance() -> None:
    """Against the distance of every pair, computed as integers."""
    random = np.random.default_rng(0)
    base = random.integers(0, 256, (60, 16), dtype=np.uint8)
    hashes = [bytes(row) for row in base]
    for row, flips in enumerate(range(1, 13)):
        bits = np.unpackbits(base[row])
        bits[random.choice(128, flips, replace=False)] ^= 1
        hashes.append(np.packbits(bits).tobytes())
    cells = bytes(range(256))
    prints = Fingerprints([Split("train", ("a",), np.zeros(len(hashes), np.int64), str)], likeness=True)
    for index, likeness in enumerate(hashes):
        digest = fingerprint(bytes([index]))
        prints.put((0, index), Examined((), digest, digest, likeness + cells, 9))
    numbers = [int.from_bytes(likeness) for likeness in hashes]
    expected = {
        (str(i), str(j)) for i in range(len(hashes)) for j in range(i) if (numbers[i] ^ numbers[j]).bit_count() <= NEAR_BITS
    }  # fmt: skip
    assert len(expected) == NEAR_BITS
    assert {finding.names[::-1] for finding in prints.near()} == expected


def test_resized_and_recompressed_copies_are_within_both_limits_and_other_images_beyond() -> None:
    for seed in range(20):
        image = make_image(seed, (300, 220))
        with Image.open(io.BytesIO(encoded(image.resize((190, 140)), quality=50))) as copy:
            same, other = (likeness_of(np.asarray(one.convert("RGB"))) for one in (copy, make_image(seed + 500, (300, 220))))
        base = likeness_of(np.asarray(image))
        assert _distance(base, same) <= NEAR_BITS
        assert _correlation(base, same) >= CORRELATION
        assert _distance(base, other) > NEAR_BITS
        assert _correlation(base, other) < CORRELATION


def _distance(first: bytes, second: bytes) -> int:
    return (int.from_bytes(first[:16]) ^ int.from_bytes(second[:16])).bit_count()


def _correlation(first: bytes, second: bytes) -> float:
    return float(np.corrcoef(*(np.frombuffer(cells[16:], np.uint8) for cells in (first, second)))[0, 1])
