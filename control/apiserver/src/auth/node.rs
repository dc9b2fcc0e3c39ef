//! What a node may do: look after itself and the pods bound to it.

use super::authorize::Decision;
use crate::{Apiserver, http::path::Target, storage};
use serde_json::Value;

const LEASE_NAMESPACE: &str = "kube-node-lease";

/// Decides for node `name`.
pub(crate) async fn decide(
    server: &Apiserver,
    name: &str,
    verb: &str,
    target: &Target,
    field_selector: &str,
) -> Decision {
    let reads = matches!(verb, "get" | "list" | "watch");
    let writes = matches!(verb, "update" | "patch");
    let own = |condition: bool| if condition { Decision::Allow } else { unrelated(name) };
    match (target.group.as_str(), target.resource.as_str(), target.subresource.as_str()) {
        ("", "services" | "endpoints" | "namespaces", "") | ("discovery.k8s.io", "endpointslices", "") if reads => {
            Decision::Allow
        }
        ("", "nodes", "") if reads => Decision::Allow,
        // The name of a new object is in its body: admission checks it.
        ("", "nodes", "") if verb == "create" => Decision::Allow,
        ("", "nodes", "" | "status") if writes => own(target.name == name),
        ("coordination.k8s.io", "leases", "") if target.namespace == LEASE_NAMESPACE => match verb {
            "create" => Decision::Allow,
            "get" | "update" | "patch" | "delete" => own(target.name == name),
            _ => denied(),
        },
        ("" | "events.k8s.io", "events", "") if verb == "create" || writes => Decision::Allow,
        ("", "pods", "") if matches!(verb, "list" | "watch") => own(selects(field_selector, "spec.nodeName", name)),
        ("", "pods", "") if matches!(verb, "get" | "delete") => own(is_bound(server, name, target).await),
        ("", "pods", "status") if writes => own(is_bound(server, name, target).await),
        ("", "secrets" | "configmaps" | "serviceaccounts", "") if reads => {
            let wanted =
                if target.name.is_empty() { selected_name(field_selector) } else { Some(target.name.as_str()) };
            match wanted {
                Some(wanted) => own(refers(server, name, target, wanted).await),
                None => denied(),
            }
        }
        ("", "serviceaccounts", "token") if verb == "create" => own(refers(server, name, target, &target.name).await),
        ("authentication.k8s.io", "tokenreviews", "") | ("authorization.k8s.io", "subjectaccessreviews", "")
            if verb == "create" =>
        {
            Decision::Allow
        }
        _ => denied(),
    }
}

fn denied() -> Decision {
    Decision::Deny(String::new())
}

fn unrelated(name: &str) -> Decision {
    Decision::Deny(format!("no relationship found between node '{name}' and this object"))
}

fn selects(selector: &str, field: &str, value: &str) -> bool {
    terms(selector).any(|(key, wanted)| key == field && wanted == value)
}

fn selected_name(selector: &str) -> Option<&str> {
    terms(selector).find(|(key, _)| *key == "metadata.name").map(|(_, value)| value)
}

/// The equalities of a field selector. A term that is none (`!=`, escapes) is left out, which only narrows.
fn terms(selector: &str) -> impl Iterator<Item = (&str, &str)> {
    selector.split(',').filter_map(|term| {
        let (key, value) = term.split_once('=')?;
        let value = value.strip_prefix('=').unwrap_or(value);
        (!key.ends_with('!') && !value.is_empty()).then_some((key.trim(), value))
    })
}

async fn is_bound(server: &Apiserver, node: &str, target: &Target) -> bool {
    let key = storage::core_key("pods", &target.namespace, &target.name);
    // A pod that is gone is nobody's: the verb answers 404, by which a node learns it.
    let Ok(Some(entry)) = server.config.store.get(&key).await else { return true };
    serde_json::from_slice::<Value>(&entry.value).is_ok_and(|pod| pod["spec"]["nodeName"] == node)
}

/// Does a pod bound to the node mention the secret, configmap or service account?
async fn refers(server: &Apiserver, node: &str, target: &Target, wanted: &str) -> bool {
    if target.namespace.is_empty() {
        return false;
    }
    let prefix = storage::core_key("pods", &target.namespace, "");
    let Ok(listing) = server.config.store.list(&prefix, None, None, None).await else { return false };
    listing
        .entries
        .iter()
        .filter_map(|entry| serde_json::from_slice::<Value>(&entry.value).ok())
        .filter(|pod| pod["spec"]["nodeName"] == node)
        .any(|pod| mentions(&pod["spec"], &target.resource, wanted))
}

fn mentions(spec: &Value, resource: &str, wanted: &str) -> bool {
    if resource == "serviceaccounts" {
        return spec["serviceAccountName"] == wanted;
    }
    let (volume, volume_name, projected, env_from, key_ref) = match resource {
        "secrets" => ("secret", "secretName", "secret", "secretRef", "secretKeyRef"),
        _ => ("configMap", "name", "configMap", "configMapRef", "configMapKeyRef"),
    };
    let list = |value: &'_ Value| value.as_array().cloned().unwrap_or_default();
    let volumes = list(&spec["volumes"]).iter().any(|entry| {
        entry[volume][volume_name] == wanted
            || list(&entry["projected"]["sources"]).iter().any(|source| source[projected]["name"] == wanted)
    });
    let pull = resource == "secrets" && list(&spec["imagePullSecrets"]).iter().any(|entry| entry["name"] == wanted);
    let containers = ["initContainers", "containers", "ephemeralContainers"].iter().any(|field| {
        list(&spec[*field]).iter().any(|container| {
            list(&container["envFrom"]).iter().any(|source| source[env_from]["name"] == wanted)
                || list(&container["env"]).iter().any(|entry| entry["valueFrom"][key_ref]["name"] == wanted)
        })
    });
    volumes || pull || containers
}
