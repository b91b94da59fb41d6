"""Names in words stay what they were in 1.x."""

import uuid

import pytest

from django_q import humanhash
from django_q.humanhash import DEFAULT_WORDLIST, HumanHasher


def test_a_digest_has_the_name_it_had_in_1x() -> None:
    assert humanhash.humanize("60ad8d0d871b6095808297") == "sodium-magnesium-nineteen-hydrogen"


def test_words_and_separator_can_be_chosen() -> None:
    assert humanhash.humanize("60ad8d0d", words=2, separator=" ") == "sodium magnesium"


def test_left_over_bytes_are_in_the_last_word() -> None:
    assert HumanHasher.compress(bytes([96, 173, 141, 13, 135, 27, 96, 149, 128, 130, 151]), 4) == [
        205,
        128,
        156,
        96,
    ]


def test_there_are_256_different_words() -> None:
    assert len(set(DEFAULT_WORDLIST)) == len(DEFAULT_WORDLIST) == 256


def test_a_word_list_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="exactly 256 words, this one 2"):
        HumanHasher(["a", "b"])


def test_fewer_bytes_than_words_are_refused() -> None:
    with pytest.raises(ValueError, match="2 bytes cannot be folded to 4"):
        humanhash.humanize("abcd")


def test_the_name_of_an_id_is_its_humanized_digest() -> None:
    name, digest = humanhash.uuid()

    assert humanhash.humanize(digest) == name
    assert (uuid.UUID(digest).version, uuid.UUID(digest).variant) == (4, uuid.RFC_4122)
