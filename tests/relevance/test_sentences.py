"""Sentences of class texts: hand-made cases, and properties of any text."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sentences import refused
from studies.relevance.sentences import choose, of_classes, split

# what a text about animals is made of, and what a splitter trips over
PIECES = ["cat", "The", "It", "U.S.", "e.g.", "J.", "3.5", "1.", "No.", "c.", "(", ")", '"', "。"]
PIECES += ["!", "?", "...", ".", "\n", "\n\n", " ", "  ", "猫", "Ж", "etc.", "»", "12", "\u2028"]
texts = st.lists(st.sampled_from(PIECES)).flatmap(
    lambda pieces: st.sampled_from(["", " "]).map(lambda between: between.join(pieces))
)
TEXTS = {f"n{k}": " ".join(f"It has {i} legs." for i in range(20)) for k in range(5)}
several = st.lists(st.text("ab", max_size=4), max_size=12)


def alone(text):
    return "".join(text.split())


class TestSplit:
    @pytest.mark.parametrize(
        "text",
        [
            "The red panda is small.|It lives in the Himalayas.|It eats bamboo!",
            "It is 18 in. (46 cm) long, or no. 5.",
            "It weighs 3.5 kg, i.e. 7.7 lb.|Males are larger, cf. Smith et al. 2003.",
            "Named by F. Cuvier in 1825.|J. R. R. Tolkien and A.A. Milne never saw one.",
            "It is found in the U.S. Navy.|It came from the U.S.|It is rare.",
            "It holds vitamin C.|The fruit is sour.|Felis catus L. Linnaeus is its name.",
            "He said (in 1990).|\"It is a dog.\"|'Another one.'|“It barks.”",
            "猫が寝る。|犬が吠える！|「走る。」|終わり",
            "One line without a dot|another line|The last one.",
            "1. Fur is soft.|2. Tails are long.",
        ],
    )
    def test_by_hand(self, text):
        wanted = [one.strip() for one in text.split("|")]
        between = "\n" if "without a dot" in text else "" if "猫" in text else " "
        assert split(between.join(wanted)) == wanted

    @given(texts | st.text())
    def test_nothing_is_lost_or_added(self, text):
        found = split(text)
        assert "".join(map(alone, found)) == alone(text)
        assert all(one == " ".join(one.split()) != "" for one in found)
        # a sentence has a letter unless the text has none
        assert all(any(map(str.isalpha, one)) for one in found) or len(found) == 1

    @given(texts | st.text())
    @example("cat\n。3.5")
    def test_a_sentence_alone_is_one_sentence(self, text):
        for one in split(text):
            assert split(one) == [one]

    @pytest.mark.timeout(20)
    @pytest.mark.parametrize("unit", [".", "A. ", "1. ", "e.g. ", "\n", ' ."', "(", ". ("])
    def test_long_nonsense_takes_no_longer(self, unit):
        text = unit * (100_000 // len(unit))
        assert "".join(map(alone, split(text))) == alone(text)


class TestChoose:
    @given(several, st.integers(1, 12))
    def test_longest_by_the_letter(self, sentences, most):
        left = []
        for one in sentences:
            if one not in left:
                left.append(one)
        chosen = []
        while left and len(chosen) < most:
            longest = max(len(one) for one in left)
            first = next(one for one in left if len(one) == longest)
            left.remove(first)
            chosen.append(first)
        assert choose(sentences, most, "longest", None) == sorted(chosen, key=sentences.index)

    @given(several, st.integers(1, 12), st.integers(0, 2**32 - 1))
    def test_random_is_some_of_them_in_their_order(self, sentences, most, seed):
        found = choose(sentences, most, "random", np.random.default_rng(seed))
        assert len(found) == min(most, len(set(sentences)))
        places = [sentences.index(one) for one in found]
        assert places == sorted(set(places))
        assert found == choose(sentences, most, "random", np.random.default_rng(seed))


class TestOfClasses:
    def test_what_is_drawn_depends_on_seed_and_class_alone(self):
        chosen = of_classes(TEXTS, 2, 10, "random", 3)
        few = {wnid: TEXTS[wnid] for wnid in ("n4", "n1")}
        assert of_classes(few, 2, 10, "random", 3) == {wnid: chosen[wnid] for wnid in few}
        assert len({tuple(one) for one in chosen.values()}) > 1
        assert of_classes(TEXTS, 2, 10, "random", 4) != chosen

    @pytest.mark.parametrize("text", ["", "Only one.", "Twice. Twice."])
    def test_too_short_a_text(self, text):
        message = refused(of_classes, {**TEXTS, "n9": text}, 2, 10, "longest", 0)
        assert message.startswith("n9: its text has too few sentences")
        assert of_classes({"n9": "Only one."}, 1, 10, "longest", 0) == {"n9": ["Only one."]}
