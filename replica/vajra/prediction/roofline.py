"""An analytic predictor: what a step must take by the device's peaks and what kernels are known to reach of them.

Nothing here was measured by this project. It says how layouts and policies compare, and is good for a first plan; for
deadlines on a machine at hand there are profiles. Costs are added up as if nothing overlaps: products with the weights
(the slower of computing and reading), attention of each prefill chunk (the same), attention of all decodes (reading),
logits, all-reduces, pipeline transfers and the launches of kernels.
"""

from __future__ import annotations

from vajra.prediction.devices import Device
from vajra.prediction.shapes import Shape, layer_elements

_BYTES = 2  # of an element, bfloat16
_KERNELS_PER_LAYER = 7


class RooflinePredictor:
    """Predicts the steps of one replica of `tensor` x `pipeline` devices (vajra.scheduling.Predictor). Pure."""

    def __init__(self, shape: Shape, device: Device, *, tensor: int = 1, pipeline: int = 1) -> None:
        """Raises ValueError for a layout that the model's heads or layers do not divide into."""
        if shape.num_kv_heads % tensor or shape.num_heads % tensor:
            heads = f"{shape.num_heads} heads and {shape.num_kv_heads} KV heads"
            raise ValueError(f"{heads} do not divide into {tensor} tensor ranks")
        if shape.num_layers % pipeline:
            raise ValueError(f"{shape.num_layers} layers do not divide into {pipeline} pipeline stages")
        self.name = f"analytic roofline of {device.name}, tensor {tensor}, pipeline {pipeline}"
        layers, matrix_bytes = shape.num_layers, layer_elements(shape) * shape.num_layers * _BYTES / tensor
        compute = device.flops * device.matrix_efficiency
        reading = device.bandwidth * device.bandwidth_efficiency
        head_bytes = shape.vocab_size * shape.hidden_size * _BYTES / tensor
        kv_bytes = 2 * shape.num_kv_heads * shape.head_dim * layers * _BYTES / tensor  # of a token
        # Seconds, and seconds per token unless another unit is said:
        self._matrices_read = matrix_bytes / reading
        self._matrices_computed = matrix_bytes / compute  # 2 flops for each element of 2 bytes
        self._head_read = head_bytes / reading
        self._head_computed = head_bytes / compute
        self._kv_read = kv_bytes / reading
        pairs = (
            4 * shape.num_heads * shape.head_dim * layers / tensor
        )  # flops of a query token and one token of context
        self._pair = pairs / (device.flops * device.attention_efficiency)
        hidden_bytes = shape.hidden_size * _BYTES
        self._per_token = (pipeline - 1) * hidden_bytes / device.send_bandwidth / tensor
        self._per_step = layers * _KERNELS_PER_LAYER * device.kernel_seconds + (pipeline - 1) * device.send_seconds
        if tensor > 1:
            self._per_token += 2 * layers * hidden_bytes / device.all_reduce_bandwidth
            self._per_step += 2 * layers * device.all_reduce_seconds

    def batch(self) -> RooflineBatch:
        """An empty batch."""
        return RooflineBatch(self)

    @property
    def scale(self) -> float:
        """1: peaks are what they are."""
        return 1.0


class RooflineBatch:
    """The time of one batch under composition, as sums that grow (vajra.scheduling.BatchTime)."""

    __slots__ = ("_attention", "_p", "_rows", "_tokens")

    def __init__(self, predictor: RooflinePredictor) -> None:
        self._p = predictor
        self._tokens = 0
        self._rows = 0  # logits
        self._attention = 0.0

    @property
    def seconds(self) -> float:
        """The whole step; 0 for nothing."""
        return self._seconds(self._tokens, self._rows, self._attention)

    def add_decodes(self, count: int, context: int) -> None:
        """`count` queries of one token over `context` tokens together."""
        self._tokens += count
        self._rows += count
        self._attention += self._p._kv_read * context

    def add_chunk(self, num_query: int, context: int, samples: bool) -> None:
        """A prefill chunk."""
        self._tokens += num_query
        self._rows += samples
        self._attention += self._chunk(num_query, context)

    def with_chunk(self, num_query: int, context: int, samples: bool) -> float:
        """`seconds` after `add_chunk` of the same."""
        attention = self._attention + self._chunk(num_query, context)
        return self._seconds(self._tokens + num_query, self._rows + samples, attention)

    def observe(self, actual: float) -> None:
        """Nothing is learnt."""

    def _chunk(self, num_query: int, context: int) -> float:
        p = self._p
        computed = num_query * (context + 0.5 * (num_query + 1)) * p._pair
        read = (context + num_query) * p._kv_read
        return computed if computed > read else read

    def _seconds(self, tokens: int, rows: int, attention: float) -> float:
        if not tokens:
            return 0.0
        p = self._p
        computed = tokens * p._matrices_computed
        seconds = p._per_step + tokens * p._per_token + attention
        seconds += computed if computed > p._matrices_read else p._matrices_read
        if rows:
            computed = rows * p._head_computed
            seconds += computed if computed > p._head_read else p._head_read
        return seconds
