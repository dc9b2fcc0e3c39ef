//! Defaults of volume sources, in pods and in PersistentVolumes.

use serde_json::{Value, json};

use crate::core::persistentvolumeclaim::claim_spec;
use crate::value::{has, items_mut, set, set_default};

/// Mode of files in volumes, 0644.
const FILE_MODE: i64 = 0o644;

/// Defaults of whichever sources the object has.
pub fn sources(owner: &mut Value) {
    for source in ["secret", "configMap", "projected", "downwardAPI"] {
        if owner[source].is_object() {
            set_default(&mut owner[source], "defaultMode", FILE_MODE);
        }
    }
    if owner["hostPath"].is_object() && !has(&owner["hostPath"], "type") {
        set(&mut owner["hostPath"], "type", "");
    }
    for (source, field, default) in [
        ("iscsi", "iscsiInterface", "default"),
        ("rbd", "pool", "rbd"),
        ("rbd", "user", "admin"),
        ("rbd", "keyring", "/etc/ceph/keyring"),
        ("azureDisk", "cachingMode", "ReadWrite"),
        ("azureDisk", "kind", "Shared"),
        ("azureDisk", "fsType", "ext4"),
        ("scaleIO", "storageMode", "ThinProvisioned"),
        ("scaleIO", "fsType", "xfs"),
    ] {
        if owner[source].is_object() {
            set_default(&mut owner[source], field, default);
        }
    }
    if owner["azureDisk"].is_object() {
        set_default(&mut owner["azureDisk"], "readOnly", false);
    }
    let template = owner.get_mut("ephemeral").and_then(|e| e.get_mut("volumeClaimTemplate"));
    if let Some(spec) = template.and_then(|t| t.get_mut("spec")).filter(|s| s.is_object()) {
        claim_spec(spec);
    }
    if owner["downwardAPI"].is_object() {
        items_mut(&mut owner["downwardAPI"], "items").for_each(downward_item);
    }
    if owner["projected"].is_object() {
        for source in items_mut(&mut owner["projected"], "sources") {
            if source["serviceAccountToken"].is_object() {
                set_default(&mut source["serviceAccountToken"], "expirationSeconds", 3600);
            }
            if source["downwardAPI"].is_object() {
                items_mut(&mut source["downwardAPI"], "items").for_each(downward_item);
            }
        }
    }
    if owner["image"].is_object() {
        let image = owner["image"]["reference"].as_str().unwrap_or_default();
        let policy = if super::defaults::is_latest(image) { "Always" } else { "IfNotPresent" };
        set_default(&mut owner["image"], "pullPolicy", policy);
    }
}

/// A volume without a source is an empty directory.
pub fn volume(volume: &mut Value) {
    let Some(map) = volume.as_object() else { return };
    if map.keys().all(|k| k == "name") {
        set(volume, "emptyDir", json!({}));
    }
    if has(&volume["emptyDir"], "sizeLimit") {
        super::defaults::amount(&mut volume["emptyDir"]["sizeLimit"]);
    }
    sources(volume);
}

fn downward_item(item: &mut Value) {
    if item["fieldRef"].is_object() {
        set_default(&mut item["fieldRef"], "apiVersion", "v1");
    }
    if item["resourceFieldRef"].is_object() {
        // The divisor's default is written out as zero.
        set_default(&mut item["resourceFieldRef"], "divisor", "0");
    }
}
