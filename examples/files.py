"""Ask about a file. It is sent in the vendor's own template."""

from pathlib import Path
from tempfile import TemporaryDirectory

import dslocal

with TemporaryDirectory() as folder, dslocal.load("nano") as model:
    settings = Path(folder) / "cache.ini"
    settings.write_text("user = anna\nport = 8080\nmode = fast\n")
    print(model.ask("What is the port?", files=[settings], seed=1).text)
