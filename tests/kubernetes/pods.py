"""Pods of a rendered overlay as processes on this machine.

Volumes are folders as the kubelet makes them: links into a folder that is exchanged as a whole.
Container paths are below a temporary directory, and every pod has a port of its own for its health,
since all are on one machine; everything else is what the manifests say.
"""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.kubernetes.overlays import ROOT, Document, pod_of, volume_of

Objects = Mapping[tuple[str, str, str], Document]


class Pod:
    """One pod of a workload.

    Args:
        root: a directory of its own, where its volumes go.
        objects: Secrets and ConfigMaps, by namespace, kind and name.
        index: its ordinal in a StatefulSet.
        changes: variables that one machine needs and a cluster does not.
    """

    def __init__(
        self,
        root: Path,
        workload: Document,
        objects: Objects,
        changes: Mapping[str, str],
        index: int = 0,
    ) -> None:
        self._root = root
        self._workload = workload
        self._spec = pod_of(workload)
        self._place = workload["metadata"]["namespace"]
        self._objects = objects
        self._changes = changes
        self._labels = {"apps.kubernetes.io/pod-index": str(index)}
        self._process: subprocess.Popen[bytes] | None = None
        (self._container,) = self._spec["containers"]
        for container in (*self._spec.get("initContainers", ()), self._container):
            for mount in container["volumeMounts"]:
                self._mount(mount["name"], self._root / mount["mountPath"].lstrip("/"))

    def start(self, log: Path) -> None:
        """Run the init containers' commands, then the service as the image's entrypoint would."""
        for container in self._spec.get("initContainers", ()):
            command = [*container["command"], *(self._path(arg) for arg in container["args"])]
            subprocess.run(command, check=True, env=os.environ, timeout=30)
        service = self._container["image"].rpartition("libmpc-")[2].partition(":")[0]
        env = self.environment()
        arguments = [self._expand(arg, env) for arg in self._container["args"]]
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "libmpc", service, *arguments],
                env={**env, "PYTHONPATH": os.environ.get("PYTHONPATH", str(ROOT))},
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    def probe(self, kind: str) -> bool:
        """Run a probe's command, the real one of the images."""
        name, what = self._container[f"{kind}Probe"]["exec"]["command"]
        assert name == "libmpc-health"
        script = ROOT / "deploy" / "docker" / "health.py"
        service = self._container["name"]
        done = subprocess.run(
            [sys.executable, "-IS", str(script), what],
            env={**self.environment(), "LIBMPC_IMAGE": service},
            stdout=subprocess.DEVNULL,
            timeout=10,
        )
        return done.returncode == 0

    def stop(self) -> None:
        """As a kubelet does: first ask, then kill."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(self._spec["terminationGracePeriodSeconds"])
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def environment(self) -> dict[str, str]:
        """The container's variables, with paths on this machine."""
        env = {k: v for k, v in os.environ.items() if not k.startswith("LIBMPC_")}
        for variable in self._container["env"]:
            value = variable.get("value")
            if value is None:
                value = self._value(variable["valueFrom"])
            env[variable["name"]] = self._path(value)
        return {**env, **self._changes}

    def _value(self, source: Document) -> str:
        if "fieldRef" in source:
            path = source["fieldRef"]["fieldPath"]
            assert path.startswith("metadata.labels['")
            return self._labels[path.split("'")[1]]
        reference = source["configMapKeyRef"]
        found = self._objects[self._place, "ConfigMap", reference["name"]]
        return str(found["data"][reference["key"]])

    def _expand(self, argument: str, env: Mapping[str, str]) -> str:
        if argument.startswith("$(") and argument.endswith(")"):
            return env[argument[2:-1]]
        return self._path(argument)

    def _path(self, text: str) -> str:
        for place in ("/etc/libmpc", "/var/lib/libmpc"):
            text = text.replace(place, str(self._root / place.lstrip("/")))
        return text

    def _mount(self, name: str, target: Path) -> None:
        volume = volume_of(self._spec, name, self._workload)
        files: dict[str, bytes] = {}
        for source in volume.get("projected", {}).get("sources", (volume,)):
            for key, kind in (("configMap", "ConfigMap"), ("secret", "Secret")):
                if key in source:
                    reference = source[key]
                    named = reference.get("secretName") or reference["name"]
                    files |= _content(self._objects[self._place, kind, named])
        target.mkdir(parents=True, exist_ok=True)
        if not files:
            return
        real = target / "..2026_01_01"
        if real.exists():
            return
        real.mkdir()
        for file, content in files.items():
            # A kubelet gives them to root with the pod's group, 0440; here they are this user's.
            (real / file).write_bytes(content)
            (real / file).chmod(0o400)
            (target / file).symlink_to(Path("..data") / file)
        (target / "..data").symlink_to(real.name)


def _content(document: Document) -> dict[str, bytes]:
    if document["kind"] == "Secret":
        return {name: base64.b64decode(data) for name, data in document["data"].items()}
    return {name: data.encode() for name, data in document["data"].items()}
