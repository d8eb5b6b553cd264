"""The metrics of a gateway: names, labels and what they mean."""

from __future__ import annotations

from services.common.metrics import BY_STATUS, Family, LinkFamilies

#: how a query may end; these and no others are a label's values
OUTCOMES = (*BY_STATUS.values(), "rejected", "disconnected")
#: why a query was refused, where the error has no word of its own for it
BY_REFUSAL = {
    400: "invalid",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    408: "slow_body",
    409: "conflict",
    413: "too_large",
    422: "invalid",
    429: "limit",
    500: "internal",
    503: "unavailable",
}
#: the words that errors have for it
CODES = ("queue_full", "rate", "quota", "memory_full", "party_down", "late", "stopping", "tokens")
REASONS = (*dict.fromkeys(BY_REFUSAL.values()), *CODES, "other")
PHASES = ("receive", "queue", "parties", "send")


_TRIPLE = "`0`, `1`, …, as in the deployment file"


def _values(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


QUERIES = Family(
    "libmpc_gateway_queries",
    "counter",
    "Queries by how they ended.",
    {"outcome": _values(OUTCOMES)},
)
REFUSALS = Family(
    "libmpc_gateway_refusals",
    "counter",
    "Queries that got an error, by why; the statuses are in the table below.",
    {"reason": _values(REASONS)},
)
DURATION = Family(
    "libmpc_gateway_query_duration_seconds",
    "histogram",
    "From the end of a query's body to its end; queries whose body was not read are left out.",
    {"model": "a stored model's name, or empty", "outcome": _values(OUTCOMES)},
)
REQUESTS = Family(
    "libmpc_gateway_requests",
    "counter",
    "HTTP requests of all kinds.",
    {
        "method": "`GET`, `POST`, `PUT`, `DELETE`, `other`",
        "route": "as in the OpenAPI document, such as `/v2/models/{name}/infer`, or `other`",
        "status": "the HTTP status; 499: the sender went away before",
    },
)
READY = Family(
    "libmpc_gateway_ready", "gauge", "1 while queries can be answered; looked at every 5 s."
)
PARTY_VERSION = Family(
    "libmpc_gateway_party_version_info",
    "gauge",
    "1 for the version of libmpc that a party said it is when it was last asked.",
    {"party": "`0`, `1`, `2`", "triple": _TRIPLE, "version": "that version"},
)
PHASE = Family(
    "libmpc_gateway_query_phase_seconds",
    "histogram",
    "Parts of an answered query: from its first byte until it is checked and taken; until its"
    " batch leaves; until both evaluators have replied; until the answer is put together.",
    {"phase": _values(PHASES)},
)
BATCH_QUERIES = Family(
    "libmpc_gateway_batch_queries",
    "histogram",
    "Queries in a batch that was sent to the evaluators.",
)
BATCH_IMAGES = Family(
    "libmpc_gateway_batch_images",
    "histogram",
    "Inputs in a batch that was sent to the evaluators.",
)
QUEUE = Family(
    "libmpc_gateway_queue_length", "gauge", "Queries of all models that wait to be sent."
)
BATCHES = Family("libmpc_gateway_batches", "gauge", "Batches of all models under way.")
BODY_BYTES = Family(
    "libmpc_gateway_body_bytes", "gauge", "Bodies of requests that are held in memory."
)
PARTY_UP = Family(
    "libmpc_gateway_party_up",
    "gauge",
    "1 while the link to the party is up.",
    {"party": "`0`, `1`, `2`", "triple": _TRIPLE},
)
TRIPLE_READY = Family(
    "libmpc_gateway_triple_ready",
    "gauge",
    "1 while the triple could answer queries, when its parties were last asked.",
    {"triple": _TRIPLE},
)
TRIPLE_LOAD = Family(
    "libmpc_gateway_triple_load",
    "gauge",
    "Inputs that wait for the triple or are under way there, of this gateway; the least loaded one"
    " gets the next query.",
    {"triple": _TRIPLE},
)
TRIPLE_QUERIES = Family(
    "libmpc_gateway_triple_queries",
    "counter",
    "Queries that were sealed for the triple and taken.",
    {"triple": _TRIPLE},
)
FAILOVERS = Family(
    "libmpc_gateway_failovers",
    "counter",
    "Queries that the triple could not answer while another one could: clients seal them again.",
    {"triple": _TRIPLE},
)
DATABASE_UP = Family(
    "libmpc_gateway_database_up",
    "gauge",
    "1 if the database of tokens has answered the last question.",
)
DATABASE_FAILURES = Family(
    "libmpc_gateway_database_failures",
    "counter",
    "Questions to the database of tokens that it did not answer, or not in time.",
)
DATABASE_AGE = Family(
    "libmpc_gateway_database_age_seconds",
    "gauge",
    "Time since a shared database said whether tokens have changed; with the embedded one 0.",
)
LINKS = LinkFamilies.of("libmpc_gateway", "party", "`0`, `1`, `2`")
DATABASE = (DATABASE_UP, DATABASE_FAILURES, DATABASE_AGE)

FAMILIES = (
    *(READY, REQUESTS, QUERIES, REFUSALS, DURATION, PHASE, BATCH_QUERIES, BATCH_IMAGES),
    *(QUEUE, BATCHES, BODY_BYTES, PARTY_UP, PARTY_VERSION, *DATABASE, *LINKS.all),
    *(TRIPLE_READY, TRIPLE_LOAD, TRIPLE_QUERIES, FAILOVERS),
)
