//! One policy rule: what it says, and whether it covers a request.

use serde_json::{Map, Value, json};

/// A PolicyRule of a Role or ClusterRole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) verbs: Vec<String>,
    pub(crate) groups: Vec<String>,
    pub(crate) resources: Vec<String>,
    pub(crate) names: Vec<String>,
    pub(crate) urls: Vec<String>,
}

/// What a rule is asked about.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Question<'a> {
    Resource {
        verb: &'a str,
        group: &'a str,
        /// `pods`, or `pods/log`.
        resource: &'a str,
        subresource: &'a str,
        name: &'a str,
    },
    Path {
        verb: &'a str,
        path: &'a str,
    },
}

pub(crate) const ANY: &str = "*";

impl Rule {
    /// From the object's JSON. Lists that are missing are empty.
    pub(crate) fn read(value: &Value) -> Self {
        let list = |field: &str| -> Vec<String> {
            value[field].as_array().into_iter().flatten().filter_map(|item| item.as_str().map(str::to_owned)).collect()
        };
        Self {
            verbs: list("verbs"),
            groups: list("apiGroups"),
            resources: list("resources"),
            names: list("resourceNames"),
            urls: list("nonResourceURLs"),
        }
    }

    /// The rules of a Role or ClusterRole.
    pub(crate) fn list(role: &Value) -> Vec<Self> {
        role["rules"].as_array().into_iter().flatten().map(Self::read).collect()
    }

    /// As JSON, without empty lists; verbs are always there.
    pub(crate) fn write(&self) -> Value {
        let mut map = Map::new();
        map.insert("verbs".to_owned(), json!(self.verbs));
        for (field, list) in [
            ("apiGroups", &self.groups),
            ("resources", &self.resources),
            ("resourceNames", &self.names),
            ("nonResourceURLs", &self.urls),
        ] {
            if !list.is_empty() {
                map.insert(field.to_owned(), json!(list));
            }
        }
        Value::Object(map)
    }

    pub(crate) fn allows(&self, question: &Question<'_>) -> bool {
        match *question {
            Question::Resource { verb, group, resource, subresource, name } => {
                has(&self.verbs, verb)
                    && has(&self.groups, group)
                    && self.resources.iter().any(|own| resource_matches(own, resource, subresource))
                    && (self.names.is_empty() || self.names.iter().any(|own| own == name))
            }
            Question::Path { verb, path } => {
                has(&self.verbs, verb) && self.urls.iter().any(|own| path_matches(own, path))
            }
        }
    }

    /// `{APIGroups:[""], Resources:["pods"], Verbs:["get"]}`.
    pub(crate) fn compact(&self) -> String {
        let parts = [
            ("APIGroups", &self.groups),
            ("Resources", &self.resources),
            ("NonResourceURLs", &self.urls),
            ("ResourceNames", &self.names),
            ("Verbs", &self.verbs),
        ];
        let parts: Vec<String> = parts
            .into_iter()
            .filter(|(_, list)| !list.is_empty())
            .map(|(name, list)| format!("{name}:{}", quoted(list)))
            .collect();
        format!("{{{}}}", parts.join(", "))
    }
}

/// `["a" "b"]`.
pub(crate) fn quoted(list: &[String]) -> String {
    let items: Vec<String> = list.iter().map(|item| format!("{item:?}")).collect();
    format!("[{}]", items.join(" "))
}

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|own| own == ANY || own == wanted)
}

/// `*` is everything, `*/scale` that subresource of everything; `pods` does not cover `pods/log`.
pub(super) fn resource_matches(own: &str, resource: &str, subresource: &str) -> bool {
    own == ANY || own == resource || (!subresource.is_empty() && own.strip_prefix("*/") == Some(subresource))
}

/// A final `*` stands for any rest.
pub(super) fn path_matches(own: &str, path: &str) -> bool {
    own == path || own.strip_suffix('*').is_some_and(|start| path.starts_with(start.trim_end_matches('*')))
}
