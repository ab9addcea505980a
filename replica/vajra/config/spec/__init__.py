"""The sections of a `VajraDeployment`'s spec, in the manifest's shape and limits."""
