"""llm, with the server in its extra-openai-models.yaml."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

BASE = sys.argv[1]
with tempfile.TemporaryDirectory() as folder:
    Path(folder, "extra-openai-models.yaml").write_text(
        f"- model_id: here\n  model_name: nano\n  api_base: {BASE}/v1\n  api_key_name: here\n "
        f" can_stream: true\n  supports_schema: true\n"
    )
    environment = {**os.environ, "LLM_USER_PATH": folder}
    llm = Path(sys.executable).with_name("llm")
    subprocess.run([llm, "keys", "set", "here", "--value", "none"], env=environment, check=True)
    for options in ([], ["--no-stream"], ["--schema", "answer int"]):
        done = subprocess.run(
            [llm, "-m", "here", "-o", "temperature", "0", *options, "What is 31 + 57?"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        print("llm", *options, done.stdout.strip(), done.stderr[-500:] if done.returncode else "")
        assert done.returncode == 0
        assert "88" in done.stdout
