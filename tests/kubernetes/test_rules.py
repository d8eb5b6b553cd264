"""What every overlay must keep to, whatever the schemas allow."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from libmpc.deployment_kubernetes import HEALTH_PORT, PORT, make_all, write_manifests
from services.gateway.settings import GatewaySettings
from services.party.settings import PartySettings
from tests.kubernetes.overlays import (
    FOLDER,
    NAMES,
    ROOT,
    Document,
    containers,
    namespace,
    of_kind,
    pod_of,
    references,
    rendered,
    validate,
    volume_of,
    workloads,
)

every_overlay = pytest.mark.parametrize("name", NAMES)
SETTINGS = {"LIBMPC_PARTY_": PartySettings, "LIBMPC_GATEWAY_": GatewaySettings}
# Made by operators, each for a reason that the guide gives.
BY_HAND = {"gateway-database": {"url", "password"}, "metrics-token": {"token", "sha256"}}


def selects(selector: Document, labels: Document) -> bool:
    return selector.items() <= labels.items()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str, str], set[str]]:
    """Keys of what 'libmpc init --kubernetes' writes, by namespace, kind and name."""
    directory = tmp_path_factory.mktemp("init")
    make_all(directory, 2, "https://localhost:8443", "rules")
    found = {}
    for path in write_manifests(directory):
        for document in yaml.safe_load_all(path.read_text()):
            name = document["metadata"]["name"]
            found[namespace(document), document["kind"], name] = set(document["data"])
    return found


@every_overlay
def test_pods_are_restricted(name: str) -> None:
    user = {
        int(number)
        for file in ("Dockerfile.party", "Dockerfile.gateway")
        for number in re.findall(r"^USER (\d+):\1$", (ROOT / file).read_text(), re.MULTILINE)
    }
    for workload in workloads(rendered(name)):
        pod = pod_of(workload)
        assert pod["automountServiceAccountToken"] is False
        # A Service libmpc-party would set LIBMPC_PARTY_PORT, which is a setting.
        assert pod["enableServiceLinks"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"} & pod.keys()
        security = pod["securityContext"]
        assert security["runAsNonRoot"] is True
        assert {security["runAsUser"], security["runAsGroup"], security["fsGroup"]} == user
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert security["fsGroupChangePolicy"] == "OnRootMismatch"
        for volume in pod["volumes"]:
            (kind,) = volume.keys() - {"name"}
            assert kind in ("configMap", "secret", "projected", "emptyDir", "persistentVolumeClaim")
        for container in containers(pod):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "privileged": False,
                "readOnlyRootFilesystem": True,
                "runAsNonRoot": True,
            }


@every_overlay
def test_every_pod_has_an_account_of_its_own_with_no_token(name: str) -> None:
    accounts = {
        (namespace(account), account["metadata"]["name"]): account
        for account in of_kind(rendered(name), "ServiceAccount")
    }
    used = [(namespace(w), pod_of(w)["serviceAccountName"]) for w in workloads(rendered(name))]
    assert sorted(used) == sorted(accounts)
    assert all(a["automountServiceAccountToken"] is False for a in accounts.values())
    assert not of_kind(rendered(name), "Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding")


@every_overlay
def test_namespaces_enforce_it_and_hold_one_service_each(name: str) -> None:
    namespaces = of_kind(rendered(name), "Namespace")
    for one in namespaces:
        for level in ("enforce", "audit", "warn"):
            assert one["metadata"]["labels"][f"pod-security.kubernetes.io/{level}"] == "restricted"
    places = [namespace(workload) for workload in workloads(rendered(name))]
    assert sorted(places) == sorted(one["metadata"]["name"] for one in namespaces)


@every_overlay
def test_images_have_a_version(name: str) -> None:
    for workload in workloads(rendered(name)):
        for container in containers(pod_of(workload)):
            assert re.fullmatch(r"(\S+/)?libmpc-(party|gateway):\d+\.\d+\.\d+", container["image"])


@every_overlay
def test_containers_say_what_they_need_and_are_probed(name: str) -> None:
    for workload in workloads(rendered(name)):
        pod = pod_of(workload)
        for container in containers(pod):
            for kind in ("requests", "limits"):
                assert {"cpu", "memory"} <= container["resources"][kind].keys()
        (container,) = pod["containers"]
        # Alive is not ready: while one party is away none is ready, and none may be restarted.
        for probe, what in (("startup", "live"), ("liveness", "live"), ("readiness", "ready")):
            assert container[f"{probe}Probe"]["exec"]["command"] == ["libmpc-health", what]
        slept = container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command")
        before = int(slept[1]) if slept else 0
        assert pod["terminationGracePeriodSeconds"] >= before + 10


@every_overlay
def test_pods_are_spread_and_may_be_moved_one_at_a_time(name: str) -> None:
    budgets = of_kind(rendered(name), "PodDisruptionBudget")
    for workload in workloads(rendered(name)):
        labels = workload["spec"]["template"]["metadata"]["labels"]
        assert selects(workload["spec"]["selector"]["matchLabels"], labels)
        assert {"app.kubernetes.io/" + part for part in ("name", "component", "part-of")} <= (
            labels.keys()
        )
        for constraint in pod_of(workload)["topologySpreadConstraints"]:
            assert selects(constraint["labelSelector"]["matchLabels"], labels)
        (budget,) = [one for one in budgets if namespace(one) == namespace(workload)]
        assert selects(budget["spec"]["selector"]["matchLabels"], labels)
        assert budget["spec"]["maxUnavailable"] == 1


@every_overlay
def test_secrets_and_config_maps_are_those_that_init_writes(
    name: str, written: dict[tuple[str, str, str], set[str]]
) -> None:
    assert not of_kind(rendered(name), "Secret", "ConfigMap")  # nothing secret is in git
    for workload in workloads(rendered(name)):
        for kind, named, key in references(workload):
            keys = written.get((namespace(workload), kind, named)) or BY_HAND.get(named)
            assert keys, f"{kind} {named} is not what 'libmpc init --kubernetes' writes"
            assert key is None or key in keys


@every_overlay
def test_variables_are_settings(name: str) -> None:
    for workload in workloads(rendered(name)):
        for container in containers(pod_of(workload)):
            for variable in container.get("env", ()):
                (prefix,) = [one for one in SETTINGS if variable["name"].startswith(one)]
                field = variable["name"].removeprefix(prefix).lower()
                assert field in SETTINGS[prefix].model_fields, variable["name"]
                assert prefix.split("_")[1].lower() == container["name"]


@every_overlay
def test_paths_in_variables_and_arguments_are_mounted(name: str) -> None:
    for workload in workloads(rendered(name)):
        pod = pod_of(workload)
        for container in containers(pod):
            mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
            for mount in mounts.values():
                volume_of(pod, mount["name"], workload)
                assert "subPath" not in mount  # the kubelet would not renew it
                assert mount.get("readOnly") or mount["mountPath"] in ("/var/lib/libmpc", "/tmp")
            said = [one["value"] for one in container.get("env", ()) if "value" in one]
            for path in [*said, *container.get("args", ())]:
                if path.startswith("/"):
                    assert any(path.startswith(f"{place}/") or path == place for place in mounts)


@every_overlay
def test_ports_are_those_that_init_sets(name: str) -> None:
    documents = rendered(name)
    ports = {}
    for workload in workloads(documents):
        (container,) = pod_of(workload)["containers"]
        found = {port["name"]: port["containerPort"] for port in container["ports"]}
        assert sorted(found.values()) == [HEALTH_PORT, PORT]
        ports[namespace(workload)] = found
    for service in of_kind(documents, "Service"):
        for port in service["spec"]["ports"]:
            assert ports[namespace(service)][port["targetPort"]] == port["port"] == PORT


@every_overlay
def test_parties_are_found_before_they_are_ready(name: str) -> None:
    for service in of_kind(rendered(name), "Service"):
        if service["spec"]["selector"]["app.kubernetes.io/name"] == "libmpc-party":
            assert service["spec"]["publishNotReadyAddresses"] is True
        if service["spec"].get("type") == "LoadBalancer":
            # Policies look at the caller's address.
            assert service["spec"]["externalTrafficPolicy"] == "Local"


@every_overlay
def test_every_party_knows_its_triple_and_keeps_its_volume(name: str) -> None:
    for party in of_kind(rendered(name), "StatefulSet"):
        (container,) = pod_of(party)["containers"]
        env = {one["name"]: one for one in container["env"]}
        place = env["LIBMPC_PARTY_TRIPLE"]["valueFrom"]["fieldRef"]["fieldPath"]
        assert place == "metadata.labels['apps.kubernetes.io/pod-index']"
        assert party["spec"]["podManagementPolicy"] == "Parallel"
        kept = party["spec"]["persistentVolumeClaimRetentionPolicy"]
        assert kept == {"whenDeleted": "Retain", "whenScaled": "Retain"}
        (claim,) = party["spec"]["volumeClaimTemplates"]
        mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert env["LIBMPC_PARTY_DATA"]["value"].startswith(mounted[claim["metadata"]["name"]])
        names = [one["spec"]["selector"] for one in of_kind(rendered(name), "Service")]
        assert any(selects(one, party["spec"]["template"]["metadata"]["labels"]) for one in names)


@every_overlay
def test_gateways_share_a_database_or_are_alone(name: str) -> None:
    for gateway in of_kind(rendered(name), "Deployment"):
        env = {one["name"] for one in pod_of(gateway)["containers"][0]["env"]}
        data = volume_of(pod_of(gateway), "data", gateway)
        if "LIBMPC_GATEWAY_DATABASE" in env:
            assert "persistentVolumeClaim" not in data
        else:
            assert "persistentVolumeClaim" in data
            assert gateway["spec"]["replicas"] == 1
            assert gateway["spec"]["strategy"]["type"] == "Recreate"


def test_every_component_is_checked() -> None:
    used = {
        (path.parent / one).resolve()
        for path in FOLDER.rglob("kustomization.yaml")
        for one in yaml.safe_load(path.read_text()).get("components", ())
    }
    assert used == {path.parent for path in (FOLDER / "components").rglob("kustomization.yaml")}


@pytest.mark.parametrize("name", sorted(BY_HAND))
def test_what_operators_make_by_hand_is_in_the_guide(name: str) -> None:
    guide = (ROOT / "docs" / "kubernetes.md").read_text()
    assert f"secret generic {name}" in guide
    for key in BY_HAND[name]:
        assert re.search(rf"--from-(file|literal)={key}\b", guide)


def test_nothing_secret_is_in_the_tree() -> None:
    for path in FOLDER.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            assert b"PRIVATE KEY-----" not in Path(path).read_bytes()


def test_the_patch_for_older_clusters(tmp_path: Path) -> None:
    """As the guide has it: rendered, and its command run."""
    guide = (ROOT / "docs" / "kubernetes.md").read_text().split("## Older clusters")[1]
    patch = guide.split("```yaml\n")[1].split("```")[0]
    overlay = FOLDER / "overlays" / "trying-out" / "party0"
    where = os.path.relpath(overlay, tmp_path.resolve())
    (tmp_path / "kustomization.yaml").write_text(f"resources: [{where}]\n{patch}")
    rendered(NAMES[0])  # or skip
    (party,) = of_kind(tuple(validate.render(tmp_path)), "StatefulSet")
    (container,) = pod_of(party)["containers"]
    entrypoint = tmp_path / "libmpc-entrypoint"
    entrypoint.write_text('#!/bin/sh\necho "$LIBMPC_PARTY_TRIPLE $*"\n')
    entrypoint.chmod(0o755)
    done = subprocess.run(
        [*container["command"], *container["args"]],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "HOSTNAME": "party-12"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == f"12 {' '.join(container['args'])}"
