"""The programs that Vajra is measured beside: how they are installed, and one runner for each, in its own environment."""
