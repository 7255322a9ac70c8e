"""Tokenizers: any Hugging Face one, or a WordPiece trained on the text."""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import xxhash
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from bertprune.base.errors import UserError
from bertprune.base.files import new_folder, open_sealed, seal
from bertprune.base.paths import resolve
from bertprune.base.progress import bar
from bertprune.data.documents import check_text, documents, text_key, text_size_bytes
from bertprune.data.reading.hub import TOKENIZER_FILES, download
from bertprune.lab import language as lab
from bertprune.lab.text import vocabulary

FORMAT = 1  # changes when the same text gives another vocabulary
SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def load_tokenizer(name_or_folder: str) -> PreTrainedTokenizerFast:
    """A fast tokenizer from a local folder, by its name on the Hub, or of a lab language.

    Raises UserError if there is none, if it lacks one of BERT's special tokens, or if it does not
    put them around a pair of texts as BERT's does.
    """
    if generated := lab.find_source(name_or_folder):
        return _fast(_words(vocabulary(generated.seed)))
    folder = resolve(name_or_folder)
    if not folder.is_dir():
        folder = download(
            name_or_folder,
            TOKENIZER_FILES,
            instead=f"a local tokenizer folder (there is no folder {folder})",
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # the Rust library raises nothing more specific
        raise UserError(f"no tokenizer can be loaded from {folder}: {error}") from error
    missing = [
        kind
        for kind in ("pad", "cls", "sep", "mask")
        if getattr(tokenizer, f"{kind}_token_id") is None
    ]
    if missing or not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise UserError(
            f"the tokenizer {name_or_folder!r} is not one of BERT's kind: "
            + (f"it has no {', '.join(missing)} token" if missing else "it is not a fast one")
        )
    _check_pair(tokenizer, folder)
    return tokenizer


def _check_pair(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Raise UserError unless a pair of texts becomes what BERT is pre-trained on.

    A tokenizer that was trained without a post-processor gives the words alone.
    """
    try:
        word = tokenizer("a", add_special_tokens=False)["input_ids"]
        pair = tokenizer("a", "a", return_token_type_ids=True)
    except Exception as error:  # a wrong setting ends in an error of any class
        raise UserError(f"the tokenizer in {folder} encodes no text: {error!r}") from error
    first = [tokenizer.cls_token_id, *word, tokenizer.sep_token_id]
    second = [*word, tokenizer.sep_token_id]
    types = [0] * len(first) + [1] * len(second)
    if (pair["input_ids"], pair["token_type_ids"]) != (first + second, types):
        raise UserError(
            f"the tokenizer in {folder} makes {tokenizer.convert_ids_to_tokens(pair['input_ids'])} "
            f"of a pair, of types {pair['token_type_ids']}; a BERT reads "
            f"{tokenizer.convert_ids_to_tokens(first + second)}, of types {types}: give it the "
            "post-processor BertProcessing of the library tokenizers"
        )


def wordpiece(text: Sequence[str], vocabulary_size: int, cache: Path) -> PreTrainedTokenizerFast:
    """A lower-cased BERT WordPiece of at most `vocabulary_size` tokens, trained on `text`.

    Trained once: the folder below `cache` that keeps it is named by the text and the size. Raises
    UserError if that folder is damaged.
    """
    folder = cache / "tokenizers" / f"wordpiece-{vocabulary_size}-{FORMAT}-{text_key(text)}"
    if not folder.is_dir():
        check_text(text)
        _save(_train(text, vocabulary_size), folder)
    open_sealed(folder)
    return load_tokenizer(str(folder))


def vocabulary_size(tokenizer: PreTrainedTokenizerFast) -> int:
    """How many embeddings its tokens need: more than there are tokens where numbers are left out,
    as where a word stands twice in a vocab.txt."""
    return 1 + max(tokenizer.get_vocab().values())


def plain_tokenizer(tokenizer: PreTrainedTokenizerFast) -> Tokenizer:
    """A copy of the machine inside, without the truncation and padding of its latest use."""
    plain = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    plain.no_truncation()
    plain.no_padding()
    return plain


def tokenizer_key(tokenizer: PreTrainedTokenizerFast) -> str:
    """Hex hash of everything that decides which tokens a text becomes."""
    state = plain_tokenizer(tokenizer).to_str() + repr(sorted(tokenizer.special_tokens_map.items()))
    return xxhash.xxh3_128_hexdigest(state.encode())


@dataclass(frozen=True)
class KeyedTokenizer:
    """A tokenizer that equals those that give the same tokens; `key` is its tokenizer_key."""

    key: str
    tokenizer: PreTrainedTokenizerFast = field(compare=False)


def _train(text: Sequence[str], vocabulary_size: int) -> Tokenizer:
    """A WordPiece of `text`, the same whenever and wherever it is trained.

    The library's trainer numbers continuing characters (`##a`) in the order of a hash table and
    breaks ties by these numbers (huggingface/tokenizers issue 1794). Handing it both alphabets
    fixes all numbers; the special tokens it takes them for end with the training.
    """
    trained = _bert_tokenizer(models.WordPiece(unk_token="[UNK]"))
    alphabet = _alphabet(text, vocabulary_size, trained)
    continuing = [f"##{character}" for character in alphabet if _continues(character, trained)]
    smallest = len(SPECIAL_TOKENS) + len(continuing) + len(alphabet)
    if smallest > vocabulary_size:
        raise UserError(
            f"a vocabulary of {vocabulary_size} tokens is too small for the text: its characters "
            f"alone make {smallest}"
        )
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocabulary_size,
        special_tokens=SPECIAL_TOKENS + continuing,
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        show_progress=False,
    )
    trained.train_from_iterator(_paragraphs(text, "learning word pieces"), trainer)
    return _complete(trained.get_vocab())


def _words(words: Sequence[str]) -> Tokenizer:
    """A tokenizer with a token for each of `words`, and no pieces."""
    return _complete({token: n for n, token in enumerate([*SPECIAL_TOKENS, *words])})


def _complete(vocabulary: dict[str, int]) -> Tokenizer:
    """BERT's tokenizer with `vocabulary`."""
    tokenizer = _bert_tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")],
    )
    return tokenizer


def _bert_tokenizer(model: models.WordPiece) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def _alphabet(text: Sequence[str], vocabulary_size: int, tokenizer: Tokenizer) -> list[str]:
    """The characters of the normalised text, most frequent first; a rare one is [UNK] later.

    As many as 5 % of the vocabulary, so that most of it is words; the original's has 1,000.
    """
    counts = np.zeros(sys.maxunicode + 1, np.int64)
    for paragraphs in _paragraphs(text, "counting characters"):
        codes = np.frombuffer("".join(paragraphs).encode("utf-32-le"), np.uint32)
        found = np.bincount(codes)
        counts[: len(found)] += found
    normalised: Counter[str] = Counter()
    for code in np.flatnonzero(counts):
        for character in tokenizer.normalizer.normalize_str(chr(code)):
            normalised[character] += int(counts[code])
    normalised.pop(" ", None)
    ranked = sorted(normalised, key=lambda character: (-normalised[character], character))
    return ranked[: min(max(vocabulary_size // 20, 100), 1000)]


def _continues(character: str, tokenizer: Tokenizer) -> bool:
    """Whether a word can go on with it: not punctuation, nor Chinese, which stands alone."""
    word = tokenizer.normalizer.normalize_str(f"a{character}")
    return len(tokenizer.pre_tokenizer.pre_tokenize_str(word)) == 1


def _paragraphs(text: Sequence[str], what: str) -> Iterator[list[str]]:
    """The paragraphs of each document: short strings, as aligning long ones takes much memory."""
    with bar(what, text_size_bytes(text), "B") as progress:
        for document in documents(text):
            yield document.split("\n")
            progress.update(len(document.encode()))


def _save(tokenizer: Tokenizer, folder: Path) -> None:
    """Write a Hugging Face tokenizer folder, complete or not at all."""
    fast = _fast(tokenizer)
    with new_folder(folder) as temporary:
        fast.save_pretrained(temporary)
        seal(temporary, {"tokens": len(fast)})


def _fast(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )
