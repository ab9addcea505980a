"""Words that several commands use."""


def count(number: int, noun: str) -> str:
    """`1 replica`, `2 replicas`."""
    return f"{number} {noun}" + ("" if number == 1 else "s")
