"""Prompts of many kinds: chat, prose, code, lists, numbers, other languages and scripts."""

PROMPTS = (
    "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n",
    "<|im_start|>user\nWrite a short poem about the sea.<|im_end|>\n<|im_start|>assistant\n",
    "<|im_start|>system\nYou answer in one word.<|im_end|>\n<|im_start|>user\nIs water wet?<|im_end|>\n"
    "<|im_start|>assistant\n",
    "def fibonacci(n: int) -> int:\n    ",
    "#include <vector>\n\nint main() {\n  std::vector<int> v",
    "SELECT name, COUNT(*) FROM orders WHERE",
    '{"name": "vajra", "version": "0.1.0", "dependencies": {',
    "Once upon a time, in a village at the foot of a mountain,",
    "The three laws of thermodynamics are",
    "To make a good loaf of bread, you need the following: 1.",
    "12, 15, 18, 21, 24, 27,",
    "Q: If a train travels 60 miles in 45 minutes, what is its speed in miles per hour?\nA:",
    "Le chat est assis sur la table et",
    "Der Zug nach Berlin fährt um",
    "El niño corrió hacia la playa porque",
    "今日はとても天気がいいので、",
    "Москва является столицей",
    "| Planet | Moons |\n|---|---|\n| Mercury | 0 |\n| Earth |",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "In 1969, Neil Armstrong",
    "Dear Sir or Madam,\n\nI am writing to complain about 🚲 🚲 🚲",
)
