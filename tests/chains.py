"""Small causal language models: one whose next word is known, and a random one that pays attention.

Both are real ones of transformers, saved as such.
"""

from pathlib import Path

import torch

END, BEGIN = "<end>", "<begin>"
WORDS = [*(END, BEGIN, "<unknown>"), *("soup", "pizza", "salt", "pepper", "oil", "egg", "stir")]
CHAT = (
    f"{BEGIN} {{% for one in messages %}}{{{{ one['role'] }}}} {{{{ one['content'] }}}}"
    "{% endfor %}{% if add_generation_prompt %} stir{% endif %}"
)


def tokenizer(template: str | None = None, begins: bool = False):
    """One token a word; with `begins` every text gets a first token."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    places = {word: place for place, word in enumerate(WORDS)}
    words = Tokenizer(models.WordLevel(places, unk_token="<unknown>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if begins:
        words.post_processor = processors.TemplateProcessing(
            single=f"{BEGIN} $A", special_tokens=[(BEGIN, places[BEGIN])]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=words,
        eos_token=END,
        bos_token=BEGIN,
        unk_token="<unknown>",
        chat_template=template,
    )


def language_model(width: int, spread: float):
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(WORDS),
            hidden_size=width,
            intermediate_size=width,
            num_hidden_layers=1,
            num_attention_heads=1,
            initializer_range=spread,
            bos_token_id=WORDS.index(BEGIN),
            eos_token_id=WORDS.index(END),
        )
    )


def random(folder: Path, template: str | None = None, begins: bool = False) -> Path:
    """Save a model of random weights, large enough to prefer some word clearly."""
    language_model(16, 0.6).save_pretrained(folder)
    tokenizer(template, begins).save_pretrained(folder)
    return folder


def chain(folder: Path, follows: dict[str, dict[str, float]], **generation) -> Path:
    """Save a model whose next word depends on the last one alone: word -> word -> probability.

    `generation` is what the model's own settings of generation say.
    """
    model = language_model(len(WORDS), 0.0)  # attention and layers add nothing
    table = torch.full((len(WORDS), len(WORDS)), 1e-9)
    for word, after in follows.items():
        for other, share in after.items():
            table[WORDS.index(word), WORDS.index(other)] = share
    with torch.no_grad():
        model.model.embed_tokens.weight.copy_(torch.eye(len(WORDS)))
        # the norm makes a length of √width of a word's unit vector
        model.lm_head.weight.copy_(table.log().T / len(WORDS) ** 0.5)
    for name, value in generation.items():
        setattr(model.generation_config, name, value)
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder
