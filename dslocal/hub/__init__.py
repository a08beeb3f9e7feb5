"""Downloads from the Hugging Face hub, verified: whole files, byte ranges, and shards one by one.

The only package that imports huggingface_hub. Does not know models.yaml.
"""

import os

# before anything imports huggingface_hub, which reads it once
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
