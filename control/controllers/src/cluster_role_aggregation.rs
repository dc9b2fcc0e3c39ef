//! ClusterRoles that are made of others: the rules of a role with an aggregationRule are those of all roles that its
//! selectors match, in the order of their names, each once.

use api::Key;
use cache::{Change, Kind, View, key_of, selector};
use jiff::Timestamp;
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use reconcile::{Controller, Plan, Write};
use serde_json::json;

/// Joins the rules.
#[derive(Debug)]
pub struct ClusterRoleAggregationController;

impl Controller for ClusterRoleAggregationController {
    fn name(&self) -> &'static str {
        "clusterrole-aggregation-controller"
    }

    fn keys(&self, change: &Change, view: &View) -> Vec<Key> {
        if change.kind != Kind::ClusterRole {
            return Vec::new();
        }
        // Any role may be, or have been, a part of any other.
        view.all::<ClusterRole>()
            .filter(|role| role.aggregation_rule.is_some())
            .map(|role| key_of(&role.metadata))
            .collect()
    }

    fn reconcile(&self, key: &Key, view: &View, _now: Timestamp) -> Plan {
        let mut plan = Plan::none();
        let Some(role) = view.at::<ClusterRole>(key) else { return plan };
        let Some(aggregation) = &role.aggregation_rule else { return plan };
        let selectors = aggregation.cluster_role_selectors.as_deref().unwrap_or_default();
        let mut parts: Vec<_> = view
            .all::<ClusterRole>()
            .filter(|part| part.metadata.name != role.metadata.name)
            .filter(|part| selectors.iter().any(|s| selector::matches(s, part.metadata.labels.as_ref())))
            .collect();
        parts.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
        let mut rules: Vec<PolicyRule> = Vec::new();
        for rule in parts.iter().flat_map(|part| part.rules.iter().flatten()) {
            if !rules.contains(rule) {
                rules.push(rule.clone());
            }
        }
        if rules != role.rules.clone().unwrap_or_default() {
            let body = json!({
                "metadata": {"uid": role.metadata.uid, "resourceVersion": role.metadata.resource_version},
                "rules": rules,
            });
            plan.writes.push(Write::patch(Kind::ClusterRole, key, body));
        }
        plan
    }
}

#[cfg(test)]
mod tests;
