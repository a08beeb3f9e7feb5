"""Load a GGUF file: plan what fits this machine, and load exactly that.

If llama.cpp does not get the memory that the plan counted on, a plan that takes less is loaded
instead, once, and the model's need is remembered for this machine. Knows files and headers, no
model names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dslocal import home
from dslocal.errors import EngineError, OutOfMemoryError, WorkerError
from dslocal.files import binary_size
from dslocal.gguf.header import GgufHeader, read_header
from dslocal.plan import mtp_file
from dslocal.plan.load_config import DeviceShare, LoadConfig, MemoryUse
from dslocal.plan.machine import probe
from dslocal.plan.machine.machine import Machine
from dslocal.plan.memory.footprint import footprint
from dslocal.plan.overrides import NO_OVERRIDES, Overrides
from dslocal.plan.refusal import nearest_fit, require_fit
from dslocal.plan.search import Plan, make_plan

from .measuring import calibrate

if TYPE_CHECKING:
    from . import LlamaContext, LlamaModel
    from .speculation.speculation import DraftMode

STATE = "memory"  # the name under which it is remembered which share of the memory a model gets
RETRY_SHARE = 0.9  # of the memory that was counted on and was not there
SMALLEST_LAYER = 16 << 20  # bytes: less is not what is missing where whole layers do not fit
TIGHT_SHARE = 0.8  # of the available memory; a plan that takes more is checked with llama.cpp first
DRAFT_MODES: dict[bool | None, DraftMode] = {None: "auto", True: "on", False: "off"}

Notify = Callable[[str], None]
LoadModel = Callable[[Plan], "LlamaModel"]


class _MtpFile(NamedTuple):
    """The file of an MTP layer, and its own header."""

    path: Path
    header: GgufHeader


class _PlannedFiles(NamedTuple):
    """What is planned for: a header, and the file of an MTP layer that is joined to it, or None."""

    header: GgufHeader
    mtp_file: _MtpFile | None


def plan_for(path: Path, header: GgufHeader, overrides: Overrides = NO_OVERRIDES) -> Plan:
    """Return the plan to run the model at ``path`` on this machine.

    A plan that goes near to what there is is checked with llama.cpp, see :func:`verify_plan`.

    Raises:
        DoesNotFitError: with the numbers, and with what would fit.
        GgufError: if the MTP layer's file belongs to another model.
    """
    return _plan_files(path, header, _with_mtp_file(path, header, overrides), overrides)


def _plan_files(
    path: Path, header: GgufHeader, joined: _PlannedFiles, overrides: Overrides
) -> Plan:
    """Return the plan to run the model at ``path``. Raises DoesNotFitError."""
    machine = _machine_for(overrides, path)
    if overrides.rpc:
        machine = _with_workers(joined.header, machine, overrides)
    planned = make_plan(joined.header, machine, overrides)
    if planned.spread is None and _is_tight(planned, machine):
        own_header = header if joined.mtp_file else None
        planned = verify_plan(path, joined.header, planned, machine, overrides, own_header)
    if planned.verdict == "no":
        require_fit(planned, path.name, machine, nearest_fit(joined.header, machine, overrides))
    return planned


@contextmanager
def open_context(
    path: Path, header: GgufHeader, overrides: Overrides, load: LoadModel, notify: Notify
) -> Iterator[LlamaContext]:
    """Load the model at ``path`` as planned, yield a context of it, and close both at the end.

    Args:
        path: The GGUF file.
        header: Its header.
        overrides: The settings that the user has chosen.
        load: Loads the model by a plan. It is called again if memory runs out.
        notify: Receives messages for the user.

    Raises:
        DoesNotFitError: before anything is loaded.
        OutOfMemoryError: if the smaller plan does not get its memory either.
        GgufError: if the MTP layer's file belongs to another model.
        EngineError: and whatever else ``load`` raises.
    """
    files = _with_mtp_file(path, header, overrides)
    is_looked_for = overrides.mtp is None and overrides.sidecar is None
    fault = mtp_file.sidecar_fault(path, header) if is_looked_for else None
    if fault:
        notify(f"{fault}; the model runs without drafting")
    planned = _plan_files(path, header, files, overrides)
    if overrides.rpc:
        _say_who_takes_part(planned, notify)
    if planned.verdict == "ssd":
        ahead = planned.load_config.stream_experts
        what = "experts are read from the SSD as the router chooses them"
        notify(
            f"{path.name} is {binary_size(planned.lacking)} too large for the RAM that is free: "
            f"{what if ahead else 'weights are read from the SSD as they are needed'} "
            "(dslocal fit says how fast)"
        )
    with ExitStack() as open_models:
        context = _load_or_retry(path, files.header, planned, overrides, load, notify)
        open_models.enter_context(context.model)
        mtp_layer = _open_mtp_layer(files.mtp_file, context.load_config)
        if mtp_layer is not None:
            open_models.enter_context(mtp_layer)
        with context:
            from .speculation.speculation import enable_speculation

            enable_speculation(context, DRAFT_MODES[overrides.mtp], mtp_layer)
            yield context


def _say_who_takes_part(planned: Plan, notify: Notify) -> None:
    """Tell the user which machines hold a part of the model."""
    from dslocal.rpc.connection import unchecked

    if planned.spread is None:
        notify("--rpc: the model is faster on this machine alone, so no worker gets a part of it")
        return
    parts = [
        f"{share.layers} at {share.place.endpoint or 'this machine'}"
        for share in planned.spread.shares
        if share.layers
    ]
    notify(f"layers: {', '.join(parts)}; the conversation is sent there unencrypted")
    for line in unchecked([share.place.endpoint for share in planned.spread.shares]):
        notify(line)


def _load_or_retry(
    path: Path,
    header: GgufHeader,
    planned: Plan,
    overrides: Overrides,
    load: LoadModel,
    notify: Notify,
) -> LlamaContext:
    """Return a context loaded by ``planned``, or by a smaller plan if memory runs out.

    ``header`` is that which was planned by.
    """
    try:
        return _load(planned, load)
    except OutOfMemoryError as e:
        smaller = _plan_with_less(path, header, planned, overrides)
        if smaller is None:
            raise
        step = smaller.gave_up[-1].what if smaller.gave_up else "less"
        notify(f"{e}; continuing with {step}")
    return _load(smaller, load)


def _load(planned: Plan, load: LoadModel) -> LlamaContext:
    from . import LlamaContext

    model = load(planned)
    try:
        return LlamaContext(model, planned.load_config)
    except BaseException:
        model.close()
        raise


def _with_mtp_file(path: Path, header: GgufHeader, overrides: Overrides) -> _PlannedFiles:
    """Return the header to plan by, joined with the MTP layer's file if there is one.

    The file is the one that was asked for, otherwise one beside the model.
    """
    file = overrides.sidecar
    if file is None and overrides.mtp is not False:
        file = mtp_file.find_sidecar(path, header)
    if file is None:
        return _PlannedFiles(header, None)
    layer = _MtpFile(file, read_header(file))
    return _PlannedFiles(mtp_file.join_header(header, layer.header, file.name), layer)


def open_sidecar(path: Path, header: GgufHeader, load_config: LoadConfig) -> LlamaModel | None:
    """Return the draft model beside the model at ``path``, loaded; None if there is none to use."""
    found = mtp_file.find_sidecar(path, header)
    if found is None:
        return None
    return _open_mtp_layer(_MtpFile(found, read_header(found)), load_config)


def _open_mtp_layer(file: _MtpFile | None, load_config: LoadConfig) -> LlamaModel | None:
    """Return the MTP layer as a model of its own, placed as the model is; None without a file."""
    if file is None or not load_config.mtp:
        return None
    from . import LlamaModel

    placed = replace(load_config, cpu_moe_layers=0)
    if load_config.split:  # the layer is small: it stays on this machine
        placed = replace(placed, split=(), n_gpu_layers=0)
    return LlamaModel(file.path, placed, header=file.header)


def verify_plan(
    path: Path,
    header: GgufHeader,
    planned: Plan,
    machine: Machine,
    overrides: Overrides,
    own_header: GgufHeader | None = None,
) -> Plan:
    """Return ``planned`` with llama.cpp's own sizes, or another plan if they are larger.

    If llama.cpp cannot size the file, the planner's arithmetic stands. Takes about a third of a
    second, in a child process.

    Args:
        path: The GGUF file.
        header: The header that was planned by.
        planned: A plan for ``machine``; one that does not fit is returned as it is.
        machine: The machine that was planned for.
        overrides: The settings that the user has chosen.
        own_header: The file's own header, if an MTP layer's file was joined to it for the plan.
    """
    from .sizing import no_alloc

    if planned.verdict in ("no", "workers"):  # llama.cpp sizes what is on this machine alone
        return planned
    kind = machine.gpus[0].kind if machine.gpus else "cuda"
    asked, expected = planned.load_config, planned.memory
    if own_header is not None:
        # llama.cpp sizes one file: it is asked about the model without the layer in the other
        asked = replace(asked, mtp=False)
        expected = footprint(own_header, asked, kind)
    try:
        exact = no_alloc.exact_memory_use(path, asked, gpu=kind)
    except EngineError:
        return planned
    missing = _missing(exact, expected)
    if missing.gpu == 0 and missing.host == 0:
        return planned if own_header else replace(planned, memory=exact)
    gpus = tuple(replace(gpu, free=max(0, gpu.free - missing.gpu)) for gpu in machine.gpus)
    smaller = replace(machine, available=max(0, machine.available - missing.host), gpus=gpus)
    return make_plan(header, smaller, overrides)


def _missing(exact: MemoryUse, planned: MemoryUse) -> DeviceShare:
    """Return the bytes that ``exact`` takes more than was ``planned``."""
    return DeviceShare(
        max(0, exact.all.gpu - planned.all.gpu), max(0, exact.all.host - planned.all.host)
    )


def _is_tight(planned: Plan, machine: Machine) -> bool:
    """Return whether a plan takes so much of the memory that llama.cpp should size it first."""
    need = planned.memory.all
    in_ram = need.total if machine.unified else need.host
    return need.gpu > TIGHT_SHARE * machine.vram or in_ram > TIGHT_SHARE * machine.available


def _machine_for(overrides: Overrides, path: Path) -> Machine:
    """Return this machine with the memory that the model at ``path`` may take."""
    machine = apply_memory_limit(probe.probe_machine(), path)
    if overrides.max_ram is None:
        return machine
    return with_max_ram(machine, overrides.max_ram)


def _with_workers(header: GgufHeader, machine: Machine, overrides: Overrides) -> Machine:
    """Return ``machine`` with the workers that were named.

    Raises:
        WorkerError: one of them is not there; the hint says what fits without it.
    """
    from dslocal.rpc.connection import ask_workers
    from dslocal.rpc.endpoint import parse_endpoints

    measured = calibrate.remembered_rates(machine)
    machine = replace(machine, rate=measured.ram if measured else 0.0)
    endpoints = parse_endpoints(",".join(overrides.rpc))
    try:
        return replace(machine, workers=ask_workers(endpoints))
    except WorkerError as e:
        others = tuple(str(each) for each in endpoints if str(each) not in e.missing)
        without = "it" if len(e.missing) == 1 else "them"
        fits = _fits_without(header, machine, replace(overrides, rpc=others), without)
        e.hint = f"{e.hint}; {fits}"
        raise


def _fits_without(header: GgufHeader, machine: Machine, overrides: Overrides, without: str) -> str:
    """Return what fits without the workers that are not there, for a hint.

    Args:
        header: the model's header.
        machine: this machine, alone.
        overrides: the user's settings, with the workers that are there.
        without: "it", or "them" if several are missing.
    """
    from dslocal.rpc.connection import ask_workers
    from dslocal.rpc.endpoint import parse_endpoints

    try:
        workers = ask_workers(parse_endpoints(",".join(overrides.rpc))) if overrides.rpc else ()
    except WorkerError as e:
        return f"{e.endpoint} is now missing, too"
    if not overrides.rpc:
        overrides = replace(overrides, n_gpu_layers=None)  # which sends layers to workers
    planned = make_plan(header, replace(machine, workers=workers), overrides)
    if planned.verdict in ("no", "ssd"):
        missing = f"{binary_size(planned.lacking)} are missing"
        if planned.lacking < SMALLEST_LAYER:
            missing = "no split by whole layers fits"
        return f"without {without} the model does not fit: {missing}"
    where = f"--rpc {','.join(overrides.rpc)}" if overrides.rpc else "this machine alone"
    context = f"{planned.load_config.n_ctx:,} tokens of context"
    return f"without {without}, {where} holds the model with {context}"


def with_max_ram(machine: Machine, max_ram: int) -> Machine:
    """Return ``machine`` with no more than ``max_ram`` bytes of RAM free."""
    gpus = machine.gpus
    if machine.unified:
        gpus = tuple(replace(gpu, free=min(gpu.free, max_ram)) for gpu in gpus)
    return replace(machine, available=min(machine.available, max_ram), gpus=gpus)


def apply_memory_limit(machine: Machine, path: Path) -> Machine:
    """Return ``machine`` without the memory that the model at ``path`` once failed to get."""
    share = home.read_state(STATE).get(_state_key(path))
    if not isinstance(share, (int, float)) or not 0 < share < 1:
        return machine
    note = f"{1 - share:.0%} of the memory is left free: this model ran out of memory before"
    return replace(_with_share_of_memory(machine, share), notes=(*machine.notes, note))


def _plan_with_less(
    path: Path, header: GgufHeader, failed: Plan, overrides: Overrides
) -> Plan | None:
    """Return a plan that takes less memory than ``failed``, or None, and remember the limit.

    The limit follows from the memory that was shortest; the other had room to spare.
    """
    if failed.spread is not None:
        return None  # which machine had too little, llama.cpp does not say
    machine, need = probe.probe_machine(), failed.memory.all
    if overrides.max_ram is not None:
        machine = with_max_ram(machine, overrides.max_ram)
    in_ram = need.total if machine.unified else need.host
    used_shares = []
    if in_ram and machine.available:
        used_shares.append(in_ram / machine.available)
    if need.gpu and machine.vram:
        used_shares.append(need.gpu / machine.vram)
    share = RETRY_SHARE * min(1.0, max(used_shares, default=1.0))
    smaller = make_plan(header, _with_share_of_memory(machine, share), overrides)
    same_way = replace(smaller.load_config, stream_experts=failed.load_config.stream_experts)
    if smaller.verdict == "no" or same_way == failed.load_config:
        return None
    home.write_state(STATE, {**home.read_state(STATE), _state_key(path): share})
    return smaller


def _with_share_of_memory(machine: Machine, share: float) -> Machine:
    gpus = tuple(replace(gpu, free=round(gpu.free * share)) for gpu in machine.gpus)
    return replace(machine, available=round(machine.available * share), gpus=gpus)


def _state_key(path: Path) -> str:
    """Return the name of a model in the state file: its path and size."""
    try:
        return f"{path.resolve()} {path.stat().st_size}"
    except OSError:
        return str(path)
