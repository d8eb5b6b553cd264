"""The blocking client."""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import Literal, Self, overload

import httpx
import numpy as np
from numpy.typing import NDArray

from libmpc.client.allowed import allowed
from libmpc.client.card import ModelSummary
from libmpc.client.connection import Connection, DeploymentLike
from libmpc.client.evaluating import Evaluating, Score
from libmpc.client.final import Answer
from libmpc.client.many import IN_FLIGHT, Batches, Counted, Part
from libmpc.client.retry import RetryPolicy
from libmpc.client.runner import PausingClock, Runner, begin, each
from libmpc.client.session import Session
from libmpc.client.status import Status, ask_status
from libmpc.tracing import Provider
from libmpc.wire.descriptor import Descriptor


class Client:
    """Asks a deployment for predictions; nobody but this process sees inputs and outputs.

    Thread-safe: threads share its connections. Use it as a context manager, or call ``close``.

    A query is tried again, after growing pauses with jitter and within ``timeout``, when the
    gateway cannot be reached or loses the connection, and when the deployment answers 503 or 429
    and says after how long to retry: ``retries`` times at most. When a party's key or the model has
    changed (409) it fetches what is new and tries again, twice at most. It is not tried again on
    any other answer, and never when an answer fails verification. Every retry is a new sealing with
    new masks. Where a model's requests are limited, a query whose answer was lost on the way may
    have been counted.

    Args:
        deployment: path of a deployment file (or of its directory), or a ``Deployment``; by
            default what the environment variable ``LIBMPC_DEPLOYMENT`` says.
        timeout: seconds for a call, retries and pauses included.
        retries: a number, or a ``RetryPolicy``.
        token: for the gateway; by default from the credential file beside the deployment file.
        clock: a seam for tests.
        transport: a seam for tests and special networks; replaces TLS verification with its own.
        tracing: an OpenTelemetry ``TracerProvider`` to which spans of queries go; by default
            nothing is traced.

    Raises:
        ConfigError: a file is missing, wrong or unsafe.
    """

    def __init__(
        self,
        deployment: DeploymentLike | None = None,
        *,
        timeout: float = 30.0,
        retries: int | RetryPolicy = 3,
        token: str | None = None,
        clock: PausingClock | None = None,
        transport: httpx.BaseTransport | None = None,
        tracing: Provider | None = None,
    ) -> None:
        connection = Connection.open(deployment, token)
        policy = retries if isinstance(retries, RetryPolicy) else RetryPolicy(retries)
        self._runner = Runner(connection, clock, transport)
        self._session = Session(connection, policy, timeout, self._runner.clock, tracing)

    @overload
    def query(
        self, name: str, x: object, *, final: Literal[False] = False
    ) -> NDArray[np.float64]: ...
    @overload
    def query(
        self, name: str, x: object, *, final: bool = ..., output: str | None = ...
    ) -> Answer: ...
    def query(
        self, name: str, x: object, *, final: bool = False, output: str | None = None
    ) -> Answer:
        """Get a model's outputs for a batch, exactly as the fixed-point reference computes them.

        The array is checked before anything of it is sent. One call is one request, whatever its
        batch; ``query_many`` takes more samples than fit into one.

        Args:
            name: the model's.
            x: (batch, *input_shape), real numbers in the model's declared range; up to 16384
                samples and 2^25 values.
            final: return what the model's last activation (softmax, log-softmax, sigmoid, argmax)
                makes of the logits, if it has one; computed here, in floating point.
            output: ``"logits"``; ``"label"``, the index of the largest logit, always that of
                ``numpy.argmax``, computed on shares, so that nobody learns the logits, you
                neither; ``"topk:3"``, the indices of the three largest, in order; or
                ``"scores:8"``, logits rounded down to 8 fraction bits, with ``"scores:8:-4.0:4.0"``
                clipped as well. By default all that the model's owner allows.

        Returns:
            (batch, *output_shape): logits, or with ``final`` probabilities; labels (int64) lack
            the axis of the argmax. With ``output="label"`` int64 (batch,), with ``"topk:K"`` int64
            (batch, K).

        Raises:
            InputError: ``x`` or ``name`` does not fit; says what to do.
            ModelNotFoundError: no model of that name.
            UnavailableError: a party or the gateway is down or too slow, or the model is stopped.
            LimitError: the model's requests are used up, or a queue is full.
            AuthenticationError: the gateway does not accept the token.
            IntegrityError: an answer could not be verified; there is no result.
            ConfigError: the deployment file does not belong to this gateway.
            ServiceError: anything else that the deployment refuses. All errors from
                ``ModelNotFoundError`` to ``IntegrityError`` above are of this class as well.
        """
        return self._runner.run(self._session.query(name, x, final, output))

    def query_many(
        self,
        name: str,
        x: object,
        *,
        final: bool = False,
        output: str | None = None,
        batch_size: int | None = None,
        in_flight: int = IN_FLIGHT,
        progress: Counted | None = None,
    ) -> Answer:
        """Get a model's outputs for any number of samples, as several queries at a time.

        All of the array is checked before anything of it is sent. It may be a memory-mapped file:
        only the batches under way are copied. Each batch is one request and has a try, retries and
        ``timeout`` of its own, as ``query`` has; after an error no other batch is begun.

        Args:
            name: the model's.
            x: (samples, *input_shape), as for ``query`` but for the number of samples.
            final, output: as for ``query``.
            batch_size: samples in one query; by default 128, or fewer where samples are large.
            in_flight: queries at a time.
            progress: called with (samples answered, samples in all), from any thread.

        Returns:
            (samples, *output_shape), in the order of ``x``; as ``query``.

        Raises:
            LibmpcError: as ``query``; the text begins with the samples that it is about.
            ConflictError: the model was replaced before all batches were answered.
            ValueError: a batch without samples, or nothing in flight.
        """
        descriptor = self.describe(name)
        allowed(descriptor, output, final)
        batches = Batches(descriptor, x, batch_size, progress)

        def one(part: Part) -> None:
            query = self._session.query(name, part.x, final, output, batches.model)
            batches.put(part, self._runner.run(query))

        each(batches, one, in_flight)
        return batches.result()

    def evaluate(
        self,
        name: str,
        images: object,
        labels: object,
        *,
        confusion: bool = False,
        cells: Iterable[tuple[int, int]] | None = None,
        batch_size: int | None = None,
        in_flight: int = IN_FLIGHT,
        progress: Counted | None = None,
    ) -> Score:
        """Count how many samples a model classifies as labelled; nobody learns which.

        Images and labels go to the evaluators as shares. The index of the largest logit and
        whether it is the label are computed on shares, which are added up there; only the sum
        comes back, for you alone, and is exactly what ``numpy.argmax`` of the reference gives.

        All is checked before anything is sent. Each batch has a try, retries and ``timeout`` of
        its own; one that is lost is sent again. The whole is one request. The evaluators drop the
        sums ten minutes after the last batch that came, and when they are restarted.

        Args:
            name: the model's.
            images: (samples, *input_shape), as for ``query_many``.
            labels: (samples,), whole numbers from 0 to the number of classes − 1.
            confusion: ask for the whole matrix: how often each label was answered with each index.
            cells: ask for these (label, index) of the matrix only, and for nothing else.
            batch_size, in_flight, progress: as for ``query_many``.

        Returns:
            the count; or the matrix, if one was asked for.

        Raises:
            InputError: something does not fit, or the model's owner does not allow it.
            ConflictError: the evaluation was dropped, or the model replaced: begin again.
            LibmpcError: as ``query_many``.
            ValueError: as ``query_many``.
        """
        evaluating = Evaluating(
            self.describe(name), images, labels, confusion, cells, batch_size, progress
        )

        def one(part: Part) -> None:
            self._runner.run(evaluating.send(self._session, name, part))

        begin(evaluating.batches, one, in_flight)
        each(evaluating.batches, one, in_flight)
        return self._runner.run(evaluating.collect(self._session, name))

    def describe(self, name: str) -> Descriptor:
        """A model's descriptor (shapes, range, digest), as both evaluators have signed it.

        Raises:
            ServiceError: as for ``query``.
        """
        return self._runner.run(self._session.describe(name))

    def models(self) -> list[ModelSummary]:
        """The models that the gateway lists, with their state. Nobody has signed this list.

        Raises:
            ServiceError: as for ``query``.
        """
        return self._runner.run(self._session.models())

    def status(self) -> Status:
        """What the gateway and the parties say of themselves, this moment; see ``Status``.

        Nobody has signed this; nothing should be decided by it. It is asked for once, without
        retries. A client's token sees its own models only, and not how much others ask.

        Raises:
            ServiceError: the gateway cannot be reached, or is older than this.
        """
        return self._runner.run(ask_status(self._session))

    def close(self) -> None:
        """Close all connections."""
        self._runner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client(gateway={self._session.gateway!r})"
