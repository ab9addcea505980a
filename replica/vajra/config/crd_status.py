"""The schema of a VajraDeployment's status: what the operator reports."""

from __future__ import annotations

from typing import Any


def status_schema() -> dict[str, Any]:
    """The schema of `status`. Nothing in it is required but what makes a condition one."""
    return _object(
        "What the operator reports.",
        observedGeneration=_count("Generation of the spec that this status speaks of."),
        replicas=_count("Replicas that exist, ready or not."),
        readyReplicas=_count("Replicas that have decoded a step and take requests."),
        updatedReplicas=_count("Replicas of the update revision."),
        availableReplicas=_count("Replicas that serve, of any revision."),
        readySummary=_text("Ready replicas of those asked for, as in 2/3."),
        selector=_text("Label selector of the replicas' leaders, for autoscalers."),
        gpus=_count("GPUs that the replicas hold."),
        accelerator=_text("What the engine runs on: GPU or CPU."),
        currentRevision=_text("Revision that was last rolled out completely."),
        updateRevision=_text("Revision of the spec."),
        endpoint=_object(
            "Addresses in the cluster.",
            grpc=_text("host:port of the gRPC API."),
            openAI=_text("Base URL of the OpenAI API; absent where spec.networking.openAIPort is unset."),
        ),
        resolved=_object(
            "What the spec leaves to the operator.",
            controller=_text("Base or PipelineParallel."),
            worldSize=_count("Ranks of a replica."),
            podsPerReplica=_count("Pods of a replica."),
            gpusPerPod=_count("Ranks of a pod."),
            configMapName=_text("ConfigMap with the revisions and the live settings."),
        ),
        capacity=_object(
            "What one replica can hold.",
            kvBlocks=_count("Blocks of its KV cache."),
            kvTokens=_count("Tokens of its KV cache."),
            maxConcurrentSequences=_count("Sequences at a time."),
        ),
        notices=_list("What a user should know of what runs.", _text("A line.")),
        pendingChange=_object(
            "What differs between the spec and what runs.",
            impact=_text("Live: being taken over. Recreate: pods start again for it."),
            fields=_list("Paths of the fields.", _text("Path of a field.")),
        ),
        startup=_object(
            "How the latest start of a replica went.",
            totalSeconds=_seconds("From the pod's creation to its first decoded step."),
            stages=_list(
                "Its stages in order.",
                _object("A stage.", name=_text("Name of the stage."), seconds=_seconds("How long it took.")),
            ),
        ),
        recovery=_object(
            "Faults and what was done about them.",
            workerRestarts=_count("Restarts of workers in place."),
            groupRestarts=_count("Restarts of whole replicas."),
            groups=_list(
                "Replicas that were started again.",
                _object(
                    "A replica.",
                    replica=_count("Index of the replica."),
                    revision=_text("Revision for which the restarts are counted."),
                    restarts=_count("Restarts counted against spec.recovery.groupRestartLimit."),
                    workerRestarts=_count("Restarts of workers in place."),
                    podUID=_text("Pod of which faults have been counted."),
                    lastRestartTime=_time("Time of the last restart."),
                ),
            ),
            lastFault=_object(
                "The last fault.",
                reason=_text("Kind of the fault."),
                time=_time("When it was seen."),
                replica=_count("Index of the replica."),
                rank=_count("Rank of the worker, where one is at fault."),
                nodeName=_text("Node of the pod."),
                action=_text("What was done about it."),
                message=_text("What was seen."),
            ),
        ),
        revisions=_list(
            "Revisions kept for undo, newest last.",
            _object(
                "A revision.",
                name=_text("Name of the revision."),
                hash=_text("Hash of all that takes new pods, and of the image."),
                generation=_count("Generation of the spec that it was made for."),
                createdTime=_time("When it was made."),
            ),
        ),
        conditions=_conditions(),
    )


def _conditions() -> dict[str, Any]:
    condition = _object(
        "A condition.",
        type=_text("Accepted, Ready, Available, Progressing, Degraded, ConfigApplied or Suspended.", maxLength=316),
        status=_text("True, False or Unknown.", enum=["True", "False", "Unknown"]),
        observedGeneration=_count("Generation of the spec that it speaks of."),
        lastTransitionTime=_time("When its status last changed."),
        reason=_text(
            "Why, in one word.", minLength=1, maxLength=1024, pattern="^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"
        ),
        message=_text("Why, in a sentence.", maxLength=32768),
    )
    condition["required"] = ["type", "status", "lastTransitionTime", "reason", "message"]
    conditions = _list("State in the terms of Kubernetes.", condition)
    return conditions | {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}


def _object(description: str, **properties: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "type": "object", "properties": properties}


def _list(description: str, items: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "type": "array", "items": items, "x-kubernetes-list-type": "atomic"}


def _text(description: str, **limits: Any) -> dict[str, Any]:
    return {"description": description, "type": "string", **limits}


def _count(description: str) -> dict[str, Any]:
    return {"description": description, "type": "integer"}


def _seconds(description: str) -> dict[str, Any]:
    return {"description": f"{description} In seconds.", "type": "number"}


def _time(description: str) -> dict[str, Any]:
    return {"description": description, "type": "string", "format": "date-time"}
