"""For every alert, a history during which it must fire, and a moment before at which it must not.

Series in promtool's notation: ``a+bxn`` begins at ``a`` and rises by ``b``, ``n`` times, one
value a minute.
"""

from __future__ import annotations

from dataclasses import dataclass

_P, _G = 'job="libmpc",instance="party0"', 'job="libmpc",instance="gateway"'
_DAY = 86_400
_VERSION = "libmpc_gateway_party_version_info"


@dataclass(frozen=True)
class Case:
    """One alert's history.

    Attributes:
        series: name with labels, and values.
        quiet, fires: minutes from the beginning, at which it must not fire and must.
    """

    series: dict[str, str]
    quiet: int
    fires: int


def _histogram(name: str, labels: str, good: int, bad: int, bound: str, top: str) -> dict[str, str]:
    """A rate of values below ``bound``; from minute 30 on of values between it and ``top``."""
    return {
        f'{name}_bucket{{{labels},le="{bound}"}}': f"0+{good}x30 {30 * good}+0x90",
        f'{name}_bucket{{{labels},le="{top}"}}': f"0+{good}x30 {30 * good + bad}+{bad}x89",
        f'{name}_bucket{{{labels},le="+Inf"}}': f"0+{good}x30 {30 * good + bad}+{bad}x89",
    }


_QUERIES = "libmpc_gateway_queries_total"
_REFUSALS = "libmpc_gateway_refusals_total"
_EXPIRY = "libmpc_service_certificate_expiry_timestamp_seconds"

CASES: dict[str, Case] = {
    "LibmpcTargetDown": Case({f"up{{{_P}}}": "1x10 0x20"}, 11, 15),
    "LibmpcRestarts": Case(
        {f"process_start_time_seconds{{{_P}}}": "100x10 700x3 900x3 1200x20"}, 12, 20
    ),
    "LibmpcDiskFilling": Case(
        {
            f"libmpc_service_disk_free_bytes{{{_P}}}": "50x10 9x40",
            f"libmpc_service_disk_size_bytes{{{_P}}}": "100x60",
        },
        15,
        25,
    ),
    # The clock of a test begins at 0.
    "LibmpcCertificateExpiring": Case(
        {f'{_EXPIRY}{{{_P},kind="own"}}': f"{40 * _DAY}x10 {20 * _DAY}x90"}, 30, 90
    ),
    "LibmpcCertificateExpired": Case(
        {f'{_EXPIRY}{{{_P},kind="authority"}}': f"{3 * _DAY}x10 {1 * _DAY}x20"}, 5, 12
    ),
    "LibmpcEventLoopLag": Case(
        _histogram("libmpc_service_loop_lag_seconds", _G, 120, 120, "0.05", "0.5"), 25, 60
    ),
    "LibmpcFilesRunOut": Case(
        {f"process_open_fds{{{_G}}}": "100x10 7000x20", f"process_max_fds{{{_G}}}": "8192x30"},
        12,
        20,
    ),
    "LibmpcVersionsDiffer": Case(
        {
            f'libmpc_build_info{{{_G},service="gateway",version="0.2.0",python="3.11"}}': "1x1600",
            f'{_VERSION}{{{_G},party="1",triple="0",version="0.1.0"}}': "1x1600",
        },
        60,
        1500,
    ),
    "LibmpcPartyNotReady": Case({f"libmpc_party_ready{{{_P}}}": "1x10 0x10"}, 11, 14),
    "LibmpcPeerLinkDown": Case({f'libmpc_party_link_up{{{_P},peer="1"}}': "1x10 0x10"}, 11, 14),
    "LibmpcEpochFlapping": Case({f"libmpc_party_epochs_total{{{_P}}}": "1x20 2+1x20"}, 15, 30),
    "LibmpcNoGateway": Case({f"libmpc_party_gateway_links{{{_P}}}": "1x10 0x20"}, 12, 20),
    "LibmpcDealerAuditFailed": Case({f"libmpc_party_dealer_alarm{{{_P}}}": "0x10 1x10"}, 9, 12),
    "LibmpcPoolEmpty": Case(
        {
            f'libmpc_party_pool_bundles{{{_P},model="digits",batch="8"}}': "3x10 0x20",
            f'libmpc_party_pool_target_bundles{{{_P},model="digits",batch="8"}}': "8x30",
        },
        12,
        20,
    ),
    "LibmpcPoolBehindDemand": Case(
        {
            f'libmpc_party_pool_waits_total{{{_P},model="digits",batch="1"}}': "0x20 6+6x60",
            f'libmpc_party_bundles_used_total{{{_P},model="digits",batch="1"}}': "0+6x80",
        },
        20,
        50,
    ),
    "LibmpcRunsFailing": Case(
        {
            f'libmpc_party_failures_total{{{_P},reason="aborted"}}': "0x20 10+10x40",
            f'libmpc_party_runs_total{{{_P},model="d",batch="1",outcome="finished"}}': "0+60x60",
        },
        20,
        40,
    ),
    "LibmpcRoundsSlow": Case(
        _histogram("libmpc_party_round_seconds", _P, 600, 600, "0.01", "0.5"), 28, 80
    ),
    "LibmpcReplicaBehind": Case({f"libmpc_party_behind_seconds{{{_P}}}": "0x10 30+60x20"}, 11, 16),
    "LibmpcModelDamaged": Case({f"libmpc_party_damaged_models{{{_P}}}": "0x10 1x10"}, 9, 12),
    "LibmpcStorageErrors": Case(
        {f"libmpc_party_storage_errors_total{{{_P}}}": "0x20 1x10"}, 19, 22
    ),
    "LibmpcEnvelopeKeyOld": Case(
        {f"libmpc_party_envelope_key_age_seconds{{{_P}}}": "0+60x80"}, 46, 60
    ),
    "LibmpcErrorBudgetBurnsFast": Case(
        {
            f'{_QUERIES}{{{_G},outcome="answered"}}': "0+600x180",
            f'{_QUERIES}{{{_G},outcome="unavailable"}}': "0x60 20+20x120",
        },
        60,
        130,
    ),
    "LibmpcErrorBudgetBurnsSlowly": Case(
        {
            f'{_QUERIES}{{{_G},outcome="answered"}}': "0+600x600",
            f'{_QUERIES}{{{_G},outcome="failed"}}': "0x60 6+6x540",
        },
        60,
        500,
    ),
    "LibmpcGatewayNotReady": Case({f"libmpc_gateway_ready{{{_G}}}": "1x10 0x10"}, 11, 14),
    "LibmpcGatewayPartyDown": Case(
        {f'libmpc_gateway_party_up{{{_G},party="2",triple="0"}}': "1x10 0x10"}, 11, 14
    ),
    "LibmpcDatabaseDown": Case({f"libmpc_gateway_database_up{{{_G}}}": "1x10 0x10"}, 11, 14),
    "LibmpcLatencyHigh": Case(
        _histogram(
            "libmpc_gateway_query_duration_seconds",
            f'{_G},model="digits",outcome="answered"',
            600,
            60,
            "0.05",
            "2.5",
        ),
        28,
        60,
    ),
    "LibmpcQueueFull": Case({f'{_REFUSALS}{{{_G},reason="queue_full"}}': "0x10 5+5x30"}, 11, 25),
    "LibmpcInternalErrors": Case({f'{_REFUSALS}{{{_G},reason="internal"}}': "0x20 1x10"}, 19, 22),
    "LibmpcTokensUnusable": Case({f'{_REFUSALS}{{{_G},reason="tokens"}}': "0x10 3x10"}, 9, 12),
    "LibmpcManyUnauthorized": Case(
        {f'{_REFUSALS}{{{_G},reason="unauthorized"}}': "0x20 120+120x60"}, 20, 60
    ),
}
