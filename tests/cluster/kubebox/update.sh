#!/usr/bin/env bash
# Write go.mod and go.sum for a release of Kubernetes.
#   update.sh v1.37.2
set -euo pipefail
cd "$(dirname "$0")"
kubernetes=$1
staging=v0.${kubernetes#v1.}
export GOTOOLCHAIN=local

upstream=$(cd / && go mod download -json "k8s.io/kubernetes@$kubernetes" | sed -n 's/.*"GoMod": "\(.*\)".*/\1/p')
required() { awk -v module="$1" '$1 == module { print $2 }' "$upstream"; }
{
  echo "// Written by update.sh: change the release of Kubernetes there, not here."
  echo "module kubebox"
  awk '/^(go|godebug) / { print "\n" $0 }' "$upstream"
  echo
  echo "require ("
  echo "	github.com/spf13/cobra $(required github.com/spf13/cobra)"
  echo "	go.etcd.io/etcd/server/v3 $(required go.etcd.io/etcd/client/v3)"
  echo "	k8s.io/component-base $staging"
  echo "	k8s.io/kubectl $staging"
  echo "	k8s.io/kubernetes $kubernetes"
  echo ")"
  # Kubernetes requires its own modules at v0.0.0 and replaces them by folders; here the published ones stand for them.
  echo
  echo "replace ("
  sed -nE 's#^[[:space:]]*(replace )?(k8s\.io/[a-z0-9-]+) => \./staging/src/.*#\2#p' "$upstream" | sort -u |
    while read -r module; do echo "	$module => $module $staging"; done
  echo ")"
} >go.mod
go mod tidy
