"""OpenVINO GenAI's continuous batching: python -m bench.peers.openvino MODEL THREADS BATCH KV, where KV is u8 or bf16.

Its own default keeps keys and values in 8 bits; with bf16 it is like for like. No cache of prefixes.
"""

from __future__ import annotations

import sys

from bench.peers.protocol import Prompts, claim_stdout, serve, timed


def main() -> None:
    """Loads and answers."""
    channel = claim_stdout()
    import numpy as np
    import openvino as ov
    import openvino_genai as genai

    model, threads, batch, kv = sys.argv[1:]
    scheduler = genai.SchedulerConfig()
    scheduler.cache_size = 4
    scheduler.max_num_seqs = int(batch)
    scheduler.max_num_batched_tokens = 8192
    scheduler.dynamic_split_fuse = True
    scheduler.enable_prefix_caching = False
    properties = {"INFERENCE_NUM_THREADS": int(threads), "INFERENCE_PRECISION_HINT": "bf16", "KV_CACHE_PRECISION": kv}
    pipeline = genai.ContinuousBatchingPipeline(model, scheduler, "CPU", properties, {})

    def generate(prompts: Prompts, output: int) -> list[int]:
        config = genai.GenerationConfig()
        config.max_new_tokens = config.min_new_tokens = output
        config.ignore_eos, config.do_sample = True, False
        ids = [ov.Tensor(np.array([prompt], dtype=np.int64)) for prompt in prompts]
        answers = pipeline.generate(ids, [config] * len(prompts))
        return [len(answer.m_generation_ids[0]) for answer in answers]

    serve(channel, f"OpenVINO GenAI {genai.get_version()}", timed(generate))


if __name__ == "__main__":
    main()
