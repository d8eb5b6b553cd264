"""How fast a machine works: the constants behind ``forecast``, all in one place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Machine:
    """One core of a machine, and what a query costs beside its arithmetic. All in seconds.

    Attributes:
        name: which machine this was measured on.
        cores: that a service has for itself.
        mac: one multiplication in a matrix product or a convolution.
        online_byte: an evaluator's other arithmetic, for each byte that it sends in rounds.
        prepared_byte: preparing, for each byte of a prepared bundle.
        dealt_byte: dealing, for each byte that goes to party 1.
        sent_byte: sealing, sending and opening one byte of a round, at each of both parties.
        bulk_byte: the same for masks, which go in long records.
        round: one round, beside the way there and the bytes.
        round_cpu: what of it each evaluator computes.
        query: a query outside of its rounds: client, gateway, envelopes, one hand-over each.
        image: what each of its images adds there; and what refilling the pool takes away meanwhile.
        query_cpu: what of it each evaluator computes.
        open_cpu: what each evaluator computes for every further query in a run, which has envelopes
            of its own.
        gateway_cpu: what the gateway computes for a query, whatever its images.
        client_cpu: what the client does.
        shared: the part of shared cores' time that does such work, where five processes and the
            client wait for each other.
    """

    name: str
    cores: int
    mac: float
    online_byte: float
    prepared_byte: float
    dealt_byte: float
    sent_byte: float
    bulk_byte: float
    round: float
    round_cpu: float
    query: float
    image: float
    query_cpu: float
    open_cpu: float
    gateway_cpu: float
    client_cpu: float
    shared: float


#: ``python -m benchmarks.calibrate`` prints these for another machine; ``sent_byte`` apart, which
#: is from two processes that exchange 1 and 20 kB over TLS; ``round`` and ``query``, which are from
#: ``make bench`` on two networks with different numbers of rounds; and
#: ``bulk_byte``, ``open_cpu``, ``gateway_cpu``, ``client_cpu`` and ``shared``, from its processor
#: times and rates
MEASURED = Machine(
    name="2 shared cores of an AMD EPYC, Python 3.11",
    cores=1,
    mac=0.085e-9,
    online_byte=2.2e-9,
    prepared_byte=0.19e-9,
    dealt_byte=0.78e-9,
    sent_byte=3.4e-9,
    bulk_byte=0.95e-9,
    round=0.30e-3,
    round_cpu=0.14e-3,
    query=4.2e-3,
    image=0.48e-3,
    query_cpu=2.2e-3,
    open_cpu=0.5e-3,
    gateway_cpu=1.1e-3,
    client_cpu=1.6e-3,
    shared=0.85,
)
