"""Options that belong together, each group declared once as a dataclass.

A command takes a group as one parameter. :func:`with_option_groups` gives Typer a signature in
which the group's fields stand in its place, and builds the group from what was given.
"""

# Annotations are not strings here: Typer would evaluate those of each group at every start.

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dslocal.errors import UsageError

from . import options

Flags = Mapping[str, float | list[str] | None]


@dataclass(frozen=True)
class SamplingOptions:
    """How tokens are sampled. What is None, or an empty list, was not given."""

    temperature: options.Temperature = None
    top_p: options.TopP = None
    max_tokens: options.MaxTokens = None
    top_k: options.TopK = None
    min_p: options.MinP = None
    presence_penalty: options.PresencePenalty = None
    frequency_penalty: options.FrequencyPenalty = None
    repeat_penalty: options.RepeatPenalty = None
    logit_bias: options.LogitBias = None
    stop: options.Stop = None

    def flags(self, think_budget: int | None = None) -> Flags:
        """Return the values by the name of their setting."""
        return {**self.__dict__, "think_budget": think_budget}


@dataclass(frozen=True)
class NamedModel:
    """The model of a command: as its argument, or as ``-m``, as every command takes it."""

    model: options.ModelArgument = None
    model_option: options.ModelFlag = None

    @property
    def name(self) -> str | None:
        """Return the name that was given, if any.

        Raises:
            UsageError: Two were given.
        """
        if self.model and self.model_option:
            raise UsageError(
                f"{self.model!r:.80} and -m {self.model_option!r:.80} name two models",
                hint="use one of them",
            )
        return self.model or self.model_option

    def required(self, what: str, *, hint: str) -> str:
        """Return the name that was given.

        Raises:
            UsageError: None was, or two.
        """
        if self.name is None:
            raise UsageError(what, hint=hint)
        return self.name


@dataclass(frozen=True)
class PublishedModel(NamedModel):
    """A model that is to be fetched."""

    model: options.PublishedArgument = None
    model_option: options.RequiredModelFlag = None


@dataclass(frozen=True)
class ConvertedModel(NamedModel):
    """A checkpoint that is to be converted."""

    model: options.CheckpointArgument = None
    model_option: options.RequiredModelFlag = None


@dataclass(frozen=True)
class QuantizedModel(NamedModel):
    """A GGUF file of which another quantization is made."""

    model: options.GgufArgument = None
    model_option: options.RequiredModelFlag = None


@dataclass(frozen=True)
class EngineOptions:
    """Which engine generates, where that is not this process."""

    engine: options.Engine = None
    tokenizer: options.Tokenizer = None


@dataclass(frozen=True)
class PlacementOptions:
    """How much context a model has, and where its parts are placed."""

    ctx: options.Ctx = None
    kv: options.Kv = None
    n_gpu_layers: options.GpuLayers = None
    cpu_moe: options.CpuMoe = None
    stream_experts: options.StreamExperts = None
    rpc: options.Rpc = None


@dataclass(frozen=True)
class LoadOptions(PlacementOptions):
    """How a model is loaded."""

    mtp: options.Mtp = "auto"

    @property
    def is_default_placement(self) -> bool:
        """Return whether nothing but the size of the context was decided."""
        return self == LoadOptions(ctx=self.ctx)


def with_option_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Return ``command`` with every parameter that is a dataclass replaced by the fields of it.

    The parameters of ``command`` are keyword-only. Groups may hold other groups.
    """
    signature = inspect.signature(command, eval_str=True)
    groups = {
        name: parameter.annotation
        for name, parameter in signature.parameters.items()
        if dataclasses.is_dataclass(parameter.annotation)
    }
    flat = signature.replace(parameters=list(_flat_parameters(signature)))

    @functools.wraps(command)
    def with_groups(**given: Any) -> None:
        bound = flat.bind(**given)
        bound.apply_defaults()
        values = bound.arguments
        built = {name: _take_group(group, values) for name, group in groups.items()}
        command(**values, **built)

    with_groups.__signature__ = flat  # type: ignore[attr-defined]
    with_groups.__annotations__ = {p.name: p.annotation for p in flat.parameters.values()}
    return with_groups


def _flat_parameters(signature: inspect.Signature) -> Iterator[inspect.Parameter]:
    for parameter in signature.parameters.values():
        if dataclasses.is_dataclass(parameter.annotation):
            group: Any = parameter.annotation
            yield from _flat_parameters(inspect.signature(group, eval_str=True))
        else:
            yield parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)


def _take_group(group: Any, values: dict[str, Any]) -> Any:
    """Return the group made of its fields, which are taken out of ``values``."""
    fields = {}
    for field in dataclasses.fields(group):
        is_group = dataclasses.is_dataclass(field.type)
        fields[field.name] = _take_group(field.type, values) if is_group else values.pop(field.name)
    return group(**fields)
