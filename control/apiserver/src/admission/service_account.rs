//! ServiceAccount: every pod runs as an account that exists, and gets a token of it.

use crate::{generic::write::Write, storage};
use api::{Status, meta};
use registry::core::service_account_volume::inject_service_account;
use serde_json::{Value, json};

const DEFAULT: &str = "default";
/// Pods with this annotation mirror a file on a node: nothing is added to them.
const MIRROR: &str = "kubernetes.io/config.mirror";
const SUFFIX: usize = 5;

pub(super) async fn admit(write: &Write<'_>, pod: &mut Value) -> Result<(), Status> {
    if meta::annotation(pod, MIRROR).is_some() {
        return Ok(());
    }
    let spec = meta::child_mut(pod, "spec");
    let name = match spec.get("serviceAccountName").and_then(Value::as_str) {
        None | Some("") => spec.get("serviceAccount").and_then(Value::as_str).filter(|name| !name.is_empty()),
        named => named,
    };
    let name = name.unwrap_or(DEFAULT).to_owned();
    spec.insert("serviceAccountName".to_owned(), json!(name));
    spec.insert("serviceAccount".to_owned(), json!(name));
    let key = storage::core_key("serviceaccounts", write.namespace, &name);
    let entry = write.server.config.store.get(&key).await.map_err(storage::unavailable)?;
    let Some(entry) = entry else {
        let what =
            format!("error looking up service account {}/{name}: serviceaccount {name:?} not found", write.namespace);
        return Err(Status::forbidden(&write.resource.gvr(), meta::name(pod), &what));
    };
    let account = storage::parse(&entry.value)?;
    let spec = meta::child_mut(pod, "spec");
    if let Some(secrets) = account["imagePullSecrets"].as_array().filter(|secrets| !secrets.is_empty())
        && spec.get("imagePullSecrets").and_then(Value::as_array).is_none_or(Vec::is_empty)
    {
        spec.insert("imagePullSecrets".to_owned(), json!(secrets));
    }
    // The pod's own wish counts before the account's.
    let mounts = spec
        .get("automountServiceAccountToken")
        .and_then(Value::as_bool)
        .or(account["automountServiceAccountToken"].as_bool())
        .unwrap_or(true);
    if mounts {
        inject_service_account(pod, &process::random_suffix(SUFFIX));
    }
    Ok(())
}
