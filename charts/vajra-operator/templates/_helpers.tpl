{{/* Name of every object. */}}
{{- define "vajra.name" -}}
{{- .Values.fullnameOverride | default .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- end }}

{{- define "vajra.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "vajra.name" .) -}}
{{- end }}

{{- define "vajra.selector" -}}
app.kubernetes.io/name: vajra-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "vajra.labels" -}}
{{ include "vajra.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* An image of values, by digest or tag: (list . .Values.image) */}}
{{- define "vajra.image" -}}
{{- $root := index . 0 }}{{ $image := index . 1 -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default $root.Chart.AppVersion }}
{{- end -}}
{{- end }}

{{/* What the operator may do where it serves: read VajraDeployments, report on them, keep what it makes of them. */}}
{{- define "vajra.rules" -}}
- apiGroups: [vajra.ai]
  resources: [vajradeployments]
  verbs: [get, list, watch]
- apiGroups: [vajra.ai]
  resources: [vajradeployments/status]
  verbs: [patch]
- apiGroups: [vajra.ai]
  resources: [vajradeployments/finalizers]  # OpenShift asks for it of who makes objects that block their owner
  verbs: [update]
- apiGroups: [""]
  resources: [pods]  # created and deleted, never changed
  verbs: [get, list, watch, create, delete]
- apiGroups: [""]
  resources: [configmaps, services, serviceaccounts]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [get, create, patch]
{{- end }}
