"""``libmpc init``: keys, public files and the deployment file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from libmpc.cli.init_kubernetes import for_one_cluster, summary, write_again, write_manifests
from libmpc.cli.options import JsonOption, UsageError
from libmpc.cli.texts import examples, result, say

_EPILOG = examples(
    "libmpc init --index 0 --url https://party0.example.org:8443 --dir party0",
    "libmpc init --join party0.public.yaml party1.public.yaml party2.public.yaml \\",
    "    --gateway-url https://mpc.example.org:8443 --dir deployment",
    "libmpc init --fingerprint deployment.yaml",
    "libmpc init --all --dir run        # one machine, for trying out only",
    "libmpc init --all --dir run --kubernetes --triples 2    # one cluster, for trying out only",
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "init", epilog=_EPILOG, short_help="Make keys, public files and the deployment file."
    )(init)


def init(
    index: Annotated[
        int | None,
        typer.Option("--index", metavar="N", min=0, max=2, help="Make party N's keys."),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Where party N will be reached; {triple} in it stands for the process's number.",
        ),
    ] = None,
    triples: Annotated[
        int,
        typer.Option(
            metavar="N", min=1, max=64, help="How many processes a party has; all three the same."
        ),
    ] = 1,
    join: Annotated[
        tuple[Path, Path, Path] | None,
        typer.Option(
            metavar="A B C", help="Make the deployment file from three parties' public files."
        ),
    ] = None,
    gateway_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Where clients will reach the gateway.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Make all of it on this machine. For a demo only.")
    ] = False,
    directory: Annotated[
        Path | None, typer.Option("--dir", metavar="DIR", help="Where to write.")
    ] = None,
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="The deployment's name.")
    ] = "libmpc",
    host: Annotated[
        list[str] | None,
        typer.Option("--host", metavar="HOST", help="A further name for the certificate."),
    ] = None,
    listen: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="The address to bind.")
    ] = None,
    health_port: Annotated[
        int | None,
        typer.Option(metavar="PORT", min=1, max=65535, help="Party N's port for probes."),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(metavar="PORT", help="With --all: the gateway's; the next seven follow."),
    ] = None,
    kubernetes: Annotated[
        bool,
        typer.Option(
            "--kubernetes",
            help="Also write DIR/kubernetes: the Secrets and ConfigMaps for deploy/k8s, of what is "
            "in DIR. Alone: write them again.",
        ),
    ] = False,
    fingerprint: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Print a deployment file's fingerprint.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make keys and the deployment file, and never overwrite any.

    \b
    1. Each party's organisation runs --index on its own host
       and publishes the public file.
    2. Somebody runs --join with the three public files
       and hands deployment.yaml to everybody.
    3. Everybody compares its fingerprint by another way
       and starts its service.

    Two parties together can read everything: let three organisations run them.
    """
    if kubernetes and index is None and join is None and fingerprint is None and not everything:
        write_again(_given(directory), as_json)
        return
    modes = {
        "--index": index is not None,
        "--join": join is not None,
        "--all": everything,
        "--fingerprint": fingerprint is not None,
    }
    if sum(modes.values()) != 1:
        raise UsageError("give one of --index, --join, --all and --fingerprint")
    if fingerprint is not None:
        _fingerprint(fingerprint, as_json)
        return
    directory = _given(directory)
    if triples > 1 and index is None and not (everything and kubernetes):
        raise UsageError("--triples goes with --index, or with --all --kubernetes")
    if index is not None:
        if url is None:
            raise UsageError("--index needs --url, where the party will be reached")
        _party(index, url, triples, directory, host or [], listen, health_port, as_json)
    elif join is not None:
        if gateway_url is None:
            raise UsageError("--join needs --gateway-url, where clients will reach it")
        _join(join, gateway_url, directory, name, host or [], listen, as_json)
    elif kubernetes:
        for_one_cluster(directory, triples, gateway_url, name, as_json)
    else:
        _all(directory, name, listen or "127.0.0.1", port, as_json)
    if kubernetes:
        write_manifests(directory)


def _given(directory: Path | None) -> Path:
    if directory is None:
        raise UsageError("give --dir DIR, the directory to write to")
    return directory


def _party(
    index: int,
    url: str,
    triples: int,
    directory: Path,
    hosts: list[str],
    listen: str | None,
    health_port: int | None,
    as_json: bool,
) -> None:
    from libmpc.deployment_init import HEALTH_PORT, make_party

    path = make_party(
        index,
        url,
        directory,
        triples=triples,
        hosts=hosts,
        listen=listen or "0.0.0.0",
        health_port=health_port or HEALTH_PORT,
    )
    text = f"""party {index}'s keys are in {directory / "keys"}: keep them there, and secret
public file: {path}

Next: give {path.name} to whoever runs 'libmpc init --join', and get back deployment.yaml.
Put it into {directory}, compare its fingerprint ('libmpc init --fingerprint PATH') with the
other parties by telephone or in person, and run:
  libmpc party --index {index} --config {directory / "party.yaml"}"""
    result({"index": index, "public": str(path), "directory": str(directory)}, text, as_json)


def _join(
    files: tuple[Path, Path, Path],
    gateway_url: str,
    directory: Path,
    name: str,
    hosts: list[str],
    listen: str | None,
    as_json: bool,
) -> None:
    from libmpc.deployment_init import DEPLOYMENT_FILE, join

    deployment = join(files, gateway_url, directory, name, hosts=hosts, listen=listen or "0.0.0.0")
    path = directory / DEPLOYMENT_FILE
    parties = "\n".join(
        f"  {party.url}: put {path.name} beside party.yaml, compare the fingerprint, and run\n"
        f"    libmpc party --index {party.index} --config party.yaml"
        for party in deployment.parties
    )
    text = f"""deployment file: {path} (public)
credentials: {directory / "credentials.yaml"} (secret: whoever has it can push models)
for clients: {directory / "client"} (secret: whoever has it can ask queries)
fingerprint: {deployment.fingerprint}

Everybody who gets {path.name} compares this fingerprint by another way than the file came:
  libmpc init --fingerprint {path.name}

What to run on which host:
{parties}
  {gateway_url}: move {directory / "gateway"} there, and run
    libmpc gateway --config gateway/gateway.yaml
  the owner: export LIBMPC_DEPLOYMENT={path}
  clients: get the folder {directory / "client"}, or each one of their own:
    libmpc token create NAME --out FOLDER"""
    result(summary(deployment, directory), text, as_json)


def _all(directory: Path, name: str, host: str, port: int | None, as_json: bool) -> None:
    from libmpc.cluster.ports import choose_ports
    from libmpc.deployment_local import make_all

    deployment = make_all(directory, choose_ports(host, port), name=name, host=host)
    say(
        "For trying out only: all three parties are on this machine, so whoever controls it can "
        "read every weight, input and output."
    )
    services = "\n".join(
        f"  libmpc party --index {i} --config {directory / f'party{i}' / 'party.yaml'}"
        for i in range(3)
    )
    text = f"""made three parties and a gateway in {directory}
fingerprint: {deployment.fingerprint}

Run them all:
  libmpc up --dir {directory}
or each by hand:
{services}
  libmpc gateway --config {directory / "gateway" / "gateway.yaml"}"""
    result(summary(deployment, directory), text, as_json)


def _fingerprint(path: Path, as_json: bool) -> None:
    from libmpc.deployment import Deployment

    deployment = Deployment.from_file(path)
    document = {"id": deployment.id.hex(), "fingerprint": deployment.fingerprint}
    result(document, deployment.fingerprint, as_json)
