"""Live settings of a gateway: put in force as one transaction, over all that it answers for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Protocol

import grpc

from vajra.config import LiveSettings, UpdateRefused, VajraDeployment, changed_fields
from vajra.config.options import Scope
from vajra.config.table import row_by_path
from vajra.gateway.gateway import Gateway
from vajra.gateway.local_replicas import LocalReplicas
from vajra.gateway.replica_link import ReplicaLink


class Changes(Protocol):
    """Who puts live settings in force."""

    settings: LiveSettings

    @property
    def notices(self) -> Sequence[str]:
        """Lines of those that change with the gateway."""

    async def update(self, generation: int, spec_json: str, *, validate_only: bool) -> None:
        """See LiveSettings.update; the same errors."""


class GatewayChanges:
    """In a cluster a gateway answers for itself alone: the operator tells each pod."""

    notices: Sequence[str] = ()

    def __init__(self, gateway: Gateway, settings: LiveSettings) -> None:
        self.settings = settings
        self._gateway = gateway

    async def update(self, generation: int, spec_json: str, *, validate_only: bool) -> None:
        """The gateway's own."""
        self.settings.update(generation, spec_json, self._gateway.prepare, validate_only=validate_only)


class LocalChanges:
    """On one machine the gateway and its replicas change together: all of them validate first, and a replica that
    starts again starts with the new settings."""

    def __init__(self, gateway: Gateway) -> None:
        """`gateway` is one whose replicas run here."""
        self.settings = LiveSettings(gateway.deployment)
        self._gateway = gateway
        self._turn = asyncio.Lock()  # one change after the other

    @property
    def notices(self) -> Sequence[str]:
        """The replicas', each once."""
        return list(dict.fromkeys(notice for link in self._gateway.replicas for notice in link.notices))

    async def change(self, deployment: VajraDeployment) -> int:
        """Puts a deployment that differs in live fields only in force; its generation."""
        spec = json.dumps(deployment.to_dict()["spec"])
        await self.update(self.settings.generation + 1, spec, validate_only=False)
        return self.settings.generation

    async def update(self, generation: int, spec_json: str, *, validate_only: bool) -> None:
        """Of all. Raises what LiveSettings.update raises, and UpdateRefused where a replica cannot take it over."""
        async with self._turn:
            self.settings.update(generation, spec_json, self._prepare, validate_only=True)
            await self._tell(generation, spec_json, validate_only=True)
            if validate_only:
                return
            self.settings.update(generation, spec_json, self._prepare)
            assert isinstance(self._gateway.source, LocalReplicas)
            self._gateway.source.adopt(self.settings.deployment)
            await self._tell(generation, spec_json, validate_only=False)
            await asyncio.gather(*(link.read_notices() for link in self._gateway.replicas))

    def _prepare(self, deployment: VajraDeployment) -> Callable[[], None]:
        """The gateway's part. Raises UpdateRefused for what nobody here would act on."""
        for change in changed_fields(self.settings.deployment.spec, deployment.spec):
            if change.path == "spec.replicas":
                raise UpdateRefused("spec.replicas: local replicas are as many as were started; serve again with more")
            if row_by_path()[change.path].scope is Scope.CLUSTER:
                raise UpdateRefused(f"{change.path} is for the cluster's operator; nobody acts on it here")
        return self._gateway.prepare(deployment)

    async def _tell(self, generation: int, spec_json: str, *, validate_only: bool) -> None:
        links: Sequence[ReplicaLink] = self._gateway.replicas
        calls = [link.update_config(generation, spec_json, validate_only=validate_only) for link in links]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        faults = [
            f"replica {link.name}: {_said(answer)}"
            for link, answer in zip(links, answers, strict=True)
            if isinstance(answer, Exception) and (validate_only or link.connected)  # one that is gone starts with it
        ]
        if faults:
            raise UpdateRefused("; ".join(faults))


def _said(error: Exception) -> str:
    return (error.details() or error.code().name) if isinstance(error, grpc.aio.AioRpcError) else str(error)
