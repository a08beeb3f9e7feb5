"""Proves that no option that names a file waits for a pipe that nobody writes to, or reads a device
or a folder.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dslocal import files
from dslocal.cli.measuring.bench_compare import read_earlier
from dslocal.cli.serving.api_access import read_key
from dslocal.convert import load_imatrix, load_recipe
from dslocal.errors import DslocalError
from dslocal.output import read_grammar, read_schema
from dslocal.prompts import read_text
from dslocal.strict_yaml import read_yaml

READERS = {
    "serve --api-key": read_key,
    "bench --compare": lambda path: read_earlier(path, "x"),
    "--schema": read_schema,
    "--grammar": read_grammar,
    "-f": read_text,
    "convert --recipe": load_recipe,
    "convert --imatrix": load_imatrix,
    "models.yaml": read_yaml,
}


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "missing"])
def test_what_is_not_a_file_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: object, kind: str
) -> None:
    monkeypatch.setattr(files, "PIPE_PATIENCE_S", 0.05)
    path = tmp_path / kind
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path = Path("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    assert callable(reader)
    with pytest.raises(DslocalError, match=path.name):
        reader(path)
