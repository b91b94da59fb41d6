"""Ids that people can read aloud: 128 random bits as hex, and the same in four words."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

# The word list of the humanhash library (public domain); names made with it stay the same.
_WORDS = """
ack alabama alanine alaska alpha angel apart april arizona arkansas artist asparagus aspen august
autumn avocado bacon bakerloo batman beer berlin beryllium black blossom blue bluebird bravo
bulldog burger butter california carbon cardinal carolina carpet cat ceiling charlie chicken
coffee cola cold colorado comet connecticut crazy cup dakota december delaware delta diet don
double early earth east echo edward eight eighteen eleven emma enemy equal failed fanta fifteen
fillet finch fish five fix floor florida football four fourteen foxtrot freddie friend fruit gee
georgia glucose golf green grey hamper happy harry hawaii helium high hot hotel hydrogen idaho
illinois india indigo ink iowa island item jersey jig johnny juliet july jupiter kansas kentucky
kilo king kitten lactose lake lamp lemon leopard lima lion lithium london louisiana low magazine
magnesium maine mango march mars maryland massachusetts may mexico michigan mike minnesota mirror
mississippi missouri mobile mockingbird monkey montana moon mountain muppet music nebraska neptune
network nevada nine nineteen nitrogen north november nuts october ohio oklahoma one orange oranges
oregon oscar oven oxygen papa paris pasta pennsylvania pip pizza pluto potato princess purple
quebec queen quiet red river robert robin romeo rugby sad salami saturn september seven seventeen
shade sierra single sink six sixteen skylark snake social sodium solar south spaghetti speaker
spring stairway steak stream summer sweet table tango ten tennessee tennis texas thirteen three
timing triple twelve twenty two uncle undress uniform uranus utah vegan venus vermont victor video
violet virginia washington west whiskey white william winner winter wisconsin wolfram wyoming xray
yankee yellow zebra zulu
"""

DEFAULT_WORDLIST = tuple(_WORDS.split())


class HumanHasher:
    """Renders hex digests in words of a list of 256."""

    def __init__(self, wordlist: Sequence[str] = DEFAULT_WORDLIST) -> None:
        if len(wordlist) != 256:
            raise ValueError(f"A word list has exactly 256 words, this one {len(wordlist)}.")
        self.wordlist = wordlist

    def humanize(self, hexdigest: str, words: int = 4, separator: str = "-") -> str:
        """The digest folded to `words` bytes, each a word."""
        whole_bytes = hexdigest[: len(hexdigest) // 2 * 2]
        folded = self.compress(bytes.fromhex(whole_bytes), words)
        return separator.join([self.wordlist[byte] for byte in folded])

    @staticmethod
    def compress(values: Iterable[int], target: int) -> list[int]:
        """Fold byte values to `target` ones: equal segments, the rest in the last, each XORed."""
        values = bytes(values)
        if target > len(values):
            raise ValueError(f"{len(values)} bytes cannot be folded to {target}.")
        size = len(values) // target
        starts = range(0, size * target, size)
        ends = [*starts[1:], len(values)]
        return [_xor(values[start:end]) for start, end in zip(starts, ends, strict=True)]

    def uuid(self, words: int = 4, separator: str = "-") -> tuple[str, str]:
        """A new random id: its name in words, and its 32 hex digits."""
        digest = random_hex()
        return self.humanize(digest, words, separator), digest


def _xor(values: bytes) -> int:
    result = 0
    for value in values:
        result ^= value
    return result


def random_hex() -> str:
    """The hex of a random UUID (version 4), at a third of what `uuid.uuid4().hex` costs."""
    digits = os.urandom(16).hex()
    return f"{digits[:12]}4{digits[13:16]}{_VARIANT[digits[16]]}{digits[17:]}"


_VARIANT = {digit: "89ab"[int(digit, 16) % 4] for digit in "0123456789abcdef"}

DEFAULT_HASHER = HumanHasher()
uuid = DEFAULT_HASHER.uuid
humanize = DEFAULT_HASHER.humanize
