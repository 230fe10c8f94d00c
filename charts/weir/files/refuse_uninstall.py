# ruff: noqa: T201
"""Refuse to uninstall the operator while objects of its group exist: exits 1 and names them.

Their finalizers, and what they own on AWS, would be left with nobody to look after them.
"""

import sys

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

KINDS = ("datasources", "pipelines", "pipelineruns", "dataschemas", "platforms")
SHOWN = 10

try:
    config.load_incluster_config()
except config.ConfigException:
    config.load_kube_config()
api = client.CustomObjectsApi()
left = []
for kind in KINDS:
    try:
        listing = api.list_cluster_custom_object(
            "weir.dev", "v1alpha1", kind, limit=SHOWN, _request_timeout=10
        )
    except ApiException as error:
        if error.status == 404:  # The definition is gone, and all objects with it.
            continue
        raise
    for item in listing["items"]:
        place = "/".join(
            filter(None, (item["metadata"].get("namespace"), item["metadata"]["name"]))
        )
        left.append(f"{kind} {place}")
if left:
    print("Weir is not uninstalled, because objects of it still exist:")
    for line in left[:SHOWN]:
        print(f"  {line}")
    if len(left) > SHOWN:
        print("  and more")
    print("Delete them first, so that the operator can clean up on AWS:")
    print("  kubectl delete datasources,pipelines,pipelineruns,dataschemas --all --all-namespaces")
    print("  kubectl delete platforms --all")
    print("To uninstall all the same and leave everything on AWS as it is, first:")
    print("  helm upgrade ... --reuse-values --set uninstall.refuseWhileObjectsExist=false")
    sys.exit(1)
