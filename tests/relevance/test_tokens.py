"""Tokens in two parts are those of the whole text; a tokenizer comes back as it was."""

import json

import datasets
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sentences import kept, refused
from studies.relevance import tokens
from studies.relevance.systems import Bag, Published, Roberta
from studies.relevance.tokens import Words, tokenized, words

LEARN = ["The cat sat on the mat.", "Cats' naps aren't long; cats' lives are.", "猫はかわいい"] * 3
BAG = Bag(name="bag", width=4, vocabulary=350)
LEARNT = words(BAG, LEARN)
# what `captions.plain` gives: single spaces, none at the ends
texts = st.text(min_size=1).map(lambda text: " ".join(text.split())).filter(bool)


@pytest.fixture(scope="module")
def published(roberta):
    return words(Published(name="published", weights=str(roberta)), [])


def table(given_):
    return datasets.Dataset.from_dict({"text": given_, "other": list(range(len(given_)))})


class TestParts:
    @settings(max_examples=200)
    @given(texts, texts)
    @example("the cat", "'s lives")
    @example("e", "\u0301 an accent alone")
    @example("1", "2")
    @example("...", "... goes on")
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

    @given(texts, texts)
    def test_parts_of_a_published_one(self, published, caption, sentence):
        first, second, whole = published.tokens([caption, sentence, f"{caption} {sentence}"])
        assert first + second == whole

    def test_what_looks_like_a_special_token_is_text(self, published):
        for one in (LEARNT, published, Words.from_json(published.to_json())):
            (found,) = one.tokens(["a </s> <pad> <mask> <s> b"])
            assert not {one.begin, one.end, one.pad} & set(found)
            assert "<mask>" in one.tokenizer.decode(found)

    def test_no_texts(self):
        assert LEARNT.tokens([]) == []
        assert len(LEARNT.tokens(["", ""])) == 2


class TestLearnt:
    def test_twice_the_same(self):
        assert words(BAG, LEARN).to_json() == LEARNT.to_json()
        roberta = Roberta(name="roberta", width=4, layers=1, heads=1, vocabulary=350)
        assert words(roberta, iter(LEARN)).to_json() == LEARNT.to_json()

    def test_vocabulary(self):
        assert len(LEARNT) <= 350
        assert len({LEARNT.begin, LEARNT.end, LEARNT.pad}) == 3
        assert all(0 <= one < len(LEARNT) for one in (LEARNT.begin, LEARNT.end, LEARNT.pad))
        # what is frequent is one token, what was never seen is bytes
        assert len(LEARNT.tokens(["the cat"])[0]) < len(LEARNT.tokens(["zxqvjkw"])[0])

    @given(st.lists(texts, max_size=4))
    def test_it_comes_back(self, given_):
        again = Words.from_json(LEARNT.to_json())
        assert again.tokens(given_) == LEARNT.tokens(given_)
        assert again.to_json() == LEARNT.to_json()
        assert (again.begin, again.end, again.pad) == (LEARNT.begin, LEARNT.end, LEARNT.pad)


class TestPublished:
    def test_numbers(self, published, bpe):
        assert (published.begin, published.pad, published.end) == (0, 1, 2)
        assert len(published) == bpe.get_vocab_size()

    def test_long_texts_are_not_cut_nor_filled_up(self, published, tmp_path, bpe, save_tokenizer):
        bpe.enable_truncation(5)
        bpe.enable_padding(length=30)
        save_tokenizer(tmp_path, model_max_length=5)
        bpe.no_truncation()
        bpe.no_padding()
        found = tokens.published(str(tmp_path))
        assert found.tokens(["a b", "z" * 40]) == published.tokens(["a b", "z" * 40])

    def test_there_is_none(self, tmp_path):
        for weights in (tmp_path / "nowhere", tmp_path):
            told = refused(tokens.published, str(weights))
            assert told.startswith(f"encoder.weights: no tokenizer at {weights} (")

    def test_a_damaged_one(self, tmp_path, save_tokenizer):
        save_tokenizer(tmp_path)
        file = tmp_path / "tokenizer.json"
        for content in (b"{", file.read_bytes()[:200], b'{"version": "1.0"}'):
            file.write_bytes(content)
            assert refused(tokens.published, str(tmp_path)).startswith("encoder.weights: ")

    def test_one_that_cannot_fill_up(self, tmp_path, save_tokenizer):
        save_tokenizer(tmp_path, pad_token=None)
        told = refused(tokens.published, str(tmp_path))
        assert "lacks a token that begins, ends or fills up" in told

    def test_begin_and_end_of_sentences_do(self, tmp_path, save_tokenizer):
        save_tokenizer(tmp_path, cls_token=None, sep_token=None)
        found = tokens.published(str(tmp_path))
        assert (found.begin, found.end) == (0, 2)


class TestOnDisk:
    GIVEN = ("the cat", "一只 猫", "", "mat " * 50)

    def test_rows_and_lengths(self, sandbox):
        found = tokenized(table(self.GIVEN), LEARNT, "mine")
        wanted = LEARNT.tokens(self.GIVEN)
        assert found.rows([2, 0, 0]) == [wanted[2], wanted[0], wanted[0]]
        assert found.rows(range(4)) == wanted
        assert found.lengths.tolist() == [len(one) for one in wanted]

    def test_a_selection_of_captions(self, sandbox):
        chosen = table(self.GIVEN).select([3, 1])
        found = tokenized(chosen, LEARNT, "mine")
        assert found.rows([0, 1]) == LEARNT.tokens([self.GIVEN[3], self.GIVEN[1]])
        assert found.lengths.tolist() == [len(one) for one in found.rows([0, 1])]

    def test_it_is_done_once(self, sandbox, monkeypatch):
        first = tokenized(table(self.GIVEN), LEARNT, "mine")
        files = kept(sandbox / "root")
        monkeypatch.setattr(Words, "tokens", lambda *_: pytest.fail("tokenized again"))
        again = tokenized(table(self.GIVEN), LEARNT, "mine")
        assert again.rows(range(4)) == first.rows(range(4))
        assert kept(sandbox / "root") == files

    def test_a_cache_that_cannot_be_written(self, sandbox):
        (sandbox / "root").mkdir()
        (sandbox / "root" / "cache").write_text("no folder")
        told = refused(tokenized, table(self.GIVEN), LEARNT, "mine")
        assert told.startswith(f"cannot write {sandbox / 'root' / 'cache'}")

    def test_other_texts_and_other_tokenizers_have_their_own(self, sandbox, published):
        tokenized(table(self.GIVEN), LEARNT, "mine")
        other = tokenized(table(["a dog"]), LEARNT, "others")
        assert other.rows([0]) == LEARNT.tokens(["a dog"])
        same = tokenized(table(self.GIVEN), published, "mine")
        assert same.rows(range(4)) == published.tokens(self.GIVEN)
        assert json.loads(published.to_json())["pad"] == 1
