"""What networks read: tokens in two parts are those of the whole; batches by a literal reading."""

from collections import Counter
from types import SimpleNamespace

import datasets
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from studies.relevance.examples import ByLength, Texts, Words, joined, padded, words
from studies.relevance.params import Bag, Published

LEARN = ["The cat sat on the mat.", "Cats' naps aren't long; cats' lives are.", "猫はかわいい"] * 3
BAG = Bag(name="bag", width=4, vocabulary=350)
LEARNT = words(BAG, LEARN)
# what `captions.plain` gives: single spaces, none at the ends
texts = st.text(min_size=1).map(lambda text: " ".join(text.split())).filter(bool)
SPECIAL = SimpleNamespace(begin=0, pad=1, end=2)
some = st.lists(st.integers(3, 99), max_size=12)


@pytest.fixture(scope="module")
def published(roberta):
    return words(Published(name="published", weights=str(roberta)), [])


class TestParts:
    @settings(max_examples=200)
    @given(texts, texts)
    @example("the cat", "'s lives")
    @example("<s>", "</s> <pad>")
    @example("\u200bthe", "\u200dcat")
    def test_caption_and_sentence(self, caption, sentence):
        first, second, whole = LEARNT.tokens([caption, sentence, f"{caption} {sentence}"])
        assert first + second == whole
        # nothing is lost: bytes can be joined again
        assert LEARNT.tokenizer.decode(whole, skip_special_tokens=False) == f" {caption} {sentence}"
        assert not {LEARNT.begin, LEARNT.end, LEARNT.pad} & set(whole)

    @given(texts.filter(lambda text: "<" not in text))
    def test_a_published_tokenizer_says_the_same(self, published, roberta, text):
        from transformers import AutoTokenizer

        whole = AutoTokenizer.from_pretrained(roberta)(f" {text}")["input_ids"]
        assert [published.begin, *published.tokens([text])[0], published.end] == whole

    def test_what_looks_like_a_special_token_is_text(self, published):
        for one in (LEARNT, published, Words.from_json(published.to_json())):
            (found,) = one.tokens(["a </s> <pad> <mask> <s> b"])
            assert not {one.begin, one.end, one.pad} & set(found)
            assert "<mask>" in one.tokenizer.decode(found)


def tokens(texts):
    return datasets.Dataset.from_dict(
        {"tokens": list(texts), "length": [len(one) for one in texts]}
    )


@given(some, some, st.integers(1, 20))
def test_joined(caption, sentence, longest):
    """The longer part loses its last token until both fit; of equal ones the sentence."""
    first, second = list(caption), list(sentence)
    while len(first) + len(second) > longest:
        (first if len(first) > len(second) else second).pop()
    assert joined(caption, sentence, longest) == first + second


@given(st.lists(some, min_size=1, max_size=5), st.integers(3, 14))
def test_padded(texts, longest):
    found, real = padded(SPECIAL, texts, longest)
    assert found.shape == real.shape
    assert real.sum(1).max() == found.shape[1]
    for row, which, text in zip(found.tolist(), real.tolist(), texts, strict=True):
        wanted = [0, *text[: longest - 2], 2]
        assert row == wanted + [1] * (len(row) - len(wanted))
        assert which == [True] * len(wanted) + [False] * (len(row) - len(wanted))


class TestTexts:
    CAPTIONS = ([5, 6], [7] * 9, [], [8])
    SENTENCES = ([30, 31, 32], [40])
    TARGET = np.array([0, 1, 1, 0])
    PAIRS = np.array([[0, 0], [1, 1], [2, 1], [3, 0]])

    def of(self, **more):
        more = {"weight": np.ones(4), **more}
        return Texts(SPECIAL, tokens(self.CAPTIONS), self.TARGET, longest=8, **more)

    def literal(self, rows, parts):
        """Tokens of given rows, each filled up to the longest."""
        cut = [[0, *parts[row], 2] for row in rows]
        width = max(map(len, cut))
        return [one + [1] * (width - len(one)) for one in cut]

    def test_captions_alone(self):
        texts = self.of()
        found, real, target, weight = texts[[3, 1, 2]]
        assert found.tolist() == self.literal([3, 1, 2], [*self.CAPTIONS[:1], [7] * 6, [], [8]])
        assert (found != 1).equal(real)
        assert target.tolist() == [0, 1, 1]
        assert weight.tolist() == [1, 1, 1]
        assert texts.lengths.tolist() == [4, 8, 2, 3]
        both = {"pairs": self.PAIRS, "sentences": self.SENTENCES}
        weighted = self.of(weight=np.array([0.5, 2.0, 0.0, 1.5]), **both)
        assert weighted[[3, 0, 2]][3].tolist() == [1.5, 0.5, 0.0]

    @pytest.mark.parametrize("append", [True, False])
    def test_examples(self, append):
        pairs = np.array([[3, 0], [0, 0], [1, 1]])
        texts = self.of(pairs=pairs, sentences=self.SENTENCES, appended=append)
        with_sentences = [[8, 30, 31, 32], [5, 6, 30, 31, 32], [7] * 5 + [40]]
        alone = [[8], [5, 6], [7] * 6]
        found, _, target, _ = texts[[2, 0]]
        assert found.tolist() == self.literal([2, 0], with_sentences if append else alone)
        assert target.tolist() == [1, 0]
        assert texts.lengths.tolist() == [6, 7, 8]

    @given(st.lists(st.tuples(some, some), min_size=1, max_size=6), st.integers(8, 20))
    def test_lengths_are_those_of_batches(self, both, longest):
        captions, behind = zip(*both, strict=True)
        pairs = np.array([[n, n] for n in range(len(both))])
        target = np.zeros(len(both), int)
        texts = Texts(SPECIAL, tokens(captions), target, target, longest, pairs, behind)
        _, real, *_ = texts[range(len(both))]
        assert real.sum(1).tolist() == texts.lengths.tolist()


def numbers(batches):
    return [row for batch in batches for row in batch]


spread = st.lists(st.integers(2, 60), min_size=1, max_size=70)


class TestByLength:
    @given(spread, st.integers(1, 9), st.data())
    def test_without_a_seed_once_each_the_longest_first(self, lengths, size, data):
        lengths = np.array(lengths)
        every = np.arange(len(lengths))
        rows = np.array(data.draw(st.lists(st.sampled_from(every), min_size=1, unique=True)))
        sampler = ByLength(rows, lengths, size)
        batches = list(sampler)
        assert len(sampler) == len(batches)
        assert all(len(batch) == size for batch in batches[:-1])
        assert Counter(numbers(batches)) == Counter(rows.tolist())
        found = lengths[numbers(batches)]
        assert (np.diff(found) <= 0).all()
        assert list(sampler) == batches

    @given(spread, st.integers(1, 5), st.integers(1, 150), st.integers(0, 99))
    def test_draws_of_an_epoch(self, lengths, size, draws, seed):
        rows = np.arange(len(lengths)) + 3
        lengths = np.array([0, 0, 0, *lengths])
        sampler = ByLength(rows, lengths, size, seed, draws)
        for epoch in range(3):
            sampler.epoch = epoch
            batches = list(sampler)
            assert len(batches) == len(sampler) == -(-draws // size)
            assert max(map(len, batches)) <= size
            times = Counter(numbers(batches))
            assert times.total() == draws
            assert set(times) <= set(rows.tolist())
            assert max(times.values()) - min(times[row] for row in rows.tolist()) <= 1
            for batch in batches:
                assert (np.diff(lengths[batch]) <= 0).all()

    def test_epochs_differ_and_come_again(self):
        rows, lengths = np.arange(200), np.random.default_rng(0).integers(2, 90, 200)

        def epochs(seed):
            sampler, seen = ByLength(rows, lengths, 8, seed, 150), []
            for epoch in (2, 0, 1, 2):
                sampler.epoch = epoch
                seen.append(list(sampler))
            return seen

        third, first, second, again = epochs(5)
        assert third == again
        assert epochs(5) == [third, first, second, again]
        assert len({str(one) for one in (first, second, third, *epochs(6))}) == 6
        # nor do batches come by length
        means = [lengths[batch].mean() for batch in third]
        assert abs(np.corrcoef(means, range(len(means)))[0, 1]) < 0.6
