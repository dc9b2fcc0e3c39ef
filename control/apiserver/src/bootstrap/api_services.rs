//! An APIService for each group version served here: the built-in ones, and those of custom kinds while they are.

use super::{Wanted, ensure_all};
use crate::{Apiserver, discovery::groups, storage};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;
use store::{Expect, Op};

const APISERVICES: (&str, &str) = ("apiregistration.k8s.io", "apiservices");
/// Says that the server made the object: at start, or for custom kinds.
const MANAGED: &str = "kube-aggregator.kubernetes.io/automanaged";
const CUSTOM_VERSION_PRIORITY: i64 = 100;

/// The APIServices of what is served now.
pub(super) fn wanted(server: &Apiserver) -> Vec<Wanted> {
    let snapshot = server.kinds.snapshot();
    let mut wanted = Vec::new();
    for group in groups::groups(&snapshot) {
        let count = group.versions.len();
        for (place, version) in group.versions.iter().enumerate() {
            let is_custom = snapshot
                .resources
                .iter()
                .filter(|resource| resource.group == group.name && resource.version == *version)
                .all(|resource| resource.is_custom())
                && groups::is_custom(&group.name);
            let (managed, priority) = if is_custom {
                ("true", CUSTOM_VERSION_PRIORITY)
            } else {
                ("onstart", i64::try_from((count - place) * 15).unwrap_or(CUSTOM_VERSION_PRIORITY))
            };
            let mut object = json!({
                "metadata": {"labels": {MANAGED: managed}},
                "spec": {
                    "version": version, "groupPriorityMinimum": groups::priority(&group.name),
                    "versionPriority": priority,
                },
            });
            if !group.name.is_empty() {
                object["spec"]["group"] = json!(group.name);
            }
            wanted.push(Wanted::new(APISERVICES, "", format!("{version}.{}", group.name), object));
        }
    }
    wanted
}

/// After custom kinds came or went: makes what is missing, removes what nothing stands behind.
pub(super) async fn follow(server: &Arc<Apiserver>) {
    let wanted = wanted(server);
    let names: BTreeSet<String> = wanted.iter().map(|one| one.name.clone()).collect();
    ensure_all(server, wanted).await;
    let resource = registry::find(APISERVICES.0, "v1", APISERVICES.1).expect("the table has APIServices");
    let Ok(listing) = server.config.store.list(&resource.prefix(""), None, None, None).await else { return };
    for entry in listing.entries {
        let Ok(service) = storage::parse(&entry.value) else { continue };
        let name = service["metadata"]["name"].as_str().unwrap_or_default();
        if service["metadata"]["labels"][MANAGED] != "true" || names.contains(name) {
            continue;
        }
        if let Err(error) = server.config.store.commit(&entry.key, Expect::Revision(entry.modified), Op::Delete).await {
            tracing::warn!(%error, name, "cannot remove the APIService of a kind that is gone");
        }
    }
}
