"""The OpenAI face: /v1/models, /v1/completions, /v1/chat/completions, and /health and /metrics beside them."""
