"""The reference's configuration classes: exactly its names, fields and defaults.

All are frozen and keyword-only, check every value and refuse unknown fields with `ConfigError`.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import BeforeValidator, InstanceOf, StrictBool, StrictFloat, StrictInt, StrictStr

from vajra.config.base import config_class
from vajra.config.errors import ConfigError
from vajra.config.options import option
from vajra.config.polymorphic import Polymorphic
from vajra.config.validation import member_of

BlockSize = Literal[8, 16, 32, 64, 128]


@config_class
class ModelConfig:
    """Which model is served and how it is loaded."""

    model: StrictStr = option(
        default="meta-llama/Llama-2-7b-chat-hf",
        min_length=1,
        doc="A Hugging Face id, an embedded model's name, or the absolute path of a local folder or GGUF file.",
    )
    trust_remote_code: StrictBool = option(
        default=True,
        doc="Lets tokenizers and configs run code that comes with the model. Code of the model itself is never run.",
    )
    download_dir: StrictStr | None = option(
        default=None, min_length=1, doc="Where downloads are kept; unset: the Hugging Face cache."
    )
    load_format: Literal["auto", "pt", "safetensors", "gguf", "dummy"] = option(
        default="auto",
        doc="Format of the weight files; auto takes what is there (safetensors first), dummy makes seeded random ones.",
    )
    dtype: Literal["float16", "bfloat16", "float32", "auto"] = option(
        default="float16",
        doc="Precision of weights and KV cache. Auto: the checkpoint's own; for GGUF and float32 checkpoints bfloat16 "
        "on a CPU and float16 on a GPU. float16 on a CPU is float16 storage with float32 arithmetic.",
    )
    seed: StrictInt = option(default=0, doc="Seed of dummy weights, and of what else is random in loading.")
    revision: StrictStr | None = option(
        default=None, min_length=1, doc="Branch, tag or commit of the model on Hugging Face; unset: its main branch."
    )
    max_model_len: StrictInt = option(
        default=4096,
        ge=1,
        doc="Longest prompt plus continuation, in tokens. The default is lowered, with a notice, for a model that "
        "allows less; any other value above what the model allows is refused.",
    )
    override_num_layers: StrictInt | None = option(
        default=None,
        ge=1,
        doc="Builds only the first layers of the model, for profiling and tests; what it then says is nonsense.",
    )


@config_class
class ParallelConfig:
    """How a replica is spread over ranks: pipeline x tensor x kv of them."""

    pipeline_parallel_size: StrictInt = option(default=1, ge=1, doc="Pipeline stages: layers are split over them.")
    tensor_parallel_size: StrictInt = option(default=1, ge=1, doc="Ranks that share each weight matrix.")
    enable_expert_parallel: StrictBool = option(
        default=False, doc="Spreads whole experts of a mixture over the tensor ranks instead of slicing each."
    )
    enable_sequence_pipeline_parallel: StrictBool = option(
        default=False,
        doc="Sends the next chunk of a prompt into the first stage as soon as the last one has left it.",
    )
    enable_chunked_pipeline_comm_opt: StrictBool = option(
        default=False, doc="Each tensor rank sends only its slice of the hidden states to the next stage."
    )
    kv_parallel_size: StrictInt = option(default=1, ge=1, doc="KV groups that share the context of long requests.")
    max_num_tokens_per_kvp_group: StrictInt = option(
        default=0, ge=0, doc="Tokens of one request that a KV group holds before the next joins; 0: no limit."
    )


@config_class
class WorkerConfig:
    """How a worker uses its device."""

    gpu_memory_utilization: StrictFloat = option(
        default=0.8,
        gt=0,
        le=1,
        doc="Share of the device's memory for weights and KV cache; on a CPU, of the memory limit or machine's memory.",
    )
    use_native_execution_backend: StrictBool = option(
        default=True,
        doc="The C++ engine (Native), or plain torch (Python), which is slower and needs vajra[torch].",
    )


@config_class
class CacheConfig:
    """The paged KV cache."""

    block_size: BlockSize = option(
        default=16, doc="Tokens per KV block: smaller wastes less memory, larger has less to keep account of."
    )


class SchedulerConfig(Polymorphic):
    """Family of the replica schedulers' configurations."""

    predicts: ClassVar[bool] = False  # whether it needs execution times
    max_batch_size: int  # which all of them have

    @property
    def max_batch_tokens(self) -> int:
        """Query tokens that a batch may hold."""
        raise NotImplementedError


@config_class
class FixedChunkReplicaSchedulerConfig(SchedulerConfig, type="FixedChunk"):
    """Stall-free batching with a fixed token budget per batch."""

    max_batch_size: StrictInt = option(default=128, ge=1, doc="Sequences per batch, decodes and prefills together.")
    chunk_size: StrictInt = option(
        default=2048, ge=1, doc="Tokens per batch: decodes take one each, prefills share what is left."
    )

    @property
    def max_batch_tokens(self) -> int:
        """Query tokens that a batch may hold."""
        return self.chunk_size


@config_class
class DynamicChunkReplicaSchedulerConfig(SchedulerConfig, type="DynamicChunk"):
    """Chunks sized so that every batch takes the same predicted time."""

    predicts: ClassVar[bool] = True

    max_batch_size: StrictInt = option(default=128, ge=1, doc="Sequences per batch, decodes and prefills together.")
    max_chunk_size_param: StrictInt = option(default=8192, ge=1, doc="Largest chunk of a prompt, in tokens.")
    min_chunk_size_param: StrictInt = option(
        default=32, ge=1, doc="Smallest chunk of a prompt, in tokens, when the batch would otherwise be empty."
    )
    target_batch_time_param: StrictFloat = option(default=0.05, gt=0, doc="Predicted time of a batch, in seconds.")

    def __post_init__(self) -> None:
        if self.min_chunk_size_param > self.max_chunk_size_param:
            allowed = f"at most max_chunk_size_param, which is {self.max_chunk_size_param}"
            raise ConfigError("min_chunk_size_param", self.min_chunk_size_param, allowed)

    @property
    def max_batch_tokens(self) -> int:
        """Query tokens that a batch may hold: those of the largest chunk, decodes included."""
        return self.max_chunk_size_param


@config_class
class SpaceSharingReplicaSchedulerConfig(DynamicChunkReplicaSchedulerConfig, type="SpaceSharing"):
    """Dynamic chunks in which a long request leaves part of the batch to short ones; needs the LRS prioritizer."""

    long_seq_kv_cache_len_threshold: StrictInt = option(
        default=262144, ge=1, doc="A request with at least this many tokens in the KV cache is long."
    )


class RequestPrioritizerConfig(Polymorphic):
    """Family of the request prioritizers' configurations: one per replica set."""

    predicts: ClassVar[bool] = False  # whether it needs execution times


@config_class
class FcfsRequestPrioritizerConfig(RequestPrioritizerConfig, type="FCFS"):
    """First come, first served."""


@config_class
class _DeadlineConfig(RequestPrioritizerConfig):
    """A request's deadline is max(deadline_multiplier x its predicted prefill time, min_deadline) after arrival."""

    predicts: ClassVar[bool] = True

    deadline_multiplier: StrictFloat = option(
        default=1.5, gt=0, doc="Deadline as a multiple of the request's predicted prefill time."
    )
    min_deadline: StrictFloat = option(default=0.5, ge=0, doc="Shortest deadline, in seconds after arrival.")


@config_class
class EdfRequestPrioritizerConfig(_DeadlineConfig, type="EDF"):
    """Earliest deadline first."""


@config_class
class LrsRequestPrioritizerConfig(_DeadlineConfig, type="LRS"):
    """Least remaining slack, relative to the deadline: long requests yield to short ones and are never starved."""


@config_class
class LLMReplicaSetControllerConfig:
    """The replica set: its size and its tokenizers."""

    num_replicas: StrictInt = option(default=1, ge=0, doc="Replicas of the model.")
    num_tokenizer_workers: StrictInt = option(
        default=10, ge=1, doc="Most tokenizer processes; they are started as load asks."
    )


class ReplicaControllerConfig(Polymorphic):
    """Family of the replica controllers' configurations."""

    model_config: ModelConfig
    parallel_config: ParallelConfig
    worker_config: WorkerConfig
    cache_config: CacheConfig
    scheduler_config: SchedulerConfig


@config_class
class _ReplicaControllerFields(ReplicaControllerConfig):
    """The members that both controllers have."""

    model_config: ModelConfig = option(default_factory=ModelConfig, doc="The model.")
    parallel_config: ParallelConfig = option(default_factory=ParallelConfig, doc="The ranks.")
    worker_config: WorkerConfig = option(default_factory=WorkerConfig, doc="The workers.")
    cache_config: CacheConfig = option(default_factory=CacheConfig, doc="The KV cache.")
    scheduler_config: Annotated[SchedulerConfig, InstanceOf(), BeforeValidator(member_of(SchedulerConfig))] = option(
        default_factory=FixedChunkReplicaSchedulerConfig, doc="The scheduler: a class of its family."
    )


@config_class
class LLMBaseReplicaControllerConfig(_ReplicaControllerFields, type="Base"):
    """A replica with one pipeline stage."""

    def __post_init__(self) -> None:
        stages = self.parallel_config.pipeline_parallel_size
        if stages != 1:
            hint = "use LLMPipelineParallelReplicaControllerConfig"
            raise ConfigError("parallel_config.pipeline_parallel_size", stages, "1 in a base controller", hint)


@config_class
class LLMPipelineParallelReplicaControllerConfig(_ReplicaControllerFields, type="PipelineParallel"):
    """A replica whose batches travel through pipeline stages."""


@config_class
class MetricsConfig:
    """Files of measurements that the engine writes itself; Prometheus metrics are always served."""

    write_metrics: StrictBool = option(default=False, doc="Collects measurements and writes them to files.")
    wandb_project: StrictStr | None = option(default=None, min_length=1, doc="Weights & Biases project.")
    wandb_group: StrictStr | None = option(default=None, min_length=1, doc="Weights & Biases group.")
    wandb_run_name: StrictStr | None = option(default=None, min_length=1, doc="Weights & Biases run name.")
    wandb_sweep_id: StrictStr | None = option(default=None, min_length=1, doc="Weights & Biases sweep to join.")
    wandb_run_id: StrictStr | None = option(default=None, min_length=1, doc="Weights & Biases run to resume.")
    enable_gpu_op_level_metrics: StrictBool = option(default=False, doc="Times each operator on the device.")
    enable_cpu_op_level_metrics: StrictBool = option(default=False, doc="Times each operation of the controllers.")
    enable_chrome_trace: StrictBool = option(default=False, doc="Writes a Chrome trace of the batches.")
    keep_individual_batch_metrics: StrictBool = option(default=False, doc="Keeps every batch's measurements.")
    store_png: StrictBool = option(default=False, doc="Stores plots as PNG beside their CSV files.")
    output_dir: StrictStr = option(default=".", min_length=1, doc="Folder of the files.")


# Every concrete class, in the order of the reference.
REFERENCE_CLASSES: Final[tuple[type[Any], ...]] = (
    ModelConfig,
    ParallelConfig,
    WorkerConfig,
    CacheConfig,
    FixedChunkReplicaSchedulerConfig,
    DynamicChunkReplicaSchedulerConfig,
    SpaceSharingReplicaSchedulerConfig,
    FcfsRequestPrioritizerConfig,
    EdfRequestPrioritizerConfig,
    LrsRequestPrioritizerConfig,
    LLMReplicaSetControllerConfig,
    LLMBaseReplicaControllerConfig,
    LLMPipelineParallelReplicaControllerConfig,
    MetricsConfig,
)
