"""The user's settings for loading a model: from options, environment or config.toml.

Does not know how a model is loaded (``dslocal.engine.loader``), or by which plan.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dslocal.errors import UsageError
from dslocal.files import whole_number
from dslocal.plan import mtp_file
from dslocal.plan.memory.shape import can_draft
from dslocal.plan.overrides import Overrides
from dslocal.plan.reductions import TARGET_CTX

from .engine_choice import ENGINE_HINT
from .option_groups import LoadOptions
from .user_settings import given_or_configured, option_overrides

if TYPE_CHECKING:
    from .session_setup import ModelFile

MIN_CTX = 512


def load_overrides(file: ModelFile, options: LoadOptions) -> Overrides:
    """Return what the user decided about loading a model.

    The size of the context may come from DSLOCAL_CTX and config.toml too.

    Raises:
        UsageError: A value is out of range, or the model has no MTP layer that was asked for.
        GgufError: The draft model beside it belongs to another model.
    """
    if file.engine is not None:
        return _engine_overrides(options)
    header = file.header
    trained = header.of_arch("context_length", TARGET_CTX)
    wanted = given_or_configured("ctx", options.ctx)
    ctx = None
    if wanted is not None:
        text = str(wanted.value)
        ctx = whole_number(text)
        if ctx is None or not MIN_CTX <= ctx <= trained:
            is_number = text.removeprefix("-").isdecimal()
            what = "is out of range" if is_number else "is not a number of tokens"
            raise UsageError(
                f"{wanted.place}: {text:.40} {what}",
                hint=f"this model takes {MIN_CTX} to {trained} tokens",
            )
    chosen = option_overrides(options, ctx)
    if chosen.mtp and not can_draft(header) and not _has_sidecar(file):
        name = header.text("general.name") or "this model"
        raise UsageError(
            f"--mtp on: {name} has no MTP layer to draft with",
            hint="--mtp auto drafts from earlier text; --mtp FILE.gguf names a file with the layer",
        )
    return chosen


def _engine_overrides(options: LoadOptions) -> Overrides:
    """Return what the user decided about the context; all else the engine decides.

    Raises:
        UsageError: Something else was decided.
    """
    decided = {
        "--kv": options.kv is not None,
        "--n-gpu-layers": options.n_gpu_layers is not None,
        "--cpu-moe": options.cpu_moe is not None,
        "--stream-experts": options.stream_experts is not None,
        "--mtp": options.mtp != "auto",
        "--rpc": options.rpc is not None,
    }
    given = [name for name, is_given in decided.items() if is_given]
    if given:
        raise UsageError(
            f"{given[0]} cannot be set for an engine, which decides that itself", hint=ENGINE_HINT
        )
    return Overrides(n_ctx=_engine_context(options.ctx))


def _engine_context(option: int | None) -> int | None:
    """Return the tokens of an engine's context that are used at most; None for all of them.

    Raises:
        UsageError: The number is out of range.
    """
    wanted = given_or_configured("ctx", option)
    if wanted is None:
        return None
    text = str(wanted.value)
    tokens = whole_number(text)
    if tokens is None or tokens < MIN_CTX:
        raise UsageError(f"{wanted.place}: {text:.40} is out of range", hint=f"{MIN_CTX} or more")
    return tokens


def _has_sidecar(file: ModelFile) -> bool:
    """Return whether a draft model is beside the model. Raises GgufError if it is another's."""
    fault = mtp_file.sidecar_fault(file.path, file.header)
    if fault:
        raise fault
    return mtp_file.sidecar_path(file.path).is_file()
