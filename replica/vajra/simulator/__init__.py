"""The same scheduling code over predicted time: a cluster on a clock of its own. Pure but for the files it reads."""

from vajra.simulator.arrivals import Arrivals
from vajra.simulator.errors import SimulationError
from vajra.simulator.lengths import Lengths
from vajra.simulator.replica import SimulatedReplica
from vajra.simulator.simulation import Simulation
from vajra.simulator.traces import Trace
from vajra.simulator.workload import Request, SyntheticWorkload, Workload

__all__ = [
    "Arrivals",
    "Lengths",
    "Request",
    "SimulatedReplica",
    "Simulation",
    "SimulationError",
    "SyntheticWorkload",
    "Trace",
    "Workload",
]
