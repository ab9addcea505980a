"""The Kubernetes operator: makes the cluster match its VajraDeployments. See docs/design/0009-operator.md."""
