"""A loaded model and its vocabulary: text to ids, ids to bytes."""

from __future__ import annotations

import ctypes
import functools
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from dslocal.errors import EngineError, GgufError, OutOfMemoryError
from dslocal.gguf import libraries
from dslocal.gguf.header import GgufHeader, read_header
from dslocal.plan.load_config import LoadConfig

from . import llama_log
from .big_stack import call_with_big_stack
from .interrupt import AbortFlag, abort_on_ctrl_c
from .llama_params import model_params

NFC_FIRST = (
    "qwen2",
    "deepseek-r1-qwen",
)  # pre-tokenizers whose tokenizer.json has an NFC normalizer
USER_DEFINED = 4  # token type: an added token that llama.cpp finds in any text


class LlamaModel:
    """Weights (or the vocabulary alone) of one GGUF file. Close it, or use it as a context
    manager.
    """

    def __init__(
        self,
        path: Path,
        load_config: LoadConfig | None = None,
        *,
        vocab_only: bool = False,
        on_progress: Callable[[float], None] | None = None,
    ) -> None:
        """Loads ``path`` as ``loading`` says, on the CPU without one; ``on_progress`` is told the
        share that is loaded.

        Raises GgufError, EngineError (OutOfMemoryError when that is why), KeyboardInterrupt.
        """
        self.path = path
        self.header: GgufHeader = read_header(path)
        _refuse_duplicate_tokens(self.header, path)
        self._low: ModuleType = libraries.require()
        llama_log.capture()
        llama_log.clear()
        self._low.llama_backend_init()
        params = self._params = model_params(
            self.header, load_config or LoadConfig(n_ctx=0)
        )  # kept: arrays hang on it
        params.vocab_only = vocab_only
        stopped = AbortFlag()

        def report(share: float, _: Any) -> bool:
            if on_progress:
                on_progress(share)
            return not stopped.is_set()

        params.progress_callback = self._low.llama_progress_callback(report)
        with abort_on_ctrl_c(stopped):
            stopped.busy = True
            self.handle: Any = self._low.llama_model_load_from_file(str(path).encode(), params)
            stopped.busy = False
            if stopped.is_set():
                self.close()
                raise KeyboardInterrupt
        if not self.handle:
            raise _load_error(path, llama_log.first_complaint("no reason given"))
        self._vocab = self._low.llama_model_get_vocab(self.handle)
        self.n_vocab: int = self._low.llama_vocab_n_tokens(self._vocab)
        self.n_ctx_train: int = self._low.llama_model_n_ctx_train(self.handle)
        self._pieces: dict[int, bytes] = {}

    def __enter__(self) -> LlamaModel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self.handle:
            self._low.llama_model_free(self.handle)
            self.handle = None
            _give_back_memory()

    def encode(self, text: str) -> list[int]:
        """Ids of ``text`` as plain text: whatever it spells, no special token comes out.

        llama.cpp leaves control tokens alone when told not to parse them, but always finds
        user-defined ones, ``<think>`` among them. So text that spells such a token is cut before
        its last character, where the pre-tokenizer would cut between letters and ``>`` anyway.
        Qwen's tokenizers normalise text first, which GGUF cannot say and llama.cpp does not do.
        """
        if self.header.text("tokenizer.ggml.pre") in NFC_FIRST:
            text = unicodedata.normalize("NFC", text)
        cuts = [match.end() - 1 for match in self._markup.finditer(text)] if self._markup else []
        ids: list[int] = []
        for start, stop in zip([0, *cuts], [*cuts, len(text)], strict=True):
            ids += self._tokenize(text[start:stop])
        return ids

    def special_id(self, token: str) -> int | None:
        """The id of the special token spelled ``token``, or None when this vocabulary has none."""
        return self._specials.get(token)

    def piece(self, token: int) -> bytes:
        """The bytes that ``token`` stands for; none for control tokens."""
        known = self._pieces.get(token)
        if known is None:
            buffer = ctypes.create_string_buffer(64)
            length = self._low.llama_token_to_piece(
                self._vocab, token, buffer, len(buffer), 0, False
            )
            if length < 0:
                buffer = ctypes.create_string_buffer(-length)
                length = self._low.llama_token_to_piece(
                    self._vocab, token, buffer, len(buffer), 0, False
                )
            known = self._pieces[token] = buffer.raw[:length]
        return known

    def is_end_token(self, token: int) -> bool:
        """Whether ``token`` ends a generation by the GGUF's own account."""
        return bool(self._low.llama_vocab_is_eog(self._vocab, token))

    @functools.cached_property
    def _specials(self) -> dict[str, int]:
        kinds = self.header.metadata.get("tokenizer.ggml.token_type")
        kinds = kinds if isinstance(kinds, list) else []
        return {
            token: i
            for i, (token, kind) in enumerate(zip(self.header.tokens(), kinds, strict=False))
            if kind != 1
        }

    @functools.cached_property
    def _markup(self) -> re.Pattern[str] | None:
        kinds = self.header.metadata.get("tokenizer.ggml.token_type")
        kinds = kinds if isinstance(kinds, list) else []
        tokens = zip(self.header.tokens(), kinds, strict=False)
        return _alternatives(
            token
            for token, kind in tokens
            if kind == USER_DEFINED and re.fullmatch(r"<\S+>", token)
        )

    def _tokenize(self, text: str) -> list[int]:
        data = text.encode("utf-8", "replace")
        return call_with_big_stack(len(data), lambda: self._tokenized(data))

    def _tokenized(self, data: bytes) -> list[int]:
        size = len(data) + 8
        while True:
            buffer = (self._low.llama_token * size)()
            n = self._low.llama_tokenize(self._vocab, data, len(data), buffer, size, False, False)
            if n >= 0:
                return list(buffer[:n])
            size = -n


def _give_back_memory() -> None:
    """Hands what llama.cpp freed back to the system, where the C library would keep it: glibc's
    ``malloc_trim``.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def _load_error(path: Path, reason: str) -> EngineError:
    kind = (
        OutOfMemoryError
        if re.search(r"allocat|out of memory|memory", reason, re.IGNORECASE)
        else EngineError
    )
    return kind(f"{path.name}: llama.cpp does not load it: {reason}")


def _refuse_duplicate_tokens(header: GgufHeader, path: Path) -> None:
    """Raises GgufError for a vocabulary that spells two tokens alike: llama.cpp would abort the
    process over it.
    """
    tokens = header.tokens()
    if len(set(tokens)) != len(tokens):
        twice = next(token for token, n in Counter(tokens).items() if n > 1)
        raise GgufError(
            f"{path.name}: its vocabulary holds {twice[:40]!r} twice",
            hint="convert or fetch it again",
        )


def _alternatives(tokens: Iterable[str]) -> re.Pattern[str] | None:
    escaped = [re.escape(token) for token in tokens]
    return re.compile("|".join(escaped)) if escaped else None
