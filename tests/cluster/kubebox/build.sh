#!/usr/bin/env bash
# Build the cluster's programs into DIRECTORY, all static: kubebox with a hard link per program, pause, CoreDNS, and Helm.
#   build.sh DIRECTORY
# Modules come from the Go proxy; nothing else is fetched. The versions are in go.mod and below.
set -euo pipefail
COREDNS=v1.15.0
HELM=v3.22.0

output=$(realpath -m "$1")
mkdir -p "$output"
cd "$(dirname "$0")"
export CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS="-trimpath -buildvcs=false" GOBIN="$output"

# The API server reports this version, and kubectl compares itself with it.
kubernetes=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)
IFS=. read -r major minor _ <<<"${kubernetes#v}"
version=k8s.io/component-base/version
go build -o "$output/kubebox" -ldflags "-s -w \
  -X $version.gitVersion=$kubernetes -X $version.gitMajor=$major -X $version.gitMinor=$minor -X $version.gitTreeState=clean" .
for program in etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl; do
  ln -f "$output/kubebox" "$output/$program"
done
go build -o "$output/pause" -ldflags "-s -w" ./pause
go install -ldflags "-s -w" "github.com/coredns/coredns@$COREDNS"
go install -ldflags "-s -w -X helm.sh/helm/v3/internal/version.version=$HELM" "helm.sh/helm/v3/cmd/helm@$HELM"
