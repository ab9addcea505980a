"""dispatch.v1 on a controller: one stream per sequence, one stream of room."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import grpc

from vajra.dispatch.v1 import dispatch_pb2, dispatch_pb2_grpc
from vajra.replica.controller import LLMBaseReplicaController
from vajra.replica.stream import NotTaken, StreamError

log = logging.getLogger(__name__)

_NOT_TAKEN = (("vajra-not-taken", "1"),)
_STATUS_SECONDS = 5.0  # how long a reader that was cut off has to take its status


class DispatchService(dispatch_pb2_grpc.DispatchServiceServicer):
    """Cancellation, disconnect and the deadline all end `Run` here, by CancelledError: `finally` frees the sequence."""

    def __init__(self, controller: LLMBaseReplicaController) -> None:
        self._controller = controller

    async def Run(self, request: dispatch_pb2.RunRequest, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        """Streams a sequence's tokens; what a reader has not taken merges into one message."""
        try:
            running = self._controller.run(request)
        except StreamError as error:
            await context.abort(error.code, str(error), _NOT_TAKEN if isinstance(error, NotTaken) else ())
        stream = running.stream
        task = asyncio.current_task()
        assert task is not None
        writing = False

        def cut(_: object) -> None:
            if writing:  # the reader takes nothing: flow control holds the write for ever
                task.cancel()

        stream.failed.add_done_callback(cut)
        try:
            while True:
                response = await stream.take()
                writing = True
                await context.write(response)
                writing = False
                if response.HasField("finish"):
                    return
                if request.merge_seconds > 0:
                    await stream.gather(request.merge_seconds)
        except StreamError as error:
            await context.abort(error.code, str(error))
        except asyncio.CancelledError:
            if not (writing and stream.failed.done() and task.uncancel() == 0):
                raise
            cause = stream.failed.result()
            try:
                await asyncio.wait_for(context.abort(cause.code, str(cause)), _STATUS_SECONDS)
            except TimeoutError:
                log.warning("sequence %s: %s; it has not taken its status either", request.sequence_id, cause)
        finally:
            writing = False
            self._controller.release(running)

    async def WatchRoom(
        self, request: dispatch_pb2.WatchRoomRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[dispatch_pb2.WatchRoomResponse]:
        """Streams the room; a slow reader gets the latest."""
        async for room in self._controller.room_streams.watch():
            yield room

    async def GetPrefillTimes(
        self, request: dispatch_pb2.GetPrefillTimesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> dispatch_pb2.GetPrefillTimesResponse:
        """The table that the prioritizer in force goes by."""
        times = self._controller.prefill_times()
        if times is None:
            await context.abort(
                grpc.StatusCode.FAILED_PRECONDITION, "the prioritizer in force does not look at prefill times"
            )
        return times
