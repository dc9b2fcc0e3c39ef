//! Label selectors, and labels in little room.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// An object's labels.
pub type Labels = BTreeMap<String, String>;

/// An object's labels as the View keeps them, shared by objects that have the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSet(Box<[(Box<str>, Box<str>)]>);

impl LabelSet {
    /// From pairs in any order; of a key that comes twice the last counts.
    pub fn new<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> LabelSet {
        let sorted: BTreeMap<&str, &str> = pairs.collect();
        LabelSet(sorted.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
    }

    /// The value of a label.
    pub fn get(&self, key: &str) -> Option<&str> {
        let at = self.0.binary_search_by(|(known, _)| known.as_ref().cmp(key)).ok()?;
        Some(&self.0[at].1)
    }

    /// Every label, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_ref(), value.as_ref()))
    }

    /// As [`matches`].
    pub fn matches(&self, selector: &LabelSelector) -> bool {
        matches_by(selector, |key| self.get(key))
    }

    /// As [`matches_pairs`].
    pub fn matches_pairs(&self, pairs: &Labels) -> bool {
        !pairs.is_empty() && self.has_all(pairs)
    }

    /// Whether all of these labels are among them.
    pub fn has_all(&self, pairs: &Labels) -> bool {
        pairs.iter().all(|(key, want)| self.get(key) == Some(want))
    }
}

/// Whether a selector with `matchLabels` and `matchExpressions` matches; an empty selector matches everything, an
/// operator that is not known matches nothing.
pub fn matches(selector: &LabelSelector, labels: Option<&Labels>) -> bool {
    matches_by(selector, |key| labels.and_then(|labels| labels.get(key)).map(String::as_str))
}

fn matches_by<'a>(selector: &LabelSelector, value: impl Fn(&str) -> Option<&'a str>) -> bool {
    let by_label = selector.match_labels.iter().flatten().all(|(key, want)| value(key) == Some(want));
    by_label
        && selector.match_expressions.iter().flatten().all(|requirement| {
            let values = requirement.values.as_deref().unwrap_or_default();
            let among = |value: &str| values.iter().any(|known| known == value);
            let value = value(&requirement.key);
            match requirement.operator.as_str() {
                "In" => value.is_some_and(among),
                "NotIn" => value.is_none_or(|value| !among(value)),
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
