"""How the operator does with hundreds of VajraDeployments on a real API server: `python -m bench.scale --help`."""
