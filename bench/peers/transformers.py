"""transformers' generate over one static batch: python -m bench.peers.transformers MODEL THREADS BATCH."""

from __future__ import annotations

import sys

from bench.peers.protocol import Prompts, claim_stdout, serve, timed


def main() -> None:
    """Loads and answers."""
    channel = claim_stdout()
    import torch
    import transformers

    folder, threads, _batch = sys.argv[1:]
    torch.set_num_threads(int(threads))
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.bfloat16, attn_implementation="sdpa"
    ).eval()
    model.generation_config.eos_token_id = None
    model.generation_config.pad_token_id = 2

    def generate(prompts: Prompts, output: int) -> list[int]:
        ids = torch.tensor(prompts)
        with torch.inference_mode():
            answers = model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=output,
                min_new_tokens=output,
                do_sample=False,
                use_cache=True,
            )
        return [answers.shape[1] - ids.shape[1]] * len(answers)

    serve(channel, f"transformers {transformers.__version__}", timed(generate))


if __name__ == "__main__":
    main()
