"""Words and their numbers: against a counter, a loop over letters, and what was put in."""

import unicodedata
from collections import Counter
from itertools import pairwise

import pytest
import torch
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
COUNTS = {"a": 5, "dog": 3, "ball": 2, "runs": 2, "the": 2}  # those that occur more than once
ONCE = ["after", "brown", "man", "one", "red", "throws", "to"]

word = st.text("abc", min_size=1, max_size=3)
sentence = st.lists(word, min_size=1, max_size=8)


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
    @pytest.mark.parametrize(
        ("min_count", "expected"),
        [(1, [*COUNTS, *ONCE]), (2, [*COUNTS]), (3, ["a", "dog"]), (4, ["a"]), (5, ["a"])],
    )
    def test_frequent_first_then_by_the_alphabet(self, min_count, expected):
        words = Words.learn(CAPTIONS, min_count)
        assert known(words) == expected
        assert len(words) == 4 + len(expected)

    @settings(max_examples=60, deadline=None)
    @given(st.lists(sentence, min_size=1, max_size=20), st.integers(1, 4))
    def test_as_a_counter_says(self, sentences, min_count):
        counts = Counter(one for said in sentences for one in said)
        expected = sorted(counts, key=lambda one: (-counts[one], one))
        expected = [one for one in expected if counts[one] >= min_count]
        captions = [" ".join(said) for said in sentences]
        if not expected:
            message = refused(Words.learn, captions, min_count)
            assert message.startswith(f"no word occurs {min_count} times in the training captions")
            return
        words = Words.learn(captions, min_count)
        assert known(words) == expected
        assert Words.learn(reversed(captions), min_count).to_json() == words.to_json()

    @pytest.mark.parametrize("captions", [[], [""], [". , !", "—"], ["a dog"] * 4])
    def test_nothing_frequent_enough(self, captions):
        assert refused(Words.learn, captions, 5).endswith("lower min_count")

    def test_marks_are_nobodys_words(self):
        words = Words.learn([" ".join(SPECIAL), "＜pad＞ eos"], 1)
        assert known(words) == ["eos", "pad", "bos", "unk"]
        assert words.encode(["<eos> <unk>"], 9).tolist() == [[BOS, 4, 7, EOS]]


class TestWordsOfAText:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("A man , a plan ; a canal : Panama !", "a man a plan a canal panama"),
            ("dog.cat,bird", "dog cat bird"),
            ("the man's dog", "the man's dog"),
            ("it isn’t the dogs' ball", "it isn’t the dogs ball"),
            ("'quoted' and ''doubly quoted''", "quoted and doubly quoted"),
            ('a "stop" sign', "a stop sign"),
            ("a t-shirt - blue -", "a t-shirt blue"),
            ("a man -- or woman -on a bike-", "a man or woman on a bike"),
            ("rock-'n'-roll", "rock n roll"),
            ("5 o'clock at 3.5 km", "5 o'clock at 3 5 km"),
            ("Ein Mädchen läuft über die Straße", "ein mädchen läuft über die straße"),
            ("cafe\u0301 and café", "café and café"),
            ("ﬁne ﬂowers №5", "fine flowers no5"),
            ("ＷＩＤＥ　letters", "wide letters"),
            ("犬が 走る。", "犬が 走る"),
            ("Собака бежит", "собака бежит"),
            ("कुत्ता दौड़ता है", "कुत्ता दौड़ता है"),
            ("a\tdog\r\nruns\u2028on\xa0and\x85on", "a dog runs on and on"),
            ("a 🐕 runs", "a runs"),
            ("", ""),
        ],
    )
    def test_by_hand(self, text, expected):
        words = Words.learn([text, "other words"], 1)
        said = words.decode(words.encode([text], 50)[0])
        assert said == unicodedata.normalize("NFKC", expected)

    @settings(max_examples=200, deadline=None)
    @given(st.text("aé日3'’-. \u2028!—ñ", max_size=20))
    def test_letter_by_letter(self, text):
        words = Words.learn([text, "other words"], 1)
        assert words.decode(words.encode([text], 50)[0]).split() == by_letters(text)
        assert set(known(words)) == {*by_letters(text), "other", "words"}

    def test_a_word_in_capitals_is_the_same(self):
        words = Words.learn(["A DOG dog Éclair éclair"], 2)
        assert known(words) == ["dog", "éclair"]


class TestNumbers:
    @settings(deadline=None)
    @given(st.lists(sentence, min_size=1, max_size=6), st.integers(1, 10))
    def test_there_and_back(self, sentences, longest):
        words = Words.learn([" ".join(said) for said in sentences], 1)
        rows = words.encode([" ".join(said) for said in sentences], longest)
        assert rows.dtype == torch.int64
        assert rows.shape == (len(sentences), 2 + min(max(map(len, sentences)), longest))
        for row, said in zip(rows.tolist(), sentences, strict=True):
            said = said[:longest]
            assert words.decode(row) == " ".join(said)
            assert (row[0], row[len(said) + 1]) == (BOS, EOS)
            assert not {PAD, BOS, EOS, UNKNOWN} & set(row[1 : len(said) + 1])
            assert row[len(said) + 2 :] == [PAD] * (len(row) - len(said) - 2)

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

    @pytest.mark.parametrize("longest", [1, 2, 3, 4, 9])
    def test_at_most_so_many_words(self, longest):
        words = Words.learn(["a b c d"], 1)
        expected = [BOS, *[4, 5, 6, 7][:longest], EOS]
        assert words.encode(["a b c d"], longest).tolist() == [expected]

    def test_what_comes_after_the_end_is_not_said(self):
        words = Words.learn(["a b c"], 1)
        assert words.decode([BOS, 4, PAD, 5, EOS, 6, EOS]) == "a b"
        assert words.decode([EOS, 4]) == ""
        assert words.decode(torch.tensor([6, 4])) == "c a"


class TestJson:
    @settings(deadline=None)
    @given(st.lists(sentence, min_size=1, max_size=6))
    def test_the_same_words_come_back(self, sentences):
        captions = [" ".join(said) for said in sentences]
        words = Words.learn(captions, 1)
        again = Words.from_json(words.to_json())
        assert known(again) == known(words)
        assert again.to_json() == words.to_json()
        asked = [*captions, "Don’t know: <unk> T-shirts"]
        assert again.encode(asked, 5).equal(words.encode(asked, 5))

    def test_it_is_a_file_of_the_tokenizers_library(self, tmp_path):
        words = Words.learn(CAPTIONS, 1)
        (tmp_path / "words.json").write_text(words.to_json(), "utf-8")
        library = Tokenizer.from_file(str(tmp_path / "words.json"))
        for caption in CAPTIONS:
            [row] = words.encode([caption], 50).tolist()
            assert library.encode(caption).ids == row[1:-1]

    def test_other_captions_other_words(self):
        texts = [Words.learn(CAPTIONS[:count], 1).to_json() for count in (1, 2, 3)]
        assert all(one != other for one, other in pairwise(texts))
