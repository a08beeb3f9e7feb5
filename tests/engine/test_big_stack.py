"""Proves that a word of any length is tokenized: llama.cpp's tokenizer goes as deep as a word is
long, and an ordinary stack would end.
"""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from support.cli.running import python

from dslocal.engine.big_stack import MAX_STACK, call_with_big_stack
from dslocal.errors import EngineError

ENCODE = """
import sys, threading
from pathlib import Path
from dslocal.engine import LlamaModel
model = LlamaModel(Path(sys.argv[1]), vocab_only=True)
found = []

def encode():
    for sign in ("a", "!", "中"):
        found.append(len(model.encode(sign * 100_000)))

thread = threading.Thread(target=encode)
thread.start()
thread.join()
print(*found)
"""


def test_a_word_of_100_000_letters(nano: Path) -> None:
    done = python(ENCODE, str(nano))
    assert (done.returncode, done.stderr) == (0, "")
    assert all(int(count) > 1000 for count in done.stdout.split())


def test_what_is_called_returns_and_raises_as_it_would() -> None:
    assert call_with_big_stack(10, threading.current_thread) is threading.current_thread()
    assert call_with_big_stack(10_000, threading.current_thread) is not threading.current_thread()
    with pytest.raises(ZeroDivisionError):
        call_with_big_stack(10_000, lambda: 1 // 0)
    before = threading.stack_size()
    with pytest.raises(EngineError, match="too long"):
        call_with_big_stack(MAX_STACK, lambda: 1)
    assert threading.stack_size() == before
