"""Find out from the files of a folder why it is not a checkpoint that can be converted.

Downloading such a folder again would not help, so the error names the reason: pickled weights, an
adapter, another program's format, a piece of a file, no tokenizer.json.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence, Set
from typing import Any

from dslocal.errors import CheckpointError, UnsupportedModelError
from dslocal.file_kinds import PICKLED, name_kind
from dslocal.files import parse_json_object

from .config import short_repr
from .source import Source

CONFIG = "config.json"
ADAPTER_CONFIG = "adapter_config.json"
TOKENIZER = "tokenizer.json"
MAX_ADAPTER_CONFIG = 1 << 20  # bytes
_NOT_WEIGHTS = ("training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth")
_PICKLES = tuple(PICKLED.split(", "))
_ADAPTERS = (ADAPTER_CONFIG, "adapter_model.safetensors", "adapter_model.bin")
# formats of other programs by the end of a file's name
_FORMATS = {
    ".npz": "an MLX or NumPy archive",
    ".onnx": "an ONNX model",
    ".h5": "weights of TensorFlow or Keras",
    ".msgpack": "weights of Flax",
    ".tflite": "a TensorFlow Lite model",
    ".pdparams": "weights of PaddlePaddle",
    ".mlpackage": "a Core ML model",
    ".engine": "a TensorRT engine",
    ".ggml": "a GGML file, of the formats before GGUF",
    ".zip": "an archive that is not unpacked",
    ".7z": "an archive that is not unpacked",
    ".tar": "an archive that is not unpacked",
    ".gz": "a compressed file that is not unpacked",
    ".zst": "a compressed file that is not unpacked",
}
_ORIGINAL = "use the repository's safetensors checkpoint"


def weights_error(source: Source, *, absent: CheckpointError | None = None) -> CheckpointError:
    """Return the error for a folder without safetensors that are the model's.

    Args:
        source: The files.
        absent: What is wrong with the first file that is missing, where its name is known.
    """
    files = list(source.files())
    return (
        _adapter_error(source, files)
        or _other_weights_error(files)
        or absent
        or _missing(source, "model.safetensors")
    )


def config_error(source: Source) -> CheckpointError:
    """Return the error for a folder without config.json, by what is there instead."""
    files = list(source.files())
    found = _adapter_error(source, files) or _other_weights_error(files)
    if found is not None:
        return found
    if "params.json" in files:
        return UnsupportedModelError(
            "is in Meta's or Mistral's own layout, without config.json",
            file="params.json",
            hint="use the repository in Hugging Face's layout",
        )
    if "model_index.json" in files:
        return UnsupportedModelError(
            "is a pipeline of diffusers, not a language model", file="model_index.json"
        )
    return _missing(source, CONFIG)


def other_form_error(files: Iterable[str]) -> CheckpointError | None:
    """Return the error for what is published in another form than safetensors, by names alone."""
    names = sorted(files)
    return _adapter_error(None, names) or _other_weights_error(names)


def require_tokenizer(source: Source) -> None:
    """Raise CheckpointError unless there is a tokenizer.json; older forms of it are named."""
    if source.exists(TOKENIZER):
        return
    files = source.files()
    if TOKENIZER in files:
        source.open(TOKENIZER).close()  # raises the error that says why
    raise _older_tokenizer_error(set(files)) or _missing(source, TOKENIZER)


def require_tokenizer_name(files: Collection[str]) -> None:
    """Raise CheckpointError unless a published checkpoint has a tokenizer.json."""
    if TOKENIZER not in files:
        missing = CheckpointError("is not in the repository", file=TOKENIZER)
        raise _older_tokenizer_error(set(files)) or missing


def _older_tokenizer_error(files: Set[str]) -> CheckpointError | None:
    """Return the error for a tokenizer in an older form alone, if there is one."""
    older = ""
    if {"vocab.json", "merges.txt"} <= files:
        older = "vocab.json and merges.txt are here"
    elif "tokenizer.model" in files:
        older = "tokenizer.model, a SentencePiece vocabulary, is here"
    elif "tokenizer_config.json" in files:
        older = "only tokenizer_config.json is here"
    if not older:
        return None
    return CheckpointError(
        f"is missing from the checkpoint, and dslocal reads no other tokenizer file; {older}",
        file=TOKENIZER,
        hint="transformers writes it: AutoTokenizer.from_pretrained(F).save_pretrained(F) for the"
        " folder F; or use the one of the original repository",
    )


def _missing(source: Source, file: str) -> CheckpointError:
    """Return the error of a file that is not there, as the source words it."""
    try:
        source.open(file).close()
    except CheckpointError as e:
        return e
    return CheckpointError("is missing", file=file)  # it has come meanwhile


def _adapter_error(source: Source | None, files: Sequence[str]) -> CheckpointError | None:
    """Return the error for an adapter without its model, if it is one."""
    adapter = next((file for file in _ADAPTERS if file in files), None)
    if adapter is None:
        return None
    settings = _adapter_settings(source) if source and ADAPTER_CONFIG in files else {}
    base = settings.get("base_model_name_or_path")
    base = short_repr(base) if isinstance(base, str) and base else "its base model"
    kind = settings.get("peft_type")
    kind = kind if isinstance(kind, str) and kind.isalnum() else "LoRA"
    kind = "LoRA" if kind == "LORA" else kind[:20]
    return UnsupportedModelError(
        f"is a {kind} adapter, not a whole model",
        file=adapter,
        hint=f"merge it into {base} first (peft: merge_and_unload, save_pretrained), then convert"
        " that folder",
    )


def _adapter_settings(source: Source) -> dict[str, Any]:
    """Return what adapter_config.json says; nothing where it cannot be read."""
    try:
        size = min(source.size(ADAPTER_CONFIG), MAX_ADAPTER_CONFIG)
        return parse_json_object(source.read(ADAPTER_CONFIG, 0, size))
    except (CheckpointError, ValueError):
        return {}


def _other_weights_error(files: Iterable[str]) -> CheckpointError | None:
    """Return the error for weights in another form than safetensors, if there are any."""
    files = sorted(files)
    for file in files:
        kind = name_kind(file)
        if kind is not None and any(part in file for part in (".safetensors", ".gguf")):
            return CheckpointError(f"is {kind.what}", file=file, hint=kind.hint)
    gguf = [file for file in files if file.endswith(".gguf")]
    if gguf:
        return UnsupportedModelError(
            "is a GGUF file, which is used as it is", file=gguf[0], hint="name the file itself"
        )
    pickles = [file for file in files if file.endswith(_PICKLES) and file not in _NOT_WEIGHTS]
    if pickles:
        more = f" and {len(pickles) - 1} more" if len(pickles) > 1 else ""
        return UnsupportedModelError(
            f"holds pickled weights{more}, which are never opened; "
            "the checkpoint has no safetensors",
            file=pickles[0],
            hint="use a revision or repository that has safetensors, or write them with "
            "transformers on a machine that may run the pickled code: "
            "from_pretrained(F).save_pretrained(G)",
        )
    for file in files:
        for suffix, what in _FORMATS.items():
            if file.endswith(suffix):
                return UnsupportedModelError(
                    f"is {what}; the checkpoint has no safetensors",
                    file=file,
                    hint=_ORIGINAL,
                )
    return None
