"""Who may do what on an API server."""

from __future__ import annotations

from kubernetes import client

KEPT = {"get", "list", "watch", "create", "patch", "delete"}
VERBS = sorted(KEPT | {"update", "deletecollection"})
# What the operator may do where it serves, and what it may not.
OPERATOR: dict[str, set[str]] = {
    "vajradeployments.vajra.ai": {"get", "list", "watch"},
    "vajradeployments.vajra.ai/status": {"patch"},
    "pods": {"get", "list", "watch", "create", "delete"},
    "configmaps": KEPT,
    "services": KEPT,
    "serviceaccounts": KEPT,
    "deployments.apps": KEPT,
    "poddisruptionbudgets.policy": KEPT,
    "networkpolicies.networking.k8s.io": KEPT,
    "nodes": {"get", "list", "watch"},
    "events.events.k8s.io": {"get", "create", "patch"},
    "secrets": set(),
    "pods/exec": set(),
    "vajradeployments.vajra.ai/finalizers": {"update"},
    "leases.coordination.k8s.io": set(),
    "clusterroles.rbac.authorization.k8s.io": set(),
}


class Access:
    """What a user may do."""

    def __init__(self, api: client.ApiClient, user: str, *groups: str) -> None:
        self._reviews = client.AuthorizationV1Api(api)
        self._user = {"user": user, "groups": list(groups)}

    def allows(self, verb: str, resource: str, namespace: str, name: str = "") -> bool:
        """resource: as in deployments.apps or pods/exec."""
        path, _, subresource = resource.partition("/")
        plural, _, group = path.partition(".")
        asked = {"verb": verb, "resource": plural, "group": group, "subresource": subresource}
        spec = self._user | {"resourceAttributes": asked | {"namespace": namespace, "name": name}}
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
        return bool(self._reviews.create_subject_access_review(review).status.allowed)

    def rights(self, namespace: str) -> dict[str, set[str]]:
        """The verbs that it may use on the resources of OPERATOR."""
        return {resource: {verb for verb in VERBS if self.allows(verb, resource, namespace)} for resource in OPERATOR}
