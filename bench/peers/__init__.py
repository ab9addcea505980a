"""The programs that Vajra is measured beside: how they are installed, and a runner for each."""
