"""``libmpc init --kubernetes``: the manifests, and three parties in one cluster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from libmpc.cli.texts import result, say

if TYPE_CHECKING:
    from libmpc.deployment import Deployment


def write_manifests(directory: Path) -> None:
    """Write the manifests beside what has just been made, and say where."""
    from libmpc.deployment_kubernetes import write_manifests as write

    for path in write(directory):
        say(f"for Kubernetes: {path}")


def write_again(directory: Path, as_json: bool) -> None:
    """Write the manifests of what a directory has now."""
    from libmpc.deployment_kubernetes import write_manifests as write

    paths = [str(path) for path in write(directory)]
    result({"files": paths}, "\n".join(paths), as_json)


def for_one_cluster(
    directory: Path, triples: int, gateway_url: str | None, name: str, as_json: bool
) -> None:
    """Make three parties and a gateway for the overlay that tries them out."""
    from libmpc.deployment_kubernetes import FOLDER, GATEWAY_URL, make_all

    deployment = make_all(directory, triples, gateway_url or GATEWAY_URL, name)
    say(
        "For trying out only: all three parties are in one cluster, so whoever administers it can "
        "read every weight, input and output."
    )
    scale = "".join(
        f"  kubectl scale --namespace libmpc-party{index} statefulset/party --replicas {triples}\n"
        for index in range(3)
        if triples > 1
    )
    text = f"""made three parties with {triples} pods each, and a gateway, in {directory}
fingerprint: {deployment.fingerprint}

Next (docs/kubernetes.md):
  kubectl apply -k deploy/k8s/overlays/trying-out
  kubectl apply --server-side -f {directory / FOLDER}
{scale}  kubectl port-forward --namespace libmpc-gateway service/gateway 8443
and in another terminal:
  export LIBMPC_DEPLOYMENT={directory / "deployment.yaml"}"""
    result(summary(deployment, directory), text, as_json)


def summary(deployment: Deployment, directory: Path) -> dict[str, str]:
    """What programs are told of a deployment that was made."""
    return {
        "name": deployment.name,
        "id": deployment.id.hex(),
        "fingerprint": deployment.fingerprint,
        "deployment": str(directory / "deployment.yaml"),
        "directory": str(directory),
    }
