"""Write the JSON schemas of custom resources that this folder has, from packages that carry them.

    pip install 'cloudcoil-models-cert-manager>=1.17,<2' 'cloudcoil-models-prometheus-operator<1'
    python deploy/k8s/schemas/make.py

Those packages are made from the projects' own CustomResourceDefinitions. What is written names
every field that there is; the validator refuses any other.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cloudcoil.models.cert_manager import v1 as certificates
from cloudcoil.models.prometheus_operator import v1 as monitoring

HERE = Path(__file__).resolve().parent
KINDS = (
    ("cert-manager.io/v1", certificates.Certificate, "cloudcoil.models.cert_manager"),
    ("cert-manager.io/v1", certificates.Issuer, "cloudcoil.models.cert_manager"),
    ("monitoring.coreos.com/v1", monitoring.PodMonitor, "cloudcoil.models.prometheus_operator"),
    ("monitoring.coreos.com/v1", monitoring.PrometheusRule, "cloudcoil.models.prometheus_operator"),
)


def plain(schema: Any) -> Any:
    """Without titles, defaults and nulls, which the definitions do not have."""
    if isinstance(schema, list):
        return [plain(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {
        name: {key: plain(value) for key, value in part.items()}
        if name in ("properties", "$defs")
        else plain(part)
        for name, part in schema.items()
        if not (name == "title" and isinstance(part, str)) and name != "default"
    }
    several = found.get("anyOf")
    if isinstance(several, list):
        rest = [one for one in several if one != {"type": "null"}]
        if len(rest) == 1:
            del found["anyOf"]
            found.update(rest[0])
        else:
            found["anyOf"] = rest
    return found


for api, model, package in KINDS:
    schema = plain(model.model_json_schema(by_alias=True))
    kind = model.__name__
    schema["properties"]["apiVersion"] = {"enum": [api]}
    schema["properties"]["kind"] = {"enum": [kind]}
    schema["required"] = sorted({*schema.get("required", ()), "apiVersion", "kind", "metadata"})
    schema["$comment"] = f"made by make.py from {package} {version(package)}"
    group = api.partition("/")[0]
    path = HERE / f"{group}_{api.rpartition('/')[2]}_{kind}.json"
    path.write_text(json.dumps(schema, indent=1, sort_keys=True) + "\n")
