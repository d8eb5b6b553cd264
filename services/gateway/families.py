"""The metrics of a gateway: names, labels and what they mean."""

from __future__ import annotations

from services.common.metrics import BY_STATUS, Family, LinkFamilies

#: how a query may end; these and no others are a label's values
OUTCOMES = (*BY_STATUS.values(), "rejected", "disconnected")
#: why a query was refused, where the error has no word of its own for it
BY_REFUSAL = {
    400: "invalid",
    401: "unauthorized",
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
    "From the end of a query's body to its answer, answered queries only.",
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
    {"party": "`0`, `1`, `2`"},
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
    *(QUERIES, REFUSALS, DURATION, PHASE, BATCH_QUERIES, BATCH_IMAGES),
    *(QUEUE, BATCHES, BODY_BYTES, PARTY_UP, *DATABASE, *LINKS.all),
)
