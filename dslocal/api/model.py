"""Load a model and ask it.

Does not know how a model is placed in memory (``plan``) or prompted (``prompts``); it joins them.
"""

from __future__ import annotations

import logging
import os
import threading
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict, Unpack

from dslocal.errors import UsageError

from .answer import Answer, AnswerStream
from .load_options import overrides, streams_experts, workers

if TYPE_CHECKING:
    from dslocal.chat.session import Session
    from dslocal.engine import EngineContext, LlamaModel
    from dslocal.gguf.header import GgufHeader
    from dslocal.output.constraint import OutputConstraint
    from dslocal.plan.load_config import LoadConfig
    from dslocal.plan.search import Overrides, Plan
    from dslocal.prompts import Family, Message, Thinking, Tool
    from dslocal.prompts.settings import Settings

    from .conversation import Chat

Notice = Callable[[str], None]
OnPrefill = Callable[[int, int], None]


class SamplingSettings(TypedDict, total=False):
    """Settings of one answer. What is left out is the model card's own value.

    ``temperature`` 0 takes the likeliest token. ``max_tokens`` counts reasoning and answer,
    ``think_budget`` reasoning alone. ``stop`` are texts that end the answer. ``logit_bias`` are
    entries as ``"TOKEN=VALUE"``.
    """

    temperature: float
    top_p: float
    max_tokens: int
    top_k: int
    min_p: float
    presence_penalty: float
    frequency_penalty: float
    repeat_penalty: float
    logit_bias: Sequence[str]
    stop: str | Sequence[str]
    think_budget: int


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
    """Load a model as this machine allows.

    Args:
        model: a name of ``dslocal models``, a GGUF file, or a checkpoint folder, which is
            converted once. None is the model used last, else nano. Or the URL of an engine that
            serves a model: vLLM, SGLang or llama-server, with its key in DSLOCAL_ENGINE_KEY.
        n_ctx: tokens of context. Without it, as much as fits, up to 32,768; of an engine, all that
            it has.
        kv_type: "f16", "q8_0" or "q4_0" for the KV cache. Without it, the best that fits.
        n_gpu_layers: layers on the GPU. Without it, all that fit.
        cpu_moe: layers whose experts stay in RAM: a number, "all" or "auto".
        mtp: speculative decoding: "auto", "on", "off", or a GGUF file with an MTP layer.
        stream_experts: whether all experts that a token needs are read from the SSD at once, as
            soon as the router chooses them: "auto" (if the model is larger than the memory), "on"
            or "off".
        rpc: machines that run ``dslocal worker`` and hold a part of the model, as ``"HOST:PORT"``,
            several with commas between or as a list. If one of them is lost while the model is
            loaded, llama.cpp ends this process, after a line that names the machine.
        engine_model: what the engine calls the model, where it serves several.
        tokenizer: with an engine, the model's tokenizer.json, checkpoint folder, or a GGUF file.
            Without it, it is looked for on this machine.
        family: how the model is prompted, where its file does not say or says it wrongly.
        on_notice: receives lines that a user should see. Without it they are logged as warnings
            of the logger ``dslocal``.
        on_progress: receives how much of the file is loaded, 0 to 1.

    Returns:
        The model. Close it, or use it in a ``with`` block.

    Raises:
        NotFoundError: the model or file does not exist.
        DoesNotFitError: it does not fit into this machine; the message says what would.
        UsageError: an argument is out of range.
        WorkerError: a machine of ``rpc`` is not there, or runs another llama.cpp.
        DslocalError: the file is damaged, or llama.cpp refuses it.
    """
    from dslocal.catalog import conversion_cache, resolve

    from .engines.engine_model import is_engine_url
    from .file_faults import new_faults

    if is_engine_url(model):
        placement = (kv_type, n_gpu_layers, cpu_moe)
        if any(setting is not None for setting in placement) or mtp != "auto" or rpc:
            raise UsageError("how a model is loaded is an engine's own affair")
        served = ServedModelOptions(n_ctx, engine_model, tokenizer, family)
        return _load_served(str(model), served, on_notice or _log)
    if engine_model is not None or tokenizer is not None:
        raise UsageError("engine_model and tokenizer have no place without an engine's URL")
    chosen = overrides(n_ctx, kv_type, n_gpu_layers=n_gpu_layers, cpu_moe=cpu_moe, mtp=str(mtp))
    chosen = replace(chosen, stream_experts=streams_experts(stream_experts), rpc=workers(rpc))
    gone = resolve.gone_last_model() if model is None else None
    if gone is not None:
        (on_notice or _log)(f"the model used last, {gone}, is gone: {resolve.DEFAULT} is used")
    path = conversion_cache.ensure_gguf(
        str(model) if model is not None else None, on_notice=on_notice or _log
    )
    header, spoken = read_family(path, family)
    for fault in new_faults(path, header, None if family else spoken):
        (on_notice or _log)(f"{path.name}: {fault}")

    def open_model(planned: Plan) -> LlamaModel:
        from dslocal.engine import LlamaModel

        config = planned.load_config
        return LlamaModel(path, config, header=header, on_progress=on_progress)

    return _loaded(path, header, spoken, chosen, open_model, on_notice or _log)


def _loaded(
    path: Path,
    header: GgufHeader,
    family: Family,
    chosen: Overrides,
    open_model: Callable[[Plan], LlamaModel],
    on_notice: Notice,
) -> Model:
    """Return the model at ``path``, loaded as this machine allows."""
    from dslocal.engine import loader

    stack = ExitStack()
    try:
        context = stack.enter_context(
            loader.open_context(path, header, chosen, open_model, on_notice)
        )
    except BaseException:
        stack.close()
        raise
    return Model(path, header, family, context, stack, on_notice)


class ServedModelOptions(NamedTuple):
    """What a caller decides of a model that an engine serves; see :func:`load`."""

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
    return Model(found.path, found.header, found.family, context, stack, on_notice, name)


def read_family(path: Path, family: str | None = None) -> tuple[GgufHeader, Family]:
    """Read the header of a GGUF file, check it, and recognise how the model is prompted.

    A file that was pulled by its name in models.yaml is prompted as that says.

    Args:
        path: the file, or the first of several parts.
        family: the family to use instead of the recognised one.

    Returns:
        The header, with the tensors of all parts, and the family.

    Raises:
        GgufError: llama.cpp would abort the process over this file.
        UnsupportedModelError: no family fits, or no prompt can be written for it.
        UsageError: ``family`` is not one.
    """
    from dslocal.catalog.pulled_family import pulled_family
    from dslocal.gguf.architectures import require_known
    from dslocal.gguf.parts import read_parts
    from dslocal.prompts import recognise_family

    from .file_faults import require_promptable

    header = read_parts(path)[1]
    require_known(header.architecture, path.name)
    recognised = recognise_family(header, family or pulled_family(path))
    require_sound(path.name, header)
    require_promptable(path.name, header, recognised.family)
    return header, recognised.family


def require_sound(name: str, header: GgufHeader) -> None:
    """Check that llama.cpp can load what a header describes.

    Args:
        name: The file's name, for the message.
        header: Its header, with the tensors of all parts.

    Raises:
        GgufError: llama.cpp would abort the process over this file.
    """
    from dslocal.errors import GgufError
    from dslocal.plan.memory.shape import shape_of
    from dslocal.plan.memory.validate import validate_vocabulary

    try:
        shape_of(header)
        validate_vocabulary(header)
    except GgufError as e:
        raise GgufError(f"{name}: {e}", hint=e.hint) from e


def new_seed(seed: int | None = None, name: str = "seed") -> int:
    """Return ``seed``, or a fresh one that can be given again.

    Raises:
        UsageError: ``seed`` is negative or has more than 63 bits; ``name`` is in the message.
    """
    if seed is None:
        return int.from_bytes(os.urandom(4), "little")
    if not 0 <= seed < 1 << 63:
        raise UsageError(f"{name}: {seed} is out of range", hint="0 or more")
    return seed


def _log(line: str) -> None:
    logging.getLogger("dslocal").warning("%s", line)


class Model:
    """A loaded model. One answer at a time is generated; a second model answers beside it."""

    def __init__(
        self,
        path: Path,
        header: GgufHeader,
        family: Family,
        context: EngineContext,
        resources: ExitStack,
        on_notice: Notice,
        served_name: str = "",
    ) -> None:
        """Wrap what is loaded; use :func:`load`."""
        self._header = header
        self._family = family
        self._context = context
        self._resources = resources
        self._on_notice = on_notice
        self._busy = threading.Lock()
        self._closed = False
        self._served_name = served_name
        self.path = path

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<dslocal.Model {self.name!r}, {self.n_ctx:,} tokens of context>"

    def close(self) -> None:
        """Free the memory of the model. Calling it twice does nothing."""
        if not self._closed:
            self._closed = True
            self._resources.close()

    @property
    def name(self) -> str:
        """Return the model's own name, else its file's."""
        if self._served_name:
            return self._served_name
        return self._header.text("general.name") or self.path.stem

    @property
    def family(self) -> str:
        """Return the name of the family that it is prompted as."""
        return self._family.name

    @property
    def n_ctx(self) -> int:
        """Return the tokens that prompt and answer may have together."""
        return self._context.n_ctx

    @property
    def load_config(self) -> LoadConfig:
        """Return the settings that it was loaded with.

        Raises:
            UsageError: an engine has loaded it.
        """
        from dslocal.engine import LlamaContext

        if not isinstance(self._context, LlamaContext):
            raise UsageError(f"{self.name}: an engine has loaded it, and does not say how")
        return self._context.load_config

    def ask(
        self,
        text: str,
        *,
        system: str = "",
        files: Sequence[str | Path] = (),
        thinking: bool | None = None,
        effort: str | None = None,
        math: bool | None = None,
        schema: Mapping[str, Any] | str | Path | None = None,
        grammar: str | Path | None = None,
        tools: Sequence[Tool] = (),
        seed: int | None = None,
        on_prefill: OnPrefill | None = None,
        **settings: Unpack[SamplingSettings],
    ) -> Answer:
        """Answer one question.

        Args:
            text: the question.
            system: instructions before it.
            files: text files that go with it, in the vendor's own template.
            thinking: True reasons first, False does not, None is as the vendor recommends.
            effort: how thoroughly V4 reasons, such as "high" or "max"; "none" is without reasoning.
            math: whether the vendor's directive on mathematics is added; None leaves that to the
                question, for models whose vendor asks for it.
            schema: a JSON Schema, or a file with one, that the answer must follow.
            grammar: a file with a GBNF grammar that the answer must follow.
            tools: functions that the model may call.
            seed: gives the same answer again. Without it each answer is another one.
            on_prefill: receives tokens of the prompt that are evaluated, and how many there are.
            **settings: see :class:`SamplingSettings`.

        Returns:
            The answer.

        Raises:
            UsageError: an argument is out of range, or this model cannot do it.
            ContextOverflowError: the prompt leaves no room for an answer.
            SchemaError: the answer is whole, and not as ``schema`` says.
        """
        answer = self.stream(
            text,
            system=system,
            files=files,
            thinking=thinking,
            effort=effort,
            math=math,
            schema=schema,
            grammar=grammar,
            tools=tools,
            seed=seed,
            on_prefill=on_prefill,
            **settings,
        ).answer
        if answer.finish_reason == "stop":
            answer.parsed  # noqa: B018 - raises SchemaError
        return answer

    def stream(
        self,
        text: str,
        *,
        system: str = "",
        files: Sequence[str | Path] = (),
        thinking: bool | None = None,
        effort: str | None = None,
        math: bool | None = None,
        schema: Mapping[str, Any] | str | Path | None = None,
        grammar: str | Path | None = None,
        tools: Sequence[Tool] = (),
        seed: int | None = None,
        on_prefill: OnPrefill | None = None,
        **settings: Unpack[SamplingSettings],
    ) -> AnswerStream:
        """Answer one question as events: Reasoning, Text, ToolCall, and Done at the end.

        The arguments are those of :meth:`ask`. Nothing is generated before the first event is
        asked for.
        """
        session = self._session(system, self._reasoning(thinking, effort), tools, settings)
        session.constraint = _constraint(schema, grammar)
        question = self._composed(text, files, math, session.constraint)
        return self._stream(session, question, new_seed(seed), on_prefill)

    def chat(
        self,
        *,
        system: str = "",
        thinking: bool | None = None,
        effort: str | None = None,
        tools: Sequence[Tool] = (),
        resume: str | Path | None = None,
        **settings: Unpack[SamplingSettings],
    ) -> Chat:
        """Begin a conversation, or continue one that was saved.

        Args:
            system: instructions for the whole conversation.
            thinking: as for :meth:`ask`.
            effort: as for :meth:`ask`.
            tools: functions that the model may call.
            resume: a file that :meth:`Chat.save` wrote; ``system`` then replaces its own only
                where it is given.
            **settings: see :class:`SamplingSettings`.

        Returns:
            The conversation.
        """
        from .conversation import Chat, read_saved

        session = self._session(system, self._reasoning(thinking, effort), tools, settings)
        if resume is not None:
            saved = read_saved(Path(resume))
            session.system = system or saved.system
            session.history = list(saved.messages)
        return Chat(self, session)

    def fill(
        self,
        prefix: str,
        suffix: str,
        *,
        seed: int | None = None,
        on_prefill: OnPrefill | None = None,
        **settings: Unpack[SamplingSettings],
    ) -> Answer:
        """Write what belongs between two texts (fill-in-the-middle).

        Args:
            prefix: the text before the gap.
            suffix: the text after it.
            seed: as for :meth:`ask`.
            on_prefill: as for :meth:`ask`.
            **settings: see :class:`SamplingSettings`.

        Returns:
            The text of the gap, white space and all.

        Raises:
            UsageError: this model cannot fill in the middle.
        """
        from dslocal.output.answer import Turn, stream_answer

        self._require_open()
        prompt = self._family.render_fim(prefix, suffix)
        turn = Turn(prompt_tokens=0, seed=new_seed(seed))
        events: Generator[object] = stream_answer(
            turn,
            self._context,
            self._family,
            self._settings(settings),
            prompt,
            on_prefill=on_prefill,
        )
        return AnswerStream(events, lambda: turn, self._busy).answer

    def render(
        self,
        messages: Sequence[Message],
        *,
        thinking: bool | None = None,
        effort: str | None = None,
    ) -> str:
        """Return the exact prompt that ``messages`` become, special tokens as text."""
        from dslocal.prompts.messages import render

        family, way = self._reasoning(thinking, effort)
        return render(family.render(list(messages), way))

    def tokenize(self, text: str) -> list[int]:
        """Return the ids of ``text``, none of which is a special token."""
        self._require_open()
        return self._context.model.encode(text)

    def _stream(
        self, session: Session, text: str, seed: int, on_prefill: OnPrefill | None
    ) -> AnswerStream:
        self._require_open()
        events = session.stream(text, seed, on_prefill=on_prefill)
        return AnswerStream(events, lambda: session.turn, self._busy)

    def _session(
        self,
        system: str,
        reasoning: tuple[Family, Thinking],
        tools: Sequence[Tool],
        settings: SamplingSettings,
    ) -> Session:
        from dslocal.chat import open_session

        family, way = reasoning
        chosen = self._settings(settings)
        for line in self._family.advice(chosen, way, system):
            self._on_notice(line)
        return open_session(self._context, family, chosen, system, way, tools)

    def _composed(
        self,
        text: str,
        files: Sequence[str | Path],
        math: bool | None,
        constraint: OutputConstraint | None,
    ) -> str:
        from dslocal.prompts import compose_question

        if math is None and constraint is not None:
            math = False  # a boxed answer has another shape than the one asked for
        question = compose_question(
            self._family, text, files=[Path(file) for file in files], math=math
        )
        for note in question.notes:
            warnings.warn(note, stacklevel=4)
        return question.text

    def _settings(self, settings: SamplingSettings) -> Settings:
        chosen = self._family.defaults
        for name, value in settings.items():
            if value is not None:
                chosen = chosen.with_value(name, value, name)
        return chosen

    def _reasoning(self, thinking: bool | None, effort: str | None) -> tuple[Family, Thinking]:
        """Return the family with its effort, and how answers begin."""
        from dslocal.prompts import Thinking, choose_effort

        family, thinking = choose_effort(self._family, effort, thinking)
        if thinking is None:
            return family, family.default_thinking
        way = Thinking.FORCED if thinking else Thinking.BYPASSED
        if way not in self._family.thinking_modes:
            raise UsageError(
                f"family {self._family.name} ({self._family.title}) has no reasoning",
                hint="thinking=None lets it answer its own way",
            )
        return family, way

    def _require_open(self) -> None:
        if self._closed:
            raise UsageError(f"{self.name}: the model is closed")


def _constraint(
    schema: Mapping[str, Any] | str | Path | None, grammar: str | Path | None
) -> OutputConstraint | None:
    """Return what an answer must follow: a schema or a grammar, not both."""
    from dslocal.output import constraint_from_schema, read_grammar, read_schema

    if schema is not None and grammar is not None:
        raise UsageError("schema and grammar exclude each other")
    if isinstance(schema, Mapping):
        return constraint_from_schema(dict(schema), "schema")
    if schema is not None:
        return read_schema(Path(schema))
    return read_grammar(Path(grammar)) if grammar is not None else None
