"""The models that ``dslocal serve`` offers: found, planned, opened when a request needs them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dslocal import prompts
from dslocal.catalog import resolve
from dslocal.cli import session_setup, user_settings
from dslocal.cli.load_overrides import load_overrides
from dslocal.cli.option_groups import EngineOptions, LoadOptions
from dslocal.cli.session_setup import ModelFile
from dslocal.errors import UsageError
from dslocal.gguf.header import fingerprint
from dslocal.plan.load_config import DeviceShare
from dslocal.plan.overrides import Overrides

from .left_out_models import LeftOutModels
from .messages import log, near_address
from .prefix_files import kept_answers, open_prefix_cache
from .serve_options import ServeOptions
from .slot_count import open_slots, with_slots

if TYPE_CHECKING:
    from dslocal.engine import EngineContext
    from dslocal.server.discovery import RunningServer
    from dslocal.server.models.model_set import ModelSet
    from dslocal.server.models.offered_model import OfferedModel, OpenedModel
    from dslocal.server.preparation.requests import ServedModel
    from dslocal.server.preparation.sampled_answers import SampledAnswers


@dataclass(frozen=True)
class AnswerDefaults:
    """What holds for all answers of every model.

    Attributes:
        think: Whether answers reason where a request does not say; None for the model card's way.
        effort: The effort of requests that name none.
        math: Whether the directive for mathematics is added; None decides by the question.
    """

    think: bool | None
    effort: str | None
    math: bool | None


@dataclass(frozen=True)
class ServerAddress:
    """Where other commands find the server.

    Attributes:
        host: The address that it listens at.
        port: The port.
        token: The key of dslocal's own commands.
    """

    host: str
    port: int
    token: str


def find_models(
    names: Sequence[str | None],
    family: str | None,
    engine: EngineOptions,
    left_out: LeftOutModels,
) -> list[tuple[str, ModelFile]]:
    """Return the files of the models that are named, and what they are called.

    Args:
        names: As they were asked for; None is the one used last, or an engine's only model.
        family: The family that the user chose.
        engine: The engine that the user chose.
        left_out: Takes those that cannot be read.

    Raises:
        UsageError: Two names mean one file.
        DslocalError: A model is not here, or cannot be read.
    """
    shown = user_settings.named_model(None) or resolve.last_used_model() or resolve.DEFAULT
    found: list[tuple[str, ModelFile]] = []
    for name in names:
        file = left_out.attempt(
            name or shown, partial(session_setup.prepare_chosen_model, engine, name, family)
        )
        if file is None:
            continue
        if any((file.path, file.engine) == (other.path, other.engine) for _, other in found):
            raise UsageError(f"{name!r:.80} is named twice", hint="use --alias for another name")
        found.append((name or (file.engine.model if file.engine else shown), file))
    left_out.require(found)
    return found


def budget_of(max_ram: int | None) -> DeviceShare:
    """Return the bytes that all models may take together, before any is loaded."""
    from dslocal.engine.loader import with_max_ram
    from dslocal.plan.machine import probe

    machine = probe.probe_machine()
    if max_ram is not None:
        machine = with_max_ram(machine, max_ram)
    if machine.unified:
        return DeviceShare(0, machine.available)
    return DeviceShare(machine.vram, machine.available)


class _Need(NamedTuple):
    """The bytes that a model takes, and the tokens of context of each answer."""

    memory: DeviceShare
    n_ctx: int


class ModelOffers:
    """Makes what a server offers of files, options and an address."""

    def __init__(
        self,
        options: ServeOptions,
        load: LoadOptions,
        answers: AnswerDefaults,
        address: ServerAddress,
    ) -> None:
        self._options = options
        self._load = load
        self._answers = answers
        self._address = address
        self._budget = budget_of(options.max_ram)
        self._disk_cache = user_settings.disk_cache_bytes(options.disk_cache)

    def offer_all(
        self, files: Sequence[tuple[str, ModelFile]], left_out: LeftOutModels
    ) -> ModelSet:
        """Return all models of a server, none of them loaded.

        Args:
            files: The names that they were asked for by, and their files. Aliases are names of the
                first that is offered.
            left_out: Takes those that fit this machine in no way.

        Raises:
            DoesNotFitError: One of them fits this machine in no way.
            UsageError: An option is not one for one of the models.
        """
        from dslocal.server.models.model_set import ModelSet

        offered: list[OfferedModel] = []
        for name, file in files:
            aliases = [] if offered else self._options.alias or []
            offer = left_out.attempt(name, partial(self.offer, file, name, aliases))
            offered += [offer] if offer else []
        left_out.require(offered)
        return ModelSet(
            offered,
            self._budget,
            max_waiting=self._options.queue,
            log=log,
            has_any_name=self._options.any_name,
        )

    def offer(self, file: ModelFile, asked_for: str, aliases: Sequence[str]) -> OfferedModel:
        """Return the model of a file, planned and not loaded.

        Args:
            file: The file.
            asked_for: The name that it was asked for by.
            aliases: Names besides.

        Raises:
            DoesNotFitError: It fits this machine in no way.
            UsageError: An option is not one for this model.
        """
        if file.engine is not None and file.engine.takes_messages:
            raise UsageError(
                "DeepSeek's own API writes the prompts itself, so dslocal serve cannot serve it",
                hint="let clients use that API directly; dslocal serve supports vLLM, SGLang and "
                "llama-server",
            )
        file, think = _with_effort(file, self._answers)
        thinking = user_settings.chosen_thinking(file.family, think).value
        settings = session_setup.settings_for(file, file.family.defaults, {})
        session_setup.print_advice(file.family, settings, thinking, "")
        chosen = load_overrides(file, self._load)
        if file.engine is None:
            chosen = replace(chosen, max_ram=self._options.max_ram)
            chosen = with_slots(file.path, file.header, self._options.parallel, chosen)
        need = self._need(file, chosen)
        name = _listed_name(asked_for)
        names = (name, asked_for, file.path.stem, file.header.text("general.name"))

        @contextmanager
        def open_model() -> Iterator[OpenedModel]:
            with self._opened(file, chosen, name, thinking) as opened:
                yield opened

        from dslocal.server.models.offered_model import OfferedModel

        return OfferedModel(
            name=name,
            names=frozenset(each for each in names if each),
            fingerprint=fingerprint(file.path),
            need=need.memory,
            n_ctx=need.n_ctx,
            header=file.header,
            family=file.family,
            open=open_model,
            aliases=tuple(alias for alias in dict.fromkeys(aliases) if alias != name),
        )

    def _need(self, file: ModelFile, chosen: Overrides) -> _Need:
        """Return what a model takes here: nothing where an engine has it."""
        if file.engine is not None:
            return _Need(DeviceShare(0, 0), chosen.n_ctx or file.engine.n_ctx)
        from dslocal.engine import loader

        planned = loader.plan_for(file.path, file.header, chosen)
        return _Need(_within(planned.memory.all, self._budget), planned.load_config.n_ctx)

    @contextmanager
    def _opened(
        self, file: ModelFile, chosen: Overrides, name: str, thinking: prompts.Thinking
    ) -> Iterator[OpenedModel]:
        """Load a model, and let other commands find it here while it is loaded."""
        from dslocal.server.discovery import announced
        from dslocal.server.models.offered_model import OpenedModel

        with (
            session_setup.open_context(file, chosen) as context,
            open_slots(context, self._options.parallel) as slots,
            open_prefix_cache(slots, self._disk_cache) as prefix_cache,
        ):
            sampled_answers = kept_answers(slots[0], prefix_cache)
            served = _served_model(
                file, slots[0], name, thinking, self._answers.math, sampled_answers
            )
            note = self._discovery_note(file, context, served)
            with announced(note) if note else nullcontext():
                yield OpenedModel(served, slots, prefix_cache)

    def _discovery_note(
        self, file: ModelFile, context: EngineContext, served: ServedModel
    ) -> RunningServer | None:
        """Return what other commands find of this server and one of its models.

        None for an engine's model: they ask the engine themselves.
        """
        from dslocal.engine import LlamaContext
        from dslocal.server.discovery import RunningServer, short_metadata

        if not isinstance(context, LlamaContext):
            return None
        return RunningServer(
            pid=os.getpid(),
            host=near_address(self._address.host),
            port=self._address.port,
            name=served.name,
            path=str(file.path.resolve()),
            fingerprint=served.fingerprint,
            family=file.family.name,
            n_ctx=context.n_ctx,
            kv_type=context.kv_type,
            token=self._address.token,
            metadata=short_metadata(file.header),
            data_start=file.header.data_start,
        )


def _with_effort(file: ModelFile, answers: AnswerDefaults) -> tuple[ModelFile, bool | None]:
    """Return ``file`` with the effort of requests that name none, and whether they reason."""
    choice = prompts.choose_effort(file.family, answers.effort, answers.think)
    return replace(file, family=choice.family), choice.think


def _listed_name(asked_for: str) -> str:
    """Return the name that a model is listed by: of a file, its own without the ending."""
    is_path = Path(asked_for).suffix == ".gguf" or os.sep in asked_for
    return Path(asked_for).stem if is_path else asked_for


def _within(need: DeviceShare, budget: DeviceShare) -> DeviceShare:
    """Return what a model takes of ``budget``, which one read from the SSD may exceed."""
    if not budget.gpu:  # there is none, or its memory is the RAM
        need = DeviceShare(0, need.total)
    return DeviceShare(min(need.gpu, budget.gpu), min(need.host, budget.host))


def _served_model(
    file: ModelFile,
    context: EngineContext,
    name: str,
    thinking: prompts.Thinking,
    math: bool | None,
    sampled_answers: SampledAnswers,
) -> ServedModel:
    """Return what all requests of a model share.

    Args:
        file: The model's file.
        context: One of the contexts that generate.
        name: The name that it is listed by.
        thinking: How answers begin where a request does not say.
        math: Whether the directive for mathematics is added.
        sampled_answers: Its answers with calls, as it wrote them.
    """
    from dslocal.server.preparation.requests import ServedModel

    family = file.family
    settings = user_settings.sampling_settings(family.defaults, {})
    fim_settings = settings
    if family.fim:
        fim_settings = user_settings.sampling_settings(family.fim.defaults, {})
    return ServedModel(
        context=context,
        family=family,
        settings=settings,
        fim_settings=fim_settings,
        thinking=thinking,
        name=name,
        fingerprint=fingerprint(file.path),
        sampled_answers=sampled_answers,
        math=math,
    )
