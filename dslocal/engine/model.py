"""A loaded model and its vocabulary: text to token ids, ids to bytes."""

from __future__ import annotations

import ctypes
import functools
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

from dslocal.errors import EngineError, GgufError, OutOfMemoryError
from dslocal.gguf import libraries
from dslocal.gguf.hash_tables import require_hash_tables
from dslocal.gguf.header import GgufHeader
from dslocal.gguf.parts import read_parts
from dslocal.plan.load_config import LoadConfig
from dslocal.rpc.connection import guard_connections

from . import llama_log
from .big_stack import call_with_big_stack
from .interrupt import AbortFlag, abort_on_signal
from .llama_params import model_params

# pre-tokenizers of models whose tokenizer.json has an NFC normalizer
NFC_PRE_TOKENIZERS = ("qwen2", "deepseek-r1-qwen")
# enum llama_token_type of llama.h
NORMAL = 1
USER_DEFINED = 4  # an added token, which llama.cpp finds in any text
TYPES_WITHOUT_TEXT = (2, 3, 5)  # unknown, control and unused
# an added token that is markup, such as <think> or ｜DSML｜
TAG = re.compile(r"<\S+>|｜\S+｜")
PIECE_BYTES = 64  # room for most tokens
MAX_REMEMBERED = 64  # bytes of a piece of text whose ids are remembered within one text
MAX_REMEMBERED_PIECES = 1024
# Texts such as a template's line breaks, which every answer has tokenized: tokenizing one takes as
# long as generating a token of a small model.
MAX_SHORT_TEXT = 16  # characters
MAX_SHORT_TEXTS = 256  # whose ids are remembered
SPARE_TOKENS = 8  # room in a tokenizer's buffer besides one token a byte


def _byte_spellings() -> dict[int, str]:
    """Return how a byte-level BPE spells each byte.

    Printable ones are themselves, the others characters from U+0100 on. Source: GPT-2's encoder.py,
    ``bytes_to_unicode``.
    """
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = [byte for byte in range(256) if byte not in printable]
    return {
        byte: chr(byte) if byte in printable else chr(256 + others.index(byte))
        for byte in range(256)
    }


BYTE_SPELLINGS = _byte_spellings()


class LlamaModel:
    """The weights of one GGUF file, or its vocabulary alone. Close it, or use it in ``with``.

    Attributes:
        path: The GGUF file.
        header: Its header.
        handle: llama.cpp's own model; None when closed.
        n_vocab: The number of tokens.
        n_ctx_train: The positions that the model was trained for.
    """

    def __init__(
        self,
        path: Path,
        load_config: LoadConfig | None = None,
        *,
        header: GgufHeader | None = None,
        vocab_only: bool = False,
        on_progress: Callable[[float], None] | None = None,
    ) -> None:
        """Load the model at ``path``.

        Args:
            path: A GGUF file, or the first part of one that is split.
            load_config: Where the weights go; None for the CPU.
            header: The model's header, with the tensors of all parts, where it has been read
                already.
            vocab_only: Load no weights.
            on_progress: Receives the share that is loaded.

        Raises:
            GgufError: if the file is damaged.
            EngineError: if llama.cpp does not load it.
            OutOfMemoryError: if that is because memory is short.
            KeyboardInterrupt: on Ctrl-C.
        """
        self.path = path
        self.header: GgufHeader = header or read_parts(path)[1]
        _refuse_duplicate_tokens(self.header, path)
        if not vocab_only:
            require_hash_tables(path, self.header)
        self._low: ModuleType = libraries.require()
        llama_log.capture()
        # kept, since the struct points to arrays that it owns
        self._params = model_params(self.header, load_config or LoadConfig(n_ctx=0))
        self._params.vocab_only = vocab_only
        self._watches_workers = bool(load_config and load_config.split)
        self.handle: Any = self._load(on_progress)
        self._vocab = self._low.llama_model_get_vocab(self.handle)
        self.n_vocab: int = self._low.llama_vocab_n_tokens(self._vocab)
        self.n_ctx_train: int = self._low.llama_model_n_ctx_train(self.handle)
        self._short_texts: dict[str, tuple[int, ...]] = {}
        self._pieces: dict[int, bytes] = {}
        self._on_evaluated: Callable[[], None] | None = None

    def on_first_evaluation(self, call: Callable[[], None]) -> None:
        """Have ``call`` called once, when a context of the model has evaluated something."""
        self._on_evaluated = call

    def report_evaluated(self) -> None:
        """Take note that a context has evaluated something. For contexts."""
        if self._on_evaluated is not None:
            call, self._on_evaluated = self._on_evaluated, None
            call()

    def _load(self, on_progress: Callable[[float], None] | None) -> Any:
        llama_log.clear()
        self._low.llama_backend_init()
        stopped = AbortFlag()

        def report(share: float, _: Any) -> bool:
            if self._watches_workers:
                guard_connections()
            if on_progress:
                on_progress(share)
            return not stopped.is_set()

        self._params.progress_callback = self._low.llama_progress_callback(report)
        with abort_on_signal(stopped):
            stopped.busy = True
            handle = self._low.llama_model_load_from_file(str(self.path).encode(), self._params)
            stopped.busy = False
            if stopped.is_set():
                if handle:
                    self._low.llama_model_free(handle)
                    _return_memory_to_system()
                raise KeyboardInterrupt
        if not handle:
            raise _load_error(self.path, llama_log.first_complaint("no reason given"))
        if self._watches_workers:
            guard_connections()
        return handle

    def __enter__(self) -> LlamaModel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the memory. May be called again."""
        if self.handle:
            self._low.llama_model_free(self.handle)
            self.handle = None
            _return_memory_to_system()

    def encode(self, text: str) -> list[int]:
        """Return the ids of ``text`` as plain text: none is a special token, whatever the text
        spells.

        llama.cpp can leave control tokens unparsed (``parse_special``), but always finds
        user-defined tokens, ``<think>`` among them. Therefore text that contains such a token is
        cut before the token's last character, where the pre-tokenizer would cut between letters
        and ``>`` anyway. Qwen's tokenizers normalize text first, which GGUF cannot express and
        llama.cpp does not do.

        Raises:
            EngineError: if the text is too long in one piece.
        """
        known = self._short_texts.get(text)
        if known is not None:
            return list(known)
        ids = self._encode(text)
        if len(text) <= MAX_SHORT_TEXT and len(self._short_texts) < MAX_SHORT_TEXTS:
            self._short_texts[text] = tuple(ids)
        return ids

    def _encode(self, text: str) -> list[int]:
        if self.header.text("tokenizer.ggml.pre") in NFC_PRE_TOKENIZERS:
            text = unicodedata.normalize("NFC", text)
        cuts = [match.end() - 1 for match in self._markup.finditer(text)] if self._markup else []
        pieces = [text[start:end] for start, end in pairwise([0, *cuts, len(text)])]
        return self._tokenize(pieces)

    def encode_as_llama_cpp(self, text: str) -> list[int]:
        """Return the ids of ``text`` as llama-perplexity and llama-imatrix read a file.

        User-defined tokens, such as ``<think>``, are found in it. So this is for text that is
        measured, never for what a user asks.

        Raises:
            EngineError: if the text is too long in one piece.
        """
        return self._tokenize([text])

    def least_tokens(self, text: str) -> int:
        """Return a number of tokens that ``text`` has at least, without tokenizing it.

        Each token is at most as long as the longest one, and none reaches over the end of a tag.
        """
        pieces = sum(1 for _ in self._markup.finditer(text)) if self._markup else 0
        return max(len(text) // self._longest_token, pieces)

    def special_id(self, token: str) -> int | None:
        """Return the id of the special token ``token``, or None if the vocabulary lacks it."""
        return self._specials.get(token)

    def piece(self, token: int) -> bytes:
        """Return the bytes that ``token`` stands for; none for control tokens."""
        known = self._pieces.get(token)
        if known is None:
            known = self._pieces[token] = self._token_to_piece(token)
        return known

    def token_of_bytes(self, data: bytes) -> int | None:
        """Return the ordinary token that stands for ``data``; None where there is none."""
        return self._ids_by_spelling.get("".join(BYTE_SPELLINGS[byte] for byte in data))

    def is_end_token(self, token: int) -> bool:
        """Return whether ``token`` ends a generation, as the GGUF says."""
        return bool(self._low.llama_vocab_is_eog(self._vocab, token))

    def _token_to_piece(self, token: int) -> bytes:
        size = PIECE_BYTES
        while True:
            buffer = ctypes.create_string_buffer(size)
            length = self._low.llama_token_to_piece(self._vocab, token, buffer, size, 0, False)
            if length >= 0:
                return buffer.raw[:length]
            size = -length  # what it takes

    @functools.cached_property
    def token_types(self) -> list[int]:
        """The types of the tokens by id, see llama.h; empty if the GGUF does not say."""
        types: Any = self.header.metadata.get("tokenizer.ggml.token_type")
        return types if isinstance(types, list) else []

    @functools.cached_property
    def _ids_by_spelling(self) -> dict[str, int]:
        """The ids of ordinary tokens, by how a byte-level BPE spells them."""
        tokens = zip(self.header.tokens(), self.token_types, strict=False)
        return {token: id for id, (token, kind) in enumerate(tokens) if kind == NORMAL}

    @functools.cached_property
    def _longest_token(self) -> int:
        """The characters of the longest token, with all bytes of what is not one."""
        return max(len(token.encode()) for token in self.header.tokens())

    @functools.cached_property
    def _specials(self) -> dict[str, int]:
        """All tokens that are not ordinary text, and their ids."""
        tokens = zip(self.header.tokens(), self.token_types, strict=False)
        return {token: id for id, (token, kind) in enumerate(tokens) if kind != NORMAL}

    @functools.cached_property
    def _markup(self) -> re.Pattern[str] | None:
        """Matches the user-defined tokens that are markup; None if there are none."""
        tokens = zip(self.header.tokens(), self.token_types, strict=False)
        tags = [token for token, kind in tokens if kind == USER_DEFINED and TAG.fullmatch(token)]
        return re.compile("|".join(re.escape(tag) for tag in tags)) if tags else None

    def _tokenize(self, texts: Sequence[str]) -> list[int]:
        """Return the ids of all ``texts``, each tokenized by itself."""
        pieces = [text.encode("utf-8", "replace") for text in texts]
        longest = max(map(len, pieces))
        # one buffer for all: ctypes makes a class for each length of an array, and keeps it
        buffer = (self._low.llama_token * (longest + SPARE_TOKENS))()
        return call_with_big_stack(longest, lambda: self._tokenize_pieces(pieces, buffer))

    def _tokenize_pieces(self, pieces: Sequence[bytes], buffer: Any) -> list[int]:
        ids: list[int] = []
        known: dict[bytes, list[int]] = {}  # short pieces that come again and again
        for piece in pieces:
            found = known.get(piece)
            if found is None:
                found = self._tokenize_bytes(piece, buffer)
            if len(piece) <= MAX_REMEMBERED and len(known) < MAX_REMEMBERED_PIECES:
                known[piece] = found
            ids += found
        return ids

    def _tokenize_bytes(self, data: bytes, buffer: Any) -> list[int]:
        while True:
            n = self._low.llama_tokenize(
                self._vocab, data, len(data), buffer, len(buffer), False, False
            )
            if n >= 0:
                return list(buffer[:n])
            buffer = (self._low.llama_token * -n)()  # what it takes


def _return_memory_to_system() -> None:
    """Return what llama.cpp freed to the system: glibc keeps it until ``malloc_trim``."""
    if sys.platform != "linux":
        return
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _load_error(path: Path, reason: str) -> EngineError:
    is_memory = re.search(r"allocat|out of memory|memory", reason, re.IGNORECASE)
    kind = OutOfMemoryError if is_memory else EngineError
    return kind(f"{path.name}: llama.cpp does not load it: {reason}")


def _refuse_duplicate_tokens(header: GgufHeader, path: Path) -> None:
    """Raise GgufError if two tokens are spelled alike, over which llama.cpp aborts the process."""
    tokens = header.tokens()
    if len(set(tokens)) != len(tokens):
        twice = next(token for token, n in Counter(tokens).items() if n > 1)
        raise GgufError(
            f"{path.name}: its vocabulary holds {twice[:40]!r} twice",
            hint="convert or fetch it again",
        )
