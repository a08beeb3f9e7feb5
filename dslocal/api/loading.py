"""Load a model from a file, with settings for this machine, or use one of an engine at a URL.

Does not know how a model is placed in memory (``plan``); it joins names, files and plans.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dslocal.errors import UsageError

from .arguments.argument_types import FUNCTION, PATH, TEXT, WHOLE_NUMBER, require_types
from .load_options import overrides, streams_experts, workers
from .model import Model
from .model_file import read_family
from .ready_model import Notice, ReadyModel

if TYPE_CHECKING:
    from dslocal.engine import LlamaModel
    from dslocal.gguf.header import GgufHeader
    from dslocal.plan.load_config import LoadConfig
    from dslocal.plan.overrides import Overrides
    from dslocal.plan.search import Plan
    from dslocal.prompts import Family

ARGUMENT_TYPES = {
    "model": PATH.or_none,
    "n_ctx": WHOLE_NUMBER.or_none,
    "mtp": PATH,
    "tokenizer": PATH.or_none,
    "engine_model": TEXT.or_none,
    "family": TEXT.or_none,
    "on_notice": FUNCTION.or_none,
    "on_progress": FUNCTION.or_none,
}
LoadModel = Callable[[Path, "LoadConfig"], "LlamaModel"]  # loads a file by a load config


def load(
    model: str | Path | None = None,
    *,
    n_ctx: int | None = None,
    kv_type: str | None = None,
    n_gpu_layers: int | None = None,
    cpu_moe: int | str | None = None,
    mtp: str | Path = "auto",
    stream_experts: str = "auto",
    rpc: str | Sequence[str] = (),
    engine_model: str | None = None,
    tokenizer: str | Path | None = None,
    family: str | None = None,
    on_notice: Notice | None = None,
    on_progress: Callable[[float], None] | None = None,
) -> Model:
    """Load a model with settings that suit this machine.

    Args:
        model: a name of ``dslocal models``, a GGUF file, a checkpoint folder, which is converted
            once, or the URL of an engine (vLLM, SGLang or llama-server, with its key in
            DSLOCAL_ENGINE_KEY). None is the model used last, or else nano.
        n_ctx: tokens of context. By default as many as fit, up to 32,768; with an engine, all that
            it has.
        kv_type: "f16", "q8_0" or "q4_0" for the KV cache. By default the best that fits.
        n_gpu_layers: layers on the GPU. By default all that fit.
        cpu_moe: layers whose experts stay in RAM: a number, "all" or "auto".
        mtp: speculative decoding: "auto", "on", "off", or a GGUF file with an MTP layer.
        stream_experts: whether all experts that a token needs are read from the SSD at once, as
            soon as the router chooses them: "auto" (if the model is larger than the memory), "on"
            or "off".
        rpc: machines that run ``dslocal worker`` and hold a part of the model, as ``"HOST:PORT"``,
            several separated by commas or as a list. If a machine is lost while the model is
            loaded, llama.cpp ends this process; a line names the machine.
        engine_model: the engine's name of the model, if it serves several.
        tokenizer: with an engine, the model's tokenizer.json, checkpoint folder, or a GGUF file.
            By default it is searched on this machine.
        family: the family to prompt the model as, where its file does not say it or is wrong.
        on_notice: receives lines that a user should see. Without it they are logged as warnings
            of the logger ``dslocal``.
        on_progress: receives how much of the file is loaded, 0 to 1.

    Returns:
        The model. Close it, or use it in a ``with`` block.

    Raises:
        NotFoundError: the model or file does not exist.
        DoesNotFitError: the model does not fit into this machine; the message says what fits.
        UsageError: an argument is out of range.
        WorkerError: a machine of ``rpc`` cannot be reached, or runs another llama.cpp.
        DslocalError: the file is damaged, or llama.cpp refuses it.
    """
    from dslocal.catalog import conversion_cache, resolve

    from .engines.engine_model import is_engine_url
    from .file_faults import new_faults

    require_types(ARGUMENT_TYPES, locals())
    notice = on_notice or _log
    if is_engine_url(model):
        placement = (kv_type, n_gpu_layers, cpu_moe)
        if any(setting is not None for setting in placement) or mtp != "auto" or rpc:
            raise UsageError("settings of how a model is loaded cannot be used with an engine")
        served = ServedModelOptions(n_ctx, engine_model, tokenizer, family)
        return _load_served(str(model), served, notice)
    if engine_model is not None or tokenizer is not None:
        raise UsageError("engine_model and tokenizer need the URL of an engine")
    chosen = overrides(n_ctx, kv_type, n_gpu_layers=n_gpu_layers, cpu_moe=cpu_moe, mtp=str(mtp))
    chosen = replace(chosen, stream_experts=streams_experts(stream_experts), rpc=workers(rpc))
    gone = resolve.gone_last_model() if model is None else None
    if gone is not None:
        notice(f"the model used last, {gone}, no longer exists: {resolve.DEFAULT} is used")
    path = conversion_cache.ensure_gguf(str(model) if model is not None else None, on_notice=notice)
    header, spoken = read_family(path, family)
    for fault in new_faults(path, header, None if family else spoken):
        notice(f"{path.name}: {fault}")

    def open_model(planned: Plan) -> LlamaModel:
        from dslocal.engine import LlamaModel

        config = planned.load_config
        return LlamaModel(path, config, header=header, on_progress=on_progress)

    return _loaded(path, header, spoken, chosen, open_model, notice)


def _loaded(
    path: Path,
    header: GgufHeader,
    family: Family,
    chosen: Overrides,
    open_model: Callable[[Plan], LlamaModel],
    on_notice: Notice,
) -> Model:
    """Return the model at ``path``, loaded with settings that suit this machine."""
    from dslocal.engine import loader

    stack = ExitStack()
    try:
        context = stack.enter_context(
            loader.open_context(path, header, chosen, open_model, on_notice)
        )
    except BaseException:
        stack.close()
        raise
    return Model(ReadyModel(path, header, family, context, stack, on_notice))


class ServedModelOptions(NamedTuple):
    """The arguments of :func:`load` for a model that an engine serves."""

    n_ctx: int | None
    name: str | None
    tokenizer: str | Path | None
    family: str | None


def _load_served(url: str, options: ServedModelOptions, on_notice: Notice) -> Model:
    """Return the model that the engine at ``url`` serves."""
    from .engines.engine_model import engine_at, find_engine_model, open_remote_context

    found = find_engine_model(
        engine_at(url),
        model=options.name,
        tokenizer=str(options.tokenizer) if options.tokenizer is not None else None,
        family=options.family,
    )
    stack = ExitStack()
    context = stack.enter_context(open_remote_context(found, options.n_ctx, on_notice))
    name = found.engine.title
    ready = ReadyModel(
        found.path, found.header, found.family, context, stack, on_notice, served_name=name
    )
    return Model(ready)


def _log(line: str) -> None:
    logging.getLogger("dslocal").warning("%s", line)
