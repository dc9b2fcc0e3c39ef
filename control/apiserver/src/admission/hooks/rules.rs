//! The rules of a webhook: operations, groups, versions, resources, scope.

use crate::admission::Call;
use api::Gvr;
use serde_json::Value;

pub(super) struct Rule {
    operations: Vec<String>,
    groups: Vec<String>,
    versions: Vec<String>,
    resources: Vec<String>,
    scope: Scope,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    Cluster,
    Namespaced,
    All,
}

impl Rule {
    pub(super) fn read(rule: &Value) -> Self {
        let texts = |field: &str| {
            let list = rule[field].as_array().into_iter().flatten();
            list.filter_map(|text| text.as_str().map(str::to_owned)).collect()
        };
        Self {
            operations: texts("operations"),
            groups: texts("apiGroups"),
            versions: texts("apiVersions"),
            resources: texts("resources"),
            scope: match rule["scope"].as_str() {
                Some("Cluster") => Scope::Cluster,
                Some("Namespaced") => Scope::Namespaced,
                Some(_) | None => Scope::All,
            },
        }
    }

    /// Whether the rule is about this request, were it made to `gvr`.
    pub(super) fn fits(&self, call: &Call<'_>, gvr: &Gvr) -> bool {
        let any = |list: &[String], wanted: &str| list.iter().any(|one| one == "*" || one == wanted);
        let scope = match self.scope {
            Scope::All => true,
            Scope::Namespaced => call.write.resource.namespaced,
            Scope::Cluster => !call.write.resource.namespaced,
        };
        scope
            && any(&self.operations, call.operation.as_str())
            && any(&self.groups, &gvr.group)
            && any(&self.versions, &gvr.version)
            && self.resources.iter().any(|pattern| names(pattern, &gvr.resource, call.subresource))
    }
}

/// `pods`, `pods/*`, `pods/status`, `*`, `*/*`, `*/scale`.
fn names(pattern: &str, resource: &str, subresource: &str) -> bool {
    let (of_resource, of_subresource) = pattern.split_once('/').unwrap_or((pattern, ""));
    (of_resource == "*" || of_resource == resource) && (of_subresource == "*" || of_subresource == subresource)
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn patterns() {
        for (pattern, resource, subresource, fits) in [
            ("pods", "pods", "", true),
            ("pods", "pods", "status", false),
            ("pods/*", "pods", "status", true),
            ("*", "pods", "", true),
            ("*", "pods", "status", false),
            ("*/*", "pods", "status", true),
            ("*/*", "pods", "", true),
            ("*/scale", "deployments", "scale", true),
            ("*/scale", "deployments", "", false),
            ("pods", "services", "", false),
        ] {
            assert_eq!(names(pattern, resource, subresource), fits, "{pattern} {resource} {subresource}");
        }
    }
}
