"""A ring of numbered records in shared memory, with one writer and one reader.

A record is a slot of words and a body in a heap. It exists once the writer's cursor has moved
past its number, so a half-written one does not exist; its slot is found by its number alone, so
whoever takes over from a dead writer or reader finds every record that its cursors name.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable
from pathlib import Path

SLOTS = 512
HEAP_BYTES = 512 * 1024
SLOT_WORDS = 16
WORD = 8

RING_BYTES = SLOTS * SLOT_WORDS * WORD + HEAP_BYTES

LARGEST_BODY = HEAP_BYTES // 4
"""Bodies above this many bytes lie in a file and the record holds its name."""

NUMBER, OFFSET, LENGTH, SPARE, CRC, FILED = range(6)
FIRST_FREE_WORD = 6
"""The words of a slot from here on belong to whoever uses the ring."""


class Torn(Exception):
    """The record is not yet visible as its cursor promises; look again."""


class Ring:
    """The records (`freed`, last written] of one direction of a lane."""

    def __init__(self, memory: memoryview, folder: Path, name: str) -> None:
        table = SLOTS * SLOT_WORDS * WORD
        self.words = memory[:table].cast("q")
        self._heap = memory[table:]
        self._folder = folder
        self._name = name

    def slot(self, number: int) -> int:
        """The index of the first word of the record's slot."""
        return (number % SLOTS) * SLOT_WORDS

    def put(self, number: int, freed: int, parts: Iterable[bytes], spare: int = 0) -> bool:
        """Write record `number` if there is room beyond the records up to `freed`.

        The body is the parts one after the other, and `spare` bytes for the user of the ring.
        The caller moves its cursor afterwards.
        """
        if number - freed > SLOTS:
            return False
        body = b"".join(parts)
        filed = len(body) > LARGEST_BODY
        if filed:
            content, body = body, self._file(number).encode()
        offset = self._room_for(number, freed, len(body) + spare)
        if offset is None:
            return False
        if filed:
            self._write_file(number, content)
        start = offset % HEAP_BYTES
        self._heap[start : start + len(body)] = body
        words, slot = self.words, self.slot(number)
        words[slot + OFFSET] = offset
        words[slot + LENGTH] = len(body)
        words[slot + SPARE] = spare
        words[slot + CRC] = zlib.crc32(body)
        words[slot + FILED] = filed
        words[slot + NUMBER] = number
        return True

    def body(self, number: int) -> bytes:
        """The body of a record. Raises Torn where its slot or checksum do not fit yet."""
        words, slot = self.words, self.slot(number)
        length = words[slot + LENGTH]
        start = words[slot + OFFSET] % HEAP_BYTES
        body = bytes(self._heap[start : start + length])
        if words[slot + NUMBER] != number or zlib.crc32(body) != words[slot + CRC]:
            raise Torn(number)
        return (self._folder / body.decode()).read_bytes() if words[slot + FILED] else body

    def size(self, number: int) -> int | None:
        """How many bytes its body has; None where it lies in a file."""
        words, slot = self.words, self.slot(number)
        return None if words[slot + FILED] else words[slot + LENGTH]

    def spare(self, number: int, length: int) -> memoryview:
        """The first `length` of the bytes kept spare behind the body."""
        slot = self.slot(number)
        start = self.words[slot + OFFSET] % HEAP_BYTES + self.words[slot + LENGTH]
        return self._heap[start : start + length]

    def free(self, number: int) -> None:
        """Remove what the record left outside the ring; its place is free by the cursor."""
        if self.words[self.slot(number) + FILED]:
            (self._folder / self._file(number)).unlink(missing_ok=True)

    def _room_for(self, number: int, freed: int, length: int) -> int | None:
        """The heap position of a body of `length`, which never wraps; None if the ring is full."""
        head = self._end(number - 1)
        if head % HEAP_BYTES + length > HEAP_BYTES:
            head += HEAP_BYTES - head % HEAP_BYTES
        if freed + 1 == number:
            return head
        oldest = self.words[self.slot(freed + 1) + OFFSET]
        return head if head + length - oldest <= HEAP_BYTES else None

    def _end(self, number: int) -> int:
        """Where the heap goes on behind a record."""
        words, slot = self.words, self.slot(number)
        if number == 0 or words[slot + NUMBER] != number:
            return 0
        return words[slot + OFFSET] + words[slot + LENGTH] + words[slot + SPARE]

    def _file(self, number: int) -> str:
        return f"{self._name}-{number}"

    def _write_file(self, number: int, content: bytes) -> None:
        path = self._folder / self._file(number)
        # Some machines clear their temporary folder of what is old.
        self._folder.mkdir(0o700, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)
