"""The metrics of a party: names, labels and what they mean."""

from __future__ import annotations

from libmpc.party.meters import REASONS
from services.common.metrics import BY_STATUS, Family, LinkFamilies

_KEY = {"model": "a stored model's name", "batch": "1, 8, 32, 128"}
OUTCOMES = (*BY_STATUS.values(), "rejected")

READY = Family("libmpc_party_ready", "gauge", "1 while an epoch is in force.")
MODELS = Family("libmpc_party_models", "gauge", "Stored models.")
EPOCHS = Family(
    "libmpc_party_epochs", "counter", "Epochs begun since the start; rising means broken links."
)
LINK_UP = Family(
    "libmpc_party_link_up",
    "gauge",
    "1 while the link to that party is up.",
    {"peer": "`0`, `1`, `2`, without itself"},
)
PRIMARY_UP = Family(
    "libmpc_party_primary_up",
    "gauge",
    "At a replica (triple 1 or more): 1 while the link to this party's process of triple 0 is up.",
)
BEHIND = Family(
    "libmpc_party_behind_seconds",
    "gauge",
    "At a replica: seconds since it last knew that it holds what triple 0 holds; 0 while it does.",
)
CAUGHT_UP = Family(
    "libmpc_party_caught_up",
    "gauge",
    "At a replica: 1 once it has caught up with triple 0 since its start; until then it answers"
    " nothing.",
)
REPLICAS = Family(
    "libmpc_party_replicas",
    "gauge",
    "At triple 0: this party's processes of other triples that follow it.",
)
GATEWAY_LINKS = Family("libmpc_party_gateway_links", "gauge", "Links to gateways that are up.")
LINKS = LinkFamilies.of(
    "libmpc_party",
    "peer",
    "`0`, `1`, `2`, `gateway`; its own number: its other processes",
)
QUERIES = Family(
    "libmpc_party_queries",
    "counter",
    "An evaluator's queries by how they ended there.",
    {"outcome": ", ".join(f"`{outcome}`" for outcome in OUTCOMES)},
)
QUERY_PHASE = Family(
    "libmpc_party_query_phase_seconds",
    "histogram",
    "One query at an evaluator: opening its envelope; waiting from there until its first run"
    " begins; making its count durable, where the model has a limit; sealing the answer.",
    {"phase": "`opening`, `waiting`, `counting`, `sealing`"},
)
RUN_PHASE = Family(
    "libmpc_party_run_phase_seconds",
    "histogram",
    "One run at an evaluator: waiting for its bundle, and all its rounds.",
    {"phase": "`bundle`, `evaluation`"},
)
ROUND = Family(
    "libmpc_party_round_seconds",
    "histogram",
    "One round: from sending a message to having the other evaluator's.",
)
RUN_QUERIES = Family("libmpc_party_run_queries", "histogram", "Queries that share one run.")
RUN_IMAGES = Family("libmpc_party_run_images", "histogram", "Inputs computed in one run.")
RUNS = Family(
    "libmpc_party_runs",
    "counter",
    "Runs of an evaluator.",
    _KEY | {"outcome": "`finished`, `aborted`"},
)
ROWS = Family(
    "libmpc_party_rows",
    "counter",
    "Rows of finished runs: inputs, and what fills a run up to its batch size.",
    _KEY | {"kind": "`input`, `padding`"},
)
FAILURES = Family(
    "libmpc_party_failures",
    "counter",
    "Runs and bundles that came to nothing.",
    {"reason": ", ".join(f"`{reason}`" for reason in REASONS)},
)
POOL_BUNDLES = Family(
    "libmpc_party_pool_bundles",
    "gauge",
    "Bundles ready to be used; 0 for long means that the dealer is the bottleneck.",
    _KEY,
)
POOL_BYTES = Family("libmpc_party_pool_bytes", "gauge", "Memory of the bundles that are ready.")
POOL_LIMIT = Family(
    "libmpc_party_pool_limit_bytes", "gauge", "The setting `pool_bytes`; party 0's value counts."
)
DEALT = Family(
    "libmpc_party_bundles_dealt", "counter", "Bundles that party 2 has finished dealing.", _KEY
)
PREPARED = Family(
    "libmpc_party_bundles_prepared", "counter", "Bundles that an evaluator has made ready.", _KEY
)
USED = Family(
    "libmpc_party_bundles_used", "counter", "Bundles that a run has taken, streamed ones too.", _KEY
)
DROPPED = Family(
    "libmpc_party_bundles_dropped",
    "counter",
    "Bundles that were ready and that nobody will use: their epoch or their model is gone.",
    _KEY,
)
AUDITS = Family(
    "libmpc_party_audits",
    "counter",
    "Bundles that were audited instead of used; one that failed means a broken or dishonest"
    " party 2, and stops the evaluators.",
    _KEY | {"outcome": "`passed`, `failed`"},
)
BUNDLE_PHASE = Family(
    "libmpc_party_bundle_phase_seconds",
    "histogram",
    "One bundle: dealing it at party 2, preparing it at an evaluator, waits for a thread included.",
    {"phase": "`dealing`, `preparing`"},
)
STREAMS = Family("libmpc_party_streams", "gauge", "Streamed bundles under way.")

FAMILIES = (
    *(READY, MODELS, EPOCHS, LINK_UP, GATEWAY_LINKS, *LINKS.all),
    *(PRIMARY_UP, CAUGHT_UP, BEHIND, REPLICAS),
    *(QUERIES, QUERY_PHASE, RUN_PHASE, ROUND, RUN_QUERIES, RUN_IMAGES, RUNS, ROWS, FAILURES),
    *(POOL_BUNDLES, POOL_BYTES, POOL_LIMIT, DEALT, PREPARED, USED, DROPPED, AUDITS),
    *(BUNDLE_PHASE, STREAMS),
)
