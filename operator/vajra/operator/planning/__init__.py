"""The pure half: from what is observed to what must be done. Nothing here talks to anyone."""

from vajra.operator.planning.planner import plan

__all__ = ["plan"]
