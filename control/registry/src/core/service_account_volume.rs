//! The volume with a pod's service account token, CA certificate and namespace.

use serde_json::{Value, json};

use crate::value::{items, items_mut, set, set_default, text};

const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const VOLUME_PREFIX: &str = "kube-api-access-";
/// Token lifetime; the odd seconds mark tokens that were injected, not asked for.
const TOKEN_SECONDS: i64 = 3607;
const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";

/// Gives a pod its service account (`default` unless it names one) and, unless the pod sets
/// `automountServiceAccountToken: false`, mounts the account's token into every container that mounts nothing at
/// that path. The volume is named `kube-api-access-<suffix>`. Where only the ServiceAccount object says
/// `automountServiceAccountToken: false`, the caller must not call this, but [`set_service_account`].
pub fn inject_service_account(pod: &mut Value, volume_suffix: &str) {
    set_service_account(pod);
    let mirrored = api::meta::annotation(pod, MIRROR_ANNOTATION).is_some();
    let Some(spec) = pod.get_mut("spec") else { return };
    if mirrored || spec["automountServiceAccountToken"] == false {
        return;
    }
    let existing = items(&spec["volumes"]).iter().map(|v| text(v, "name")).find(|n| n.starts_with(VOLUME_PREFIX));
    let is_new = existing.is_none();
    let volume = existing.map_or_else(|| format!("{VOLUME_PREFIX}{volume_suffix}"), str::to_owned);
    let mut mounted = false;
    for list in ["initContainers", "containers"] {
        for container in items_mut(spec, list) {
            let taken = items(&container["volumeMounts"]).iter().any(|m| text(m, "mountPath") == MOUNT_PATH);
            if !taken {
                push(container, "volumeMounts", json!({"name": volume, "readOnly": true, "mountPath": MOUNT_PATH}));
                mounted = true;
            }
        }
    }
    if mounted && is_new {
        push(spec, "volumes", token_volume(&volume));
    }
}

/// Names the service account in both fields that carry it.
pub fn set_service_account(pod: &mut Value) {
    if let Some(spec) = pod.get_mut("spec") {
        set_default(spec, "serviceAccountName", "default");
        let name = spec["serviceAccountName"].clone();
        set(spec, "serviceAccount", name);
    }
}

fn push(owner: &mut Value, list: &str, item: Value) {
    match owner.get_mut(list).and_then(Value::as_array_mut) {
        Some(items) => items.push(item),
        None => set(owner, list, vec![item]),
    }
}

fn token_volume(name: &str) -> Value {
    json!({
        "name": name,
        "projected": {
            "defaultMode": 0o644,
            "sources": [
                {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
                {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                {"downwardAPI": {"items": [
                    {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}},
                ]}},
            ],
        },
    })
}
