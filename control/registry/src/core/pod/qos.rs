//! Quality-of-service class of a pod.

use api::Quantity;
use serde_json::Value;

use crate::value::items;

/// `Guaranteed`, `Burstable` or `BestEffort`.
#[must_use]
pub fn class(spec: &Value) -> &'static str {
    let containers = || items(&spec["containers"]).iter().chain(items(&spec["initContainers"]));
    let amount = |c: &Value, list: &str, resource: &str| {
        let value = &c["resources"][list][resource];
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        Quantity::parse(&text).ok().filter(|q| !q.is_zero())
    };
    let resources = ["cpu", "memory"];
    let names_any = containers()
        .any(|c| resources.iter().any(|r| amount(c, "requests", r).is_some() || amount(c, "limits", r).is_some()));
    if !names_any {
        return "BestEffort";
    }
    let all_fixed = containers().all(|c| {
        resources.iter().all(|r| {
            let (request, limit) = (amount(c, "requests", r), amount(c, "limits", r));
            limit.is_some() && (request.is_none() || request == limit)
        })
    });
    if all_fixed { "Guaranteed" } else { "Burstable" }
}
