"""Convert a checkpoint to GGUF, in two quantizations from one read."""

from pathlib import Path
from tempfile import TemporaryDirectory

import dslocal

with TemporaryDirectory() as folder:
    reports = dslocal.convert("nano", folder, quant=["Q8_0", "Q4_K_M"])
    for report in reports:
        bits = report.nbytes * 8 / report.weights
        print(f"{Path(report.path).name}: {report.nbytes:,} bytes, {bits:.2f} bits a weight")
    with dslocal.load(reports[1].path) as model:
        print(model.ask("What is 12 × 12?", seed=1).final)
