"""What GPUs can do at best, and what the best kernels get of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Device:
    """One accelerator and its links. Peaks are the vendor's data sheets', dense bfloat16."""

    name: str
    flops: float  # per second
    bandwidth: float  # of memory, bytes per second
    memory: float  # bytes
    # What is reached of the peaks:
    matrix_efficiency: float = 0.7  # cuBLAS takes 0.81 on an H100 at 8192^3 (fast.cu); shapes of a layer take less
    attention_efficiency: float = 0.65  # FlashAttention-3 in vLLM: 0.48 at 2k tokens, 0.72 at 32k (vLLM PR 43232)
    bandwidth_efficiency: float = 0.85  # of weights: gpt-fast 0.82; of KV: 0.84 to 0.9 (vLLM PR 43232, FlashMLA)
    kernel_seconds: float = 1.3e-6  # from one kernel to the next in a CUDA graph (Hazy Research, "No Bubbles")
    # All-reduce within a node: time = seconds + bytes / bandwidth, fitted to vLLM PRs 24111 and 24532 (H100, 4 and 8
    # ranks, multimem and two-shot: 0.5 MB 11 us, 1 MB 14, 2 MB 18, 4 MB 27, 16 MB 87).
    all_reduce_seconds: float = 8e-6
    all_reduce_bandwidth: float = 200e9
    # From a pipeline stage to the next: between nodes, one 400 Gb/s adapter for each GPU.
    send_seconds: float = 15e-6
    send_bandwidth: float = 45e9


H100 = Device(name="H100", flops=989e12, bandwidth=3.35e12, memory=80e9)
H200 = Device(name="H200", flops=989e12, bandwidth=4.8e12, memory=141e9)
A100 = Device(  # NVLink of 600 GB/s where the others have 900
    name="A100", flops=312e12, bandwidth=2.04e12, memory=80e9, all_reduce_bandwidth=133e9, send_bandwidth=22e9
)
DEVICES: dict[str, Device] = {device.name: device for device in (H100, H200, A100)}
