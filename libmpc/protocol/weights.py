"""Sharing a network's weights: masks from two seeds, so that the dealer's share is 64 bytes.

1. The owner picks seeds 0 and 1, fresh at every push; λ_Wj of every linear step comes from seed j.
2. m_W = W + λ_W0 + λ_W1 goes to parties 0 and 1, seed j to party j, both seeds to party 2.
3. Biases are additive at scale 2^32: [b]_0 from seed 0, [b]_1 = b − [b]_0 to party 1.

Payloads, ring elements in six bytes; a step that only adds a bias has no m_W:

    party 0: seed 0 | m_W of each linear step in order
    party 1: seed 1 | m_W of each linear step in order | [b]_1 of each linear step in order
    party 2: seed 0 | seed 1
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from libmpc.errors import ModelError
from libmpc.graph.plan import BiasStep, LinearStep, Plan
from libmpc.prg import SEED_BYTES, Stream, seed_stream
from libmpc.protocol.linear import pack_weights
from libmpc.protocol.purposes import Purpose
from libmpc.ring.matmul import Matrix
from libmpc.ring.packing import BYTES, pack, unpack

Ring = NDArray[np.uint64]
EncodedWeights = Mapping[int, tuple[Ring, Ring]]
"""By linear step: W at scale 2^16 and b at scale 2^32; W is empty where a step has none."""
_LABEL = b"libmpc weights v1"


@dataclass(frozen=True, repr=False)
class WeightShares:
    """The three payloads; each is secret from the other two parties."""

    party0: bytes
    party1: bytes
    party2: bytes

    def __repr__(self) -> str:
        return f"WeightShares(bytes={len(self.party0)}, {len(self.party1)}, {len(self.party2)})"

    def __getitem__(self, party: int) -> bytes:
        """The payload of one party."""
        return (self.party0, self.party1, self.party2)[party]


@dataclass(frozen=True, eq=False, repr=False)
class LinearWeights:
    """An evaluator's half of one linear step, ready for products (``linear.pack_weights``).

    Attributes:
        masked: m_W, ``weight_shape``; empty where the step has no weights.
        factor: what m_x is multiplied with online: m_W − λ_W0 at party 0, −λ_W1 at party 1.
        bias: [b]_j, ``bias_shape``.
    """

    masked: Matrix
    factor: Matrix
    bias: Ring

    def __repr__(self) -> str:
        return f"LinearWeights(shape={self.masked.shape})"


def share_weights(plan: Plan, weights: EncodedWeights, seed0: bytes, seed1: bytes) -> WeightShares:
    """Split encoded weights: W (``weight_shape``) at scale 2^16, b (``bias_shape``) at 2^32.

    Args:
        seed0: 32 fresh random bytes, never used for another push.
        seed1: the same, and independent of ``seed0``.

    Raises:
        ModelError: the arrays do not fit the plan.
    """
    _check(plan, weights)
    stream0, stream1 = seed_stream(seed0, _LABEL), seed_stream(seed1, _LABEL)
    party0, party1, biases = bytearray(seed0), bytearray(seed1), bytearray()
    for index, step in plan.linear_steps.items():
        values, bias = weights[index]
        masks = _weight_mask(index, step, stream0)
        masks += _weight_mask(index, step, stream1)
        part = pack(values.reshape(masks.shape) + masks)
        party0 += part
        party1 += part
        biases += pack(bias - _bias0(index, step, stream0))
    return WeightShares(bytes(party0), bytes(party1 + biases), seed0 + seed1)


@dataclass(frozen=True, eq=False, repr=False)
class EvaluatorWeights:
    """What party 0 or 1 holds of a network, ready for use, by linear step."""

    party: int
    steps: Mapping[int, LinearWeights]

    def __repr__(self) -> str:
        return f"EvaluatorWeights(party={self.party}, steps={list(self.steps)})"

    @classmethod
    def from_payload(cls, plan: Plan, party: int, payload: bytes | memoryview) -> EvaluatorWeights:
        """Parse the payload of party 0 or 1.

        Raises:
            ModelError: its length is not the one that the plan asks for.
        """
        if party not in (0, 1):
            raise ValueError("evaluators are parties 0 and 1")
        if len(payload) != payload_bytes(plan, party):
            raise ModelError("the share of the weights does not have the plan's size; push again")
        view = memoryview(payload)
        stream = seed_stream(bytes(view[:SEED_BYTES]), _LABEL)
        at = SEED_BYTES
        bias_at = at + BYTES * sum(_weights(step) for step in plan.linear_steps.values())
        steps: dict[int, LinearWeights] = {}
        for index, step in plan.linear_steps.items():
            count = _weights(step)
            masked = unpack(view[at : at + BYTES * count], count).reshape(_weight_shape(step))
            at += BYTES * count
            factor = _weight_mask(index, step, stream)
            if party == 0:
                np.subtract(masked, factor, out=factor)
                bias = _bias0(index, step, stream)
            else:
                np.negative(factor, out=factor)
                count = math.prod(step.bias_shape)
                bias = unpack(view[bias_at : bias_at + BYTES * count], count)
                bias_at += BYTES * count
            steps[index] = LinearWeights(
                _ready(step, masked), _ready(step, factor), bias.reshape(step.bias_shape)
            )
        return cls(party, steps)


@dataclass(frozen=True, eq=False, repr=False)
class DealerWeights:
    """What party 2 holds of a network: λ_W = λ_W0 + λ_W1 by linear step, ready for products."""

    masks: Mapping[int, Matrix]

    def __repr__(self) -> str:
        return f"DealerWeights(steps={list(self.masks)})"

    @classmethod
    def from_payload(cls, plan: Plan, payload: bytes | memoryview) -> DealerWeights:
        """Parse the payload of party 2.

        Raises:
            ModelError: it does not have 64 bytes.
        """
        if len(payload) != payload_bytes(plan, 2):
            raise ModelError("the dealer's share of the weights is two seeds; push again")
        seeds = (bytes(payload[:SEED_BYTES]), bytes(payload[SEED_BYTES:]))
        stream0, stream1 = (seed_stream(seed, _LABEL) for seed in seeds)
        masks: dict[int, Matrix] = {}
        for index, step in plan.linear_steps.items():
            mask = _weight_mask(index, step, stream0)
            mask += _weight_mask(index, step, stream1)
            masks[index] = _ready(step, mask)
        return cls(masks)


def payload_bytes(plan: Plan, party: int) -> int:
    """Bytes of one party's payload."""
    if party == 2:
        return 2 * SEED_BYTES
    steps = plan.linear_steps.values()
    biases = sum(math.prod(step.bias_shape) for step in steps) if party == 1 else 0
    return SEED_BYTES + BYTES * (sum(map(_weights, steps)) + biases)


def _weight_shape(step: LinearStep) -> tuple[int, ...]:
    return (0,) if step.weight_shape is None else step.weight_shape


def _weights(step: LinearStep) -> int:
    return math.prod(_weight_shape(step))


def _weight_mask(index: int, step: LinearStep, stream: Stream) -> Ring:
    shape = _weight_shape(step)
    return stream.words(index, Purpose.WEIGHT_MASK, math.prod(shape)).reshape(shape)


def _ready(step: LinearStep, weights: Ring) -> Matrix:
    return weights if isinstance(step, BiasStep) else pack_weights(step, weights)


def _bias0(index: int, step: LinearStep, stream0: Stream) -> Ring:
    count = math.prod(step.bias_shape)
    return stream0.words(index, Purpose.BIAS, count).reshape(step.bias_shape)


def _check(plan: Plan, weights: EncodedWeights) -> None:
    if set(weights) != set(plan.linear_steps):
        raise ModelError("the weights do not belong to this plan: other linear steps")
    for index, step in plan.linear_steps.items():
        values, bias = weights[index]
        expected = (_weight_shape(step), step.bias_shape)
        if (values.shape, bias.shape) != expected:
            raise ModelError(f"step {index} takes weights and bias of shapes {expected}")
        if values.dtype != np.uint64 or bias.dtype != np.uint64:
            raise ModelError(f"step {index}: encode weights and bias to uint64 first")
