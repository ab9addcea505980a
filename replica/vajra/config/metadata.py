"""metadata of a `VajraDeployment`."""

from __future__ import annotations

from pydantic import StrictStr

from vajra.config.base import manifest_class
from vajra.config.options import option

# What a cluster's API server adds to an object: accepted, so that `kubectl get -o yaml` can be read back, and dropped.
SERVER_FIELDS = frozenset(
    {
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "finalizers",
        "generateName",
        "generation",
        "managedFields",
        "ownerReferences",
        "resourceVersion",
        "selfLink",
        "uid",
    }
)


@manifest_class
class ObjectMeta:
    """Name and labels."""

    name: StrictStr = option(
        min_length=1,
        max_length=40,
        pattern="^[a-z]([-a-z0-9]*[a-z0-9])?$",
        allowed="at most 40 lower-case letters, digits and hyphens, first a letter, last no hyphen",
        doc="Name of the deployment. Names of pods and services derive from it.",
    )
    namespace: StrictStr | None = option(default=None, min_length=1, max_length=63, doc="Namespace in the cluster.")
    labels: dict[StrictStr, StrictStr] | None = option(default=None, doc="Labels.")
    annotations: dict[StrictStr, StrictStr] | None = option(default=None, doc="Annotations.")
