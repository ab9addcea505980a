"""What this version does with a deployment: refuses what it lacks, names what it leaves aside on one machine."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator
from typing import Any

from vajra.config.deployment import VajraDeployment
from vajra.config.errors import ConfigError, ConfigErrors
from vajra.config.options import Scope
from vajra.config.spec.model import ModelSection
from vajra.config.spec.root import VajraDeploymentSpec
from vajra.config.table import Row, rows


def check_supported(
    deployment: VajraDeployment, *, accelerators: Collection[str] = ("CPU",), in_cluster: bool = False
) -> list[ConfigError]:
    """What the deployment asks for and this version does not implement: empty when it can be served here.

    `accelerators` are the devices that the build and the machine, or the cluster, have.
    """
    spec = deployment.spec
    errors = [
        _refusal(row, row.value(spec))
        for row in _set_rows(spec)
        if not _is_implemented(row, row.value(spec), in_cluster=in_cluster)
    ]
    if spec.replicas == 0 and not in_cluster:
        errors.append(ConfigError("spec.replicas", 0, "at least 1 outside a cluster"))
    device = spec.resources.accelerator.type
    if device not in accelerators:
        hint = "this build or machine has no other device; say resources: {accelerator: {type: CPU}}"
        errors.append(ConfigError("spec.resources.accelerator.type", device, ", ".join(accelerators), hint))
    elif device == "GPU" and spec.worker.execution_backend == "Native":
        hint = "the native engine of this version runs on CPUs"
        errors.append(ConfigError("spec.worker.executionBackend", "Native", "Python with accelerator GPU", hint))
    return [*errors, *_quantization_faults(spec)]


def require_supported(
    deployment: VajraDeployment, *, accelerators: Collection[str] = ("CPU",), in_cluster: bool = False
) -> None:
    """Raises ConfigError naming all that `check_supported` finds."""
    errors = check_supported(deployment, accelerators=accelerators, in_cluster=in_cluster)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise ConfigErrors(errors)


def _quantization_faults(spec: VajraDeploymentSpec) -> Iterator[ConfigError]:
    path, kind, dtype = "spec.model.quantization", spec.model.quantization, spec.model.dtype
    if kind == "None":
        return
    if dtype not in ("BFloat16", "Auto"):
        hint = "its products are taken in bfloat16; say dtype: BFloat16"
        yield ConfigError(path, kind, f"None with dtype {dtype}", hint)
    if spec.worker.execution_backend != "Native":
        yield ConfigError(path, kind, "None with executionBackend Python", "only the native engine quantizes")


def local_notices(deployment: VajraDeployment) -> list[str]:
    """One line for each setting that differs from its default and that only the operator acts on."""
    return [
        f"{row.path} is for the cluster's operator and has no effect here" + (f": {row.advice}" if row.advice else "")
        for row in _set_rows(deployment.spec)
        if row.scope is Scope.CLUSTER and _is_implemented(row, row.value(deployment.spec), in_cluster=False)
    ]


def _set_rows(spec: VajraDeploymentSpec) -> Iterator[Row]:
    """The rows that differ from a deployment of a model alone; of an optional section only the section."""
    defaults = _defaults()
    above: str | None = None
    for row in rows():
        value = row.value(spec)
        if value is None or value == row.value(defaults) or (above and row.path.startswith(above)):
            continue
        if not row.is_section:
            yield row
        elif row.value(defaults) is None and not row.is_member:
            above = f"{row.path}."
            yield row


@functools.cache
def _defaults() -> VajraDeploymentSpec:
    return VajraDeploymentSpec(model=ModelSection(name="any"))


def _is_implemented(row: Row, value: Any, *, in_cluster: bool) -> bool:
    option = row.field.option
    if option.implemented is None:
        return True
    return value in option.implemented or (in_cluster and value in option.in_cluster)


def _refusal(row: Row, value: Any) -> ConfigError:
    allowed = ", ".join(_shown(known) for known in row.field.option.implemented or () if known is not None)
    problem = "is not implemented" if row.is_section else f"{_shown(value)} is not implemented"
    return ConfigError(row.path, value, allowed or "leave it out", row.advice, problem=problem)


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
