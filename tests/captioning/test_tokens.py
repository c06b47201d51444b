"""Words and their numbers: against a counter, a loop over letters, and what was put in."""

import unicodedata
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from sentences import refused
from studies.captioning.tokens import BOS, EOS, PAD, SPECIAL, UNKNOWN, Words

CAPTIONS = [
    "A dog runs after a red ball .",
    "The dog , a brown one , runs .",
    "A man throws a ball to the dog .",
]

sentence = st.lists(st.text("abc", min_size=1, max_size=3), min_size=1, max_size=8)


def known(words):
    """The words of a vocabulary by number, those with a meaning of their own left out."""
    return [words.decode([number]) for number in range(len(SPECIAL), len(words))]


def by_letters(text):
    """The words of a text, letter by letter; texts are composed and in lower case."""
    letters = [unicodedata.category(letter)[0] in "LMN" for letter in f" {text} "]
    kept = ""
    for place, letter in enumerate(text, 1):
        joins = letter in "'’-" and letters[place - 1] and letters[place + 1]
        kept += letter if letters[place] or joins else " "
    return kept.split()


class TestVocabulary:
    @settings(max_examples=60, deadline=None)
    @given(st.lists(sentence, min_size=1, max_size=20), st.integers(1, 4))
    def test_as_a_counter_says(self, sentences, min_count):
        counts = Counter(one for words in sentences for one in words)
        expected = sorted(counts, key=lambda one: (-counts[one], one))
        expected = [one for one in expected if counts[one] >= min_count]
        captions = [" ".join(words) for words in sentences]
        if not expected:
            message = refused(Words.learn, captions, min_count)
            assert message.startswith(f"no word occurs {min_count} times in the training captions")
            return
        words = Words.learn(captions, min_count)
        assert known(words) == expected
        assert Words.learn(reversed(captions), min_count).to_json() == words.to_json()


class TestWordsOfAText:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("it isn’t the dogs' ball", "it isn’t the dogs ball"),
            ("'quoted' and ''doubly quoted''", "quoted and doubly quoted"),
            ("a man -- or woman -on a t-shirt-", "a man or woman on a t-shirt"),
            ("cafe\u0301 and CAFÉ", "café and café"),
            ("ﬁne ﬂowers №5", "fine flowers no5"),
            ("कुत्ता दौड़ता है", "कुत्ता दौड़ता है"),
            ("a\tdog\r\nruns\u2028on\xa0and\x85on", "a dog runs on and on"),
        ],
    )
    def test_by_hand(self, text, expected):
        words = Words.learn([text, "other words"], 1)
        decoded = words.decode(words.encode([text], 50)[0])
        assert decoded == unicodedata.normalize("NFKC", expected)

    @settings(max_examples=200, deadline=None)
    @given(st.text("aé日3'’-. \u2028!—ñ", max_size=20))
    def test_letter_by_letter(self, text):
        words = Words.learn([text, "other words"], 1)
        assert words.decode(words.encode([text], 50)[0]).split() == by_letters(text)
        assert set(known(words)) == {*by_letters(text), "other", "words"}


class TestNumbers:
    def test_by_hand(self):
        words = Words.learn(CAPTIONS, 2)  # a 4, dog 5, ball 6, runs 7, the 8
        rows = words.encode(["The dog runs .", "A cat !", "", "a a a a a a"], 5)
        assert rows.tolist() == [
            [BOS, 8, 5, 7, EOS, PAD, PAD],
            [BOS, 4, UNKNOWN, EOS, PAD, PAD, PAD],
            [BOS, EOS, PAD, PAD, PAD, PAD, PAD],
            [BOS, 4, 4, 4, 4, 4, EOS],
        ]
        assert words.decode(rows[1]) == "a <unk>"
        assert words.decode([BOS, 4, PAD, 5, EOS, 6, EOS]) == "a dog"  # nothing after the end


def test_json_is_a_file_of_the_tokenizers_library(tmp_path):
    words = Words.learn(CAPTIONS, 1)
    again = Words.from_json(words.to_json())
    assert again.to_json() == words.to_json()
    (tmp_path / "words.json").write_text(words.to_json(), "utf-8")
    library = Tokenizer.from_file(str(tmp_path / "words.json"))
    for caption in [*CAPTIONS, "Don’t know: <unk> T-shirts"]:
        [row] = words.encode([caption], 50).tolist()
        assert again.encode([caption], 50).tolist() == [row]
        assert library.encode(caption).ids == row[1:-1]
