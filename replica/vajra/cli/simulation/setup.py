"""What the options of `vajra simulate` mean: a deployment, its speed, a workload."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vajra.cli.arguments import parsed
from vajra.cli.deployment import read_manifest
from vajra.cli.errors import USAGE, CommandError
from vajra.config import RequestPrioritizerConfig, SchedulerConfig, VajraDeployment
from vajra.prediction.devices import DEVICES, Device
from vajra.prediction.fitted import FittedPredictor
from vajra.prediction.profile import Profile, ProfileError
from vajra.prediction.shapes import MODEL_SHAPES, ModelShape, Shape
from vajra.simulator import Arrivals, Lengths, SyntheticWorkload, Trace, Workload
from vajra.simulator.plan import UNBOUNDED, ClusterPlan, Overheads, predicted_plan, roofline_plan

DEFAULT_MODEL = "meta-llama/Llama-3.1-8B-Instruct"
DEFAULT_REQUESTS = 1000
GIB = 1 << 30


@dataclass(frozen=True, kw_only=True)
class SimulateOptions:
    """The options as given."""

    manifest: Path | None
    model: str | None
    device: str | None
    profile: Path | None
    memory: float | None
    overrides: dict[str, int | None]
    scheduler: str | None
    scheduler_options: dict[str, float | None]
    prioritizer: str | None
    trace: Path | None
    speed: float
    requests: int | None
    arrivals: str
    prompt_len: str
    output_len: str
    long_share: float
    long_prompt_len: str | None
    max_tokens: int | None
    seed: int
    long_from: int | None
    queue: int | None
    step_overhead: float
    request_overhead: float
    objectives: tuple[str, ...]
    search: bool
    max_rate: bool
    tensor_choices: str
    pipeline_choices: str
    max_devices: int
    manifest_out: Path | None
    output_dir: Path | None
    keep: tuple[str, ...]


def read_deployment(options: SimulateOptions) -> VajraDeployment:
    """The manifest's, or one of a model and flags. Raises CommandError or ConfigError."""
    given: dict[str, Any] = {name: value for name, value in options.overrides.items() if value is not None}
    chosen = {name: value for name, value in options.scheduler_options.items() if value is not None}
    if options.manifest is not None:
        if options.model or options.scheduler or options.prioritizer or given or chosen:
            raise CommandError(
                "with -f the manifest says model, layout, scheduler and prioritizer; set them there", USAGE
            )
        return read_manifest(options.manifest)
    if options.scheduler is not None:
        config = parsed("--scheduler", SchedulerConfig.class_of, options.scheduler)
        given["scheduler_config"] = config(**chosen)
    else:
        given |= chosen
    if options.prioritizer is not None:
        given["prioritizer_config"] = parsed("--prioritizer", RequestPrioritizerConfig.class_of, options.prioritizer)()
    accelerator: Any = "CPU" if options.profile is not None else "GPU"
    return VajraDeployment.for_model(options.model or DEFAULT_MODEL, accelerator=accelerator, **given)


def read_plan(options: SimulateOptions, deployment: VajraDeployment) -> ClusterPlan:
    """The deployment on the device that is asked for. Raises CommandError, SimulationError or ModelError."""
    overheads = read_overheads(options)
    if options.profile is not None:
        if options.device is not None:
            raise CommandError("give either --device or --profile, not both", USAGE)
        return _profile_plan(options.profile, options, deployment, overheads)
    return roofline_plan(deployment, shape_of(deployment), read_device(options), overheads)


def read_overheads(options: SimulateOptions) -> Overheads:
    """What the deployment does not say."""
    return Overheads(
        step_seconds=options.step_overhead,
        gateway_seconds=options.request_overhead,
        queue_capacity=UNBOUNDED if options.queue is None else options.queue,
    )


def read_device(options: SimulateOptions) -> Device:
    """By name, H100 by default, with another memory if one is given."""
    name = (options.device or "H100").upper()
    if name not in DEVICES:
        raise CommandError(f"--device: there is no {options.device}; known are {', '.join(DEVICES)}", USAGE)
    device = DEVICES[name]
    return device if options.memory is None else dataclasses.replace(device, memory=options.memory * GIB)


def shape_of(deployment: VajraDeployment) -> Shape:
    """Of a well-known model without looking, of another from its configuration files. Raises ModelError."""
    config = deployment.replica_config.model_config
    known = MODEL_SHAPES.get(config.model)
    if known is not None:
        return known
    from vajra.models import resolve

    return resolve(config, quantization=deployment.quantization).spec


def read_workload(options: SimulateOptions) -> Workload:
    """A trace or a recipe. Raises CommandError or SimulationError."""
    if options.trace is not None:
        return Trace(options.trace, options.speed, options.requests)
    long_lengths = options.long_prompt_len
    return SyntheticWorkload(
        num_requests=options.requests or DEFAULT_REQUESTS,
        arrivals=parsed("--arrivals", Arrivals.parse, options.arrivals),
        prompt_lengths=parsed("--prompt-len", Lengths.parse, options.prompt_len),
        output_lengths=parsed("--output-len", Lengths.parse, options.output_len),
        long_share=options.long_share,
        long_prompt_lengths=None if long_lengths is None else parsed("--long-prompt-len", Lengths.parse, long_lengths),
        max_tokens=options.max_tokens,
        seed=options.seed,
    )


def numbers(option: str, text: str) -> list[int]:
    """Whole numbers above 0, with commas between."""
    try:
        found = [int(part) for part in text.split(",")]
    except ValueError:
        found = [0]
    if min(found) < 1:
        raise CommandError(f"{option}: {text!r} is no list of whole numbers above 0, as 1,2,4", USAGE)
    return found


def _profile_plan(
    path: Path, options: SimulateOptions, deployment: VajraDeployment, overheads: Overheads
) -> ClusterPlan:
    try:
        profile = Profile.read(path)
    except ProfileError as error:
        raise CommandError(str(error)) from None
    identity = profile.identity
    config = deployment.replica_config
    parallel = config.parallel_config
    for what, asked, measured in (
        ("tensor ranks", parallel.tensor_parallel_size, identity.tensor_parallel),
        ("pipeline stages", parallel.pipeline_parallel_size, identity.pipeline_parallel),
        ("tokens of a KV block", config.cache_config.block_size, identity.block_size),
    ):
        if asked != measured:
            raise CommandError(
                f"--profile: {path} was measured with {measured} {what}, and {asked} are asked for", USAGE
            )
    memory = None if options.memory is None else options.memory * GIB
    if memory is None:
        from vajra.worker.resources import memory_limit_bytes

        memory = float(memory_limit_bytes())
    return predicted_plan(deployment, FittedPredictor(profile), ModelShape.of_profile(identity), memory, overheads)
