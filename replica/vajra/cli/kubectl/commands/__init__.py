"""The commands: they ask the cluster, and print."""
