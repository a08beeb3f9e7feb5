"""The arithmetic and the files of ``dslocal quality``, without any model."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest

from dslocal.errors import DslocalError, UsageError
from dslocal.evaluation.divergence.figures import figures
from dslocal.evaluation.divergence.log_probabilities import (
    SCORE,
    Floats,
    RowWorker,
    Scores,
    row_words,
)
from dslocal.evaluation.divergence.reference_file import (
    HEAD,
    MAGIC,
    ReferenceFile,
    create_reference,
    open_reference,
    tokens_hash,
)
from dslocal.evaluation.divergence.reference_seal import ReferenceSeal, parse_seal
from dslocal.evaluation.divergence.score_file import read_scores, write_scores

N_CTX, N_CHUNKS = 8, 3
ROWS = N_CTX - 1 - N_CTX // 2


def logits(rows: int, n_vocab: int, seed: int = 0, spread: float = 1.5) -> Floats:
    drawn = np.random.default_rng(seed).standard_normal((rows, n_vocab)) * spread
    return drawn.astype(np.float32)


def log_softmax(values: Floats) -> np.ndarray:
    exact = values.astype(np.float64)
    exact -= exact.max(1, keepdims=True)
    found: np.ndarray = exact - np.log(np.exp(exact).sum(1, keepdims=True))
    return found


def scored(reference: Floats, model: Floats, following: np.ndarray, threads: int = 1) -> Scores:
    with RowWorker(threads) as worker:
        return worker.score(model, worker.pack(reference), following)


@pytest.mark.parametrize("n_vocab", [3, 500, 70_001])
@pytest.mark.parametrize("threads", [1, 3])
def test_scores_are_those_of_exact_arithmetic(n_vocab: int, threads: int) -> None:
    reference, noise = logits(9, n_vocab), logits(9, n_vocab, 1, 0.3)
    following = np.arange(9, dtype=np.int32) % n_vocab
    p, q = log_softmax(reference), log_softmax(reference + noise)
    found = scored(reference, reference + noise, following, threads)
    np.testing.assert_allclose(found["kl"], (np.exp(p) * (p - q)).sum(1), atol=3e-4)
    np.testing.assert_allclose(found["nll"], -q[range(9), following], atol=1e-5)
    np.testing.assert_allclose(found["nll_reference"], -p[range(9), following], atol=3e-4)
    np.testing.assert_array_equal(found["same_top"], p.argmax(1) == q.argmax(1))


def test_a_model_does_not_differ_from_itself() -> None:
    values = logits(64, 1000)
    found = figures(scored(values, values, np.zeros(64, np.int32)))
    assert found.same_top.value == 1
    assert abs(found.kl.mean) < 1e-5
    assert abs(found.log_perplexity_ratio.value) < 1e-4


def test_tokens_that_cannot_come_count_for_nothing() -> None:
    values = logits(4, 100)
    values[:, 50:] = -np.inf
    found = scored(values, values, np.zeros(4, np.int32))
    np.testing.assert_allclose(found["kl"], 0, atol=1e-4)


def test_equal_logits_are_packed_as_equal() -> None:
    """The step is 0 then, by which nothing can be divided."""
    values = np.zeros((2, 8), np.float32)
    found = scored(values, values, np.zeros(2, np.int32))
    np.testing.assert_allclose(found["nll_reference"], np.log(8), rtol=1e-6)
    np.testing.assert_allclose(found["kl"], 0, atol=1e-6)


@pytest.mark.parametrize(("n_vocab", "words"), [(4, 8), (5, 10), (129_280, 129_284)])
def test_a_row_has_an_even_number_of_words(n_vocab: int, words: int) -> None:
    assert row_words(n_vocab) == words


@pytest.mark.parametrize(
    ("values", "median", "p99"),
    [([1.0], 1.0, 1.0), ([1.0, 2.0], 1.5, 1.99), ([3.0, 1.0, 2.0], 2.0, 2.98)],
)
def test_percentiles_lie_between_tokens(values: list[float], median: float, p99: float) -> None:
    scores = np.zeros(len(values), SCORE)
    scores["kl"] = values
    found = figures(scores).kl
    assert (found.median, found.p99) == pytest.approx((median, p99))
    assert (found.minimum, found.maximum) == (min(values), max(values))


# Files


def tokens() -> np.ndarray:
    return np.arange(N_CHUNKS * N_CTX, dtype=np.int32).reshape(N_CHUNKS, N_CTX)


def seal() -> ReferenceSeal:
    return ReferenceSeal("x", "model", 1, 16.5, "y", ["text"], tokens_hash(tokens()))


def packed(seed: int) -> np.ndarray:
    with RowWorker(1) as worker:
        return worker.pack(logits(ROWS, 100, seed))


def write_all(path: Path, *, chunks: int = N_CHUNKS) -> None:
    with create_reference(path, 100, tokens(), seal()) as file:
        write_chunks(file, range(chunks))


def write_chunks(file: ReferenceFile, chunks: range) -> None:
    for chunk in chunks:
        rows = packed(chunk)
        file.write_rows(chunk, 0, rows[:1])
        file.write_rows(chunk, 1, rows[1:])
        file.seal_chunk(chunk)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.kld"
    write_all(path)
    with open_reference(path) as file:
        assert file.missing_chunks() == []
        assert file.seal == seal()
        np.testing.assert_array_equal(file.tokens, tokens())
        np.testing.assert_array_equal(file.read_rows(1, 1, ROWS - 1), packed(1)[1:])


def test_chunks_that_were_not_written_are_missing(tmp_path: Path) -> None:
    path = tmp_path / "a.kld"
    write_all(path, chunks=1)
    with open_reference(path, writable=True) as file:
        assert file.missing_chunks() == [1, 2]
        write_chunks(file, range(1, 3))
        assert file.missing_chunks() == []
    whole = tmp_path / "b.kld"
    write_all(whole)
    assert path.read_bytes() == whole.read_bytes()


def test_without_a_seal_it_is_a_file_of_llama_perplexity(tmp_path: Path) -> None:
    path = tmp_path / "a.kld"
    write_all(path)
    with open_reference(path) as file:
        rows_end = file.shape.seal_start
    path.write_bytes(path.read_bytes()[:rows_end])
    with open_reference(path) as file:
        assert file.seal is None
        assert file.missing_chunks() == []
        np.testing.assert_array_equal(file.read_rows(2, 0, ROWS), packed(2))


def test_a_damaged_chunk_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "a.kld"
    write_all(path)
    with open_reference(path) as file:
        at = file.shape.data_start + file.shape.rows * file.shape.row_bytes + 20
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
    with open_reference(path) as file:
        assert file.missing_chunks() == [1]


HUGE = 2**31 - 1
DAMAGE: dict[str, bytes] = {
    "nothing": b"",
    "text": b"# Contributing\n" * 10,
    "a head that ends": MAGIC + b"\0" * 4,
    "no chunks": HEAD.pack(MAGIC, N_CTX, 100, 0),
    "chunks of nothing": HEAD.pack(MAGIC, 0, 100, 1),
    "a negative vocabulary": HEAD.pack(MAGIC, N_CTX, -5, 1),
    "more than is there": HEAD.pack(MAGIC, HUGE, HUGE, HUGE),
    "tokens beyond the vocabulary": HEAD.pack(MAGIC, 3, 2, 1)
    + struct.pack("<3i", 0, 1, 2)
    + b"0" * 12,
}


@pytest.mark.parametrize("content", DAMAGE.values(), ids=DAMAGE)
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.kld"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"a\.kld"):
        open_reference(path)


@pytest.mark.parametrize("place", ["tokens", "seal", "length"])
def test_damage_outside_of_the_rows_is_noticed(tmp_path: Path, place: str) -> None:
    path = tmp_path / "a.kld"
    write_all(path)
    with open_reference(path) as file:
        starts = {"tokens": HEAD.size, "seal": file.shape.seal_start + 20}
    content = bytearray(path.read_bytes())
    if place == "length":
        del content[-1:]
    else:
        content[starts[place]] ^= 1
    path.write_bytes(content)
    with pytest.raises(UsageError, match="damaged"):
        open_reference(path)


@pytest.mark.parametrize(
    "changed",
    [{"identity": None}, {"model": 5}, {"model_bytes": "x"}, {"text": [5]}, {"more": ""}],
    ids=str,
)
def test_a_seal_of_other_kinds_is_refused(changed: dict[str, object]) -> None:
    said = json.loads(seal().as_json())
    assert parse_seal(json.dumps(said).encode()) == seal()
    with pytest.raises(ValueError, match=r"\w"):
        parse_seal(json.dumps(said | changed).encode())


def test_two_do_not_write_one_file(tmp_path: Path) -> None:
    path = tmp_path / "a.kld"
    with create_reference(path, 100, tokens(), seal()):
        with pytest.raises(DslocalError, match="another"):
            create_reference(path, 100, tokens(), seal())
        with pytest.raises(DslocalError, match="another"):
            open_reference(path)
    with open_reference(path), open_reference(path):
        pass


def test_scores_are_read_again(tmp_path: Path) -> None:
    path = tmp_path / "a.scores"
    scores = np.zeros(5, SCORE)
    scores["kl"] = range(5)
    write_scores(path, "x", scores, beside=tmp_path / "new")
    np.testing.assert_array_equal(read_scores(path, "x"), scores)
    assert len(read_scores(path, "y")) == 0
    content = bytearray(path.read_bytes())
    for damaged in (content[:-1], content[:-1] + b"\1", b"", b"[" * 2000, b"{}\n", content[5:]):
        path.write_bytes(damaged)
        assert len(read_scores(path, "x")) == 0
    assert len(read_scores(tmp_path / "none.scores", "x")) == 0
