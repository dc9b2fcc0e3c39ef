//! Label selectors of typed objects.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// An object's labels.
pub type Labels = BTreeMap<String, String>;

/// Whether a selector with `matchLabels` and `matchExpressions` matches; an empty selector matches everything, an
/// operator that is not known matches nothing.
pub fn matches(selector: &LabelSelector, labels: Option<&Labels>) -> bool {
    let value = |key: &str| labels.and_then(|labels| labels.get(key));
    let by_label = selector.match_labels.iter().flatten().all(|(key, want)| value(key) == Some(want));
    by_label
        && selector.match_expressions.iter().flatten().all(|requirement| {
            let values = requirement.values.as_deref().unwrap_or_default();
            let value = value(&requirement.key);
            match requirement.operator.as_str() {
                "In" => value.is_some_and(|value| values.contains(value)),
                "NotIn" => value.is_none_or(|value| !values.contains(value)),
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => false,
            }
        })
}

/// Whether every pair of a Service's selector is among the labels. A selector without pairs selects nothing here.
pub fn matches_pairs(pairs: &Labels, labels: Option<&Labels>) -> bool {
    !pairs.is_empty() && pairs.iter().all(|(key, want)| labels.is_some_and(|labels| labels.get(key) == Some(want)))
}

/// Whether a selector says nothing, and so matches everything.
pub fn is_empty(selector: &LabelSelector) -> bool {
    selector.match_labels.as_ref().is_none_or(BTreeMap::is_empty)
        && selector.match_expressions.as_ref().is_none_or(Vec::is_empty)
}
