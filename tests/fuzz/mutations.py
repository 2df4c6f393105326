"""Bytes, changed as damage and attackers change them: from a seed alone, so that every input can be made again."""

from __future__ import annotations

import random

INTERESTING = (0, 1, 2, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1)
TOKENS = (
    b"\x00", b"\xff\xff\xff\xff", b"%s%n", b"../../../../etc/passwd", b"/dev/zero", b"\x1b[2J", b"NaN", b"1e999", b"-1",
    b"9" * 400, b"{" * 200, b"[" * 200, b"\xef\xbb\xbf", b"\xed\xa0\x80", b"&a [*a]", b"!!python/object/apply:os.system",
    b"<!ENTITY x SYSTEM 'file:///etc/passwd'>", b"cos\nsystem\n", b"(S'touch /tmp/x'\ntR.", b"__import__('os').system('x')",
    b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f", b"PK\x05\x06", b"\n\n\n", b"'\";--",
)  # fmt: skip
"""What breaks parsers of other programs."""


def mutated(seeds: list[bytes], generator: random.Random) -> bytes:
    """One of the seeds with one to eight changes."""
    content = bytearray(generator.choice(seeds))
    for _ in range(generator.choice((1, 1, 1, 2, 2, 3, 5, 8))):
        _change(content, seeds, generator)
    return bytes(content[: 4 * 2**20])


def _change(content: bytearray, seeds: list[bytes], generator: random.Random) -> None:
    place = generator.randrange(len(content) + 1)
    kind = generator.randrange(10)
    if kind == 0 and content:
        content[min(place, len(content) - 1)] ^= 1 << generator.randrange(8)
    elif kind == 1 and content:
        content[min(place, len(content) - 1)] = generator.randrange(256)
    elif kind == 2:  # a number of some size, in either order of bytes
        size, order = generator.choice((1, 2, 4, 8)), generator.choice(("little", "big"))
        number = generator.choice(INTERESTING) % (1 << (8 * size))
        content[place : place + size] = number.to_bytes(size, order)  # type: ignore[arg-type]
    elif kind == 3:
        del content[place:]
    elif kind == 4:
        del content[place : place + generator.choice((1, 4, 16, 256))]
    elif kind == 5:
        content[place:place] = generator.choice(TOKENS)
    elif kind == 6:
        length = generator.choice((1, 16, 256, 4096))
        content[place:place] = content[place : place + length] * generator.choice((1, 2, 50))
    elif kind == 7:  # a part of another seed
        other = generator.choice(seeds)
        start = generator.randrange(len(other) + 1)
        content[place : place + generator.choice((0, 64))] = other[start : start + generator.choice((8, 64, 1024))]
    elif kind == 8:  # a decimal number in text
        digits = [at for at in range(len(content)) if content[at : at + 1].isdigit()]
        if digits:
            at = generator.choice(digits)
            content[at : at + 1] = generator.choice((b"0", b"-1", b"99999999999999999999", b"1e400", b"0x10", b"1.5"))
    else:
        content.extend(generator.randbytes(generator.choice((1, 16, 512))))
