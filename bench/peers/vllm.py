"""vLLM's CPU build, its engine in this process: python -m bench.peers.vllm MODEL THREADS BATCH.

The engine in a process of its own, vLLM's default, competes with it for few cores. No cache of prefixes.
"""

from __future__ import annotations

import sys

from bench.peers.protocol import Prompts, claim_stdout, serve, timed


def main() -> None:
    """Loads and answers."""
    channel = claim_stdout()
    import vllm
    from vllm import LLM, SamplingParams
    from vllm.inputs import TokensPrompt

    model, _threads, batch = sys.argv[1:]  # threads are bound by the environment
    llm = LLM(
        model=model,
        dtype="bfloat16",
        max_model_len=8192,
        max_num_seqs=int(batch),
        max_num_batched_tokens=8192,
        enable_prefix_caching=False,
        disable_log_stats=True,
    )

    def generate(prompts: Prompts, output: int) -> list[int]:
        sampling = SamplingParams(temperature=0, ignore_eos=True, max_tokens=output, detokenize=False)
        answers = llm.generate([TokensPrompt(prompt_token_ids=p) for p in prompts], sampling, use_tqdm=False)
        return [len(answer.outputs[0].token_ids) for answer in answers]

    serve(channel, f"vLLM {vllm.__version__}", timed(generate))


if __name__ == "__main__":
    main()
