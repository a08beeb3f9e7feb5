"""From a GGUF file to a model that is ready, by plan: whatever fits this machine, loaded with
exactly those settings.

Where llama.cpp does not get the memory that the plan counted on, the next rung is taken, once, and
remembered for this machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dslocal import home
from dslocal.errors import EngineError, OutOfMemoryError
from dslocal.files import binary_size
from dslocal.gguf.header import GgufHeader, read_header
from dslocal.plan import mtp_file
from dslocal.plan.load_config import DeviceShare, LoadConfig
from dslocal.plan.machine import probe
from dslocal.plan.machine.machine import Machine
from dslocal.plan.refusal import nearest_fit, require_fit
from dslocal.plan.search import NO_OVERRIDES, Overrides, Plan, make_plan

if TYPE_CHECKING:
    from . import LlamaContext, LlamaModel

MEMORY = "memory"  # what is remembered of memory that was not there
LESS = 0.9  # of the memory that was counted on
TIGHT = 0.8  # of the memory that there is

Notify = Callable[[str], None]
LoadModel = Callable[[Plan], "LlamaModel"]


def plan_for(path: Path, header: GgufHeader, overrides: Overrides = NO_OVERRIDES) -> Plan:
    """How this machine runs the model at ``path``. Raises DoesNotFitError, with the numbers and
    what would fit, GgufError for a sidecar that is another model's."""
    header, layer = _with_sidecar(path, header, overrides)
    machine = apply_memory_limit(probe.probe_machine(), path)
    planned = make_plan(header, machine, overrides)
    if (
        _tight(planned, machine) and not layer
    ):  # of which llama.cpp, asked for one file, would know nothing
        planned = verify_plan(path, header, planned, machine, overrides)
    if planned.verdict == "no":
        require_fit(planned, path.name, machine, nearest_fit(header, machine, overrides))
    return planned


@contextmanager
def open_context(
    path: Path, header: GgufHeader, overrides: Overrides, load: LoadModel, say: Notify
) -> Iterator[LlamaContext]:
    """A context of the model, loaded as planned by ``load``, and closed at the end; ``say`` is told
    what the user should know.

    Raises DoesNotFitError before anything is loaded, OutOfMemoryError when the next rung fails too,
    and what ``load`` raises.
    """
    planned = plan_for(path, header, overrides)
    if planned.verdict == "ssd":
        over = f"{binary_size(planned.lacking)} too large for the RAM that is free"
        say(
            f"{path.name} is {over}: weights are read from the SSD as they are needed (dslocal fit says how fast)"
        )
    try:
        context = _loaded(planned, load)
    except OutOfMemoryError as e:
        smaller = _next_rung(path, header, planned, overrides)
        if smaller is None:
            raise
        say(f"{e}; going on with {smaller.gave_up[-1].what if smaller.gave_up else 'less'}")
        context = _loaded(smaller, load)
    with ExitStack() as open_models:
        open_models.enter_context(context.model)
        file = _with_sidecar(path, header, overrides)[1] if context.load_config.mtp else None
        layer = open_models.enter_context(_layer(file, context.load_config)) if file else None
        with context:
            from dslocal.engine.speculation.speculation import enable_speculation

            enable_speculation(
                context,
                "auto" if overrides.mtp is None else "on" if overrides.mtp else "off",
                layer,
            )
            yield context


def _with_sidecar(
    path: Path, header: GgufHeader, overrides: Overrides
) -> tuple[GgufHeader, Path | None]:
    """The header to plan by, and the file whose MTP layer is in it: the one that was asked for,
    else the one beside the model.
    """
    file = overrides.sidecar or (
        mtp_file.find_sidecar(path, header) if overrides.mtp is not False else None
    )
    return (
        (mtp_file.join_header(header, read_header(file), file.name), file)
        if file
        else (header, None)
    )


def _layer(file: Path, load_config: LoadConfig) -> LlamaModel:
    """The MTP layer as a model of its own, placed like the model that it is for."""
    from . import LlamaModel

    return LlamaModel(file, replace(load_config, cpu_moe_layers=0))


def verify_plan(
    path: Path, header: GgufHeader, planned: Plan, machine: Machine, overrides: Overrides
) -> Plan:
    """``planned`` for this machine, with llama.cpp's own sizing of the file at ``path`` as the last
    word: another plan where that is more.

    Where llama.cpp cannot size it, the plan's own arithmetic stands.
    """
    from .sizing import no_alloc

    if planned.verdict == "no":
        return planned
    kind = machine.gpus[0].kind if machine.gpus else "cuda"
    try:
        exact = no_alloc.exact_memory_use(path, planned.load_config, gpu=kind)
    except EngineError:
        return planned
    if (
        planned.load_config.repack
    ):  # of which llama.cpp counts the copy, not the mapped file that it is made from
        exact = replace(exact, weights=planned.memory.weights)
    more = DeviceShare(
        exact.all.gpu - planned.memory.all.gpu, exact.all.host - planned.memory.all.host
    )
    if more.gpu <= 0 and more.host <= 0:
        return replace(planned, memory=exact)
    gpus = tuple(replace(gpu, free=max(0, gpu.free - max(0, more.gpu))) for gpu in machine.gpus)
    return make_plan(
        header,
        replace(machine, available=max(0, machine.available - max(0, more.host)), gpus=gpus),
        overrides,
    )


def _tight(planned: Plan, machine: Machine) -> bool:
    """Whether a plan goes so near to what there is that llama.cpp is asked first; that takes a
    third of a second.
    """
    need = planned.memory.all
    return (
        need.gpu > TIGHT * machine.vram
        or (need.total if machine.unified else need.host) > TIGHT * machine.available
    )


def apply_memory_limit(machine: Machine, path: Path) -> Machine:
    """``machine`` with as much less memory as the model at ``path`` is known to need left over."""
    share = home.read_state(MEMORY).get(_key(path))
    if not isinstance(share, (int, float)) or not 0 < share < 1:
        return machine
    note = f"{1 - share:.0%} of the memory is left free for this model: it was not enough once"
    return replace(_with_less(machine, share), notes=(*machine.notes, note))


def _loaded(planned: Plan, load: LoadModel) -> LlamaContext:
    from . import LlamaContext

    model = load(planned)
    try:
        return LlamaContext(model, planned.load_config)
    except BaseException:
        model.close()
        raise


def _next_rung(path: Path, header: GgufHeader, failed: Plan, overrides: Overrides) -> Plan | None:
    """A plan that takes less than ``failed`` did, None when there is none. It is remembered that
    less was needed.
    """
    machine, need = probe.probe_machine(), failed.memory.all
    in_ram = need.total if machine.unified else need.host
    shares = [
        needed / have
        for needed, have in ((in_ram, machine.available), (need.gpu, machine.vram))
        if needed and have
    ]
    share = LESS * min(
        1.0, max(shares, default=1.0)
    )  # of what was shortest: the rest had room to spare
    smaller = make_plan(
        _with_sidecar(path, header, overrides)[0], _with_less(machine, share), overrides
    )
    if smaller.verdict == "no" or smaller.load_config == failed.load_config:
        return None
    home.write_state(MEMORY, {**home.read_state(MEMORY), _key(path): share})
    return smaller


def _with_less(machine: Machine, share: float) -> Machine:
    gpus = tuple(replace(gpu, free=round(gpu.free * share)) for gpu in machine.gpus)
    return replace(machine, available=round(machine.available * share), gpus=gpus)


def _key(path: Path) -> str:
    try:
        return f"{path.resolve()} {path.stat().st_size}"
    except OSError:
        return str(path)
