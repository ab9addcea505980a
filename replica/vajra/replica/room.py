"""The room streams: what may be sent to this replica, to all who watch."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from vajra.dispatch.v1 import dispatch_pb2
from vajra.replica.signals import Signal


class RoomStreams:
    """Each reader gets the room at once, and again whenever it has changed; a slow one skips to the latest."""

    def __init__(self, room: Callable[[], dispatch_pb2.WatchRoomResponse]) -> None:
        """`room` is asked for the room of the moment."""
        self._room = room
        self._changed = Signal()
        self._ended = False

    def changed(self) -> None:
        """The room may be another one now."""
        self._changed.send()

    def end(self) -> None:
        """Ends every stream, for they never end by themselves."""
        self._ended = True
        self._changed.send()

    async def watch(self) -> AsyncIterator[dispatch_pb2.WatchRoomResponse]:
        """One reader's stream."""
        last: dispatch_pb2.WatchRoomResponse | None = None
        while not self._ended:
            changed = self._changed.next
            room = self._room()
            if room != last:
                last = room
                yield room
            else:
                await changed.wait()
