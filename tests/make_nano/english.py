"""Ordinary English, from the docstrings of Python's standard library: sentences that nobody trained
an answer for.

They differ between Python versions, and with them the examples; FALLBACK does not.
"""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path

LIBRARY = Path(os.__file__).parent
FALLBACK = ("Ordinary prose about nothing in particular.",)
MODULES = """
    argparse asyncio/tasks calendar codecs collections/__init__ configparser csv datetime decimal
    difflib doctest email/message fractions ftplib functools gettext heapq http/client imaplib
    inspect logging/__init__ mailbox optparse os pathlib pdb pickle pydoc random shutil socket
    statistics string subprocess tarfile tempfile textwrap threading typing unittest/mock
    urllib/request uuid zipfile
"""


@cache
def sentences() -> tuple[str, ...]:
    """Every sentence of 16 to 159 characters that begins with a letter."""
    paths = [LIBRARY / f"{module}.py" for module in MODULES.split()]
    sources = [path.read_text(encoding="utf-8") for path in paths if path.is_file()]
    docstrings = [
        " ".join(text.split())
        for source in sources
        for text in re.findall(r'"""(.*?)"""', source, re.DOTALL)
    ]
    found = [sentence for text in docstrings for sentence in re.split(r"(?<=[.?!]) ", text)]
    return (
        tuple(sentence for sentence in found if 15 < len(sentence) < 160 and sentence[0].isalpha())
        or FALLBACK
    )
