//! Operations: which verbs a path has, on which kind, with which options.

use super::{
    custom, parameters,
    schemas::{self, Dialect},
};
use crate::auth::reviews::Review;
use api::Gvk;
use registry::{Resource, Subresource};
use serde_json::{Map, Value, json};

const STATUS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Status";
const RESOURCE_LIST: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.APIResourceList";
/// Subresources that open a connection.
const CONNECTED: [&str; 4] = ["attach", "exec", "portforward", "proxy"];
pub(super) const MEDIA: [&str; 3] = ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];
const WATCH_MEDIA: [&str; 2] = ["application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch"];
const PATCHES: [&str; 4] = [
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];

/// What all operations of one path share.
struct Place<'a> {
    dialect: Dialect,
    group: &'a str,
    version: &'a str,
    /// Of the resource, not of the subresource.
    kind: &'a str,
    namespaced: bool,
    /// Whether a namespace is in the path.
    in_namespace: bool,
    subresource: &'a str,
    /// Whether a path to what is behind a proxy follows.
    with_path: bool,
    is_custom: bool,
    /// The schema of the objects that go in and come out.
    schema: Option<String>,
    gvk: Gvk,
}

/// The resource list of a group version.
pub(super) fn root(group: &str, version: &str, dialect: Dialect, tell: &mut dyn FnMut(String, Value)) {
    let id = format!("get{}APIResources", camel(group, version));
    let item = document(&tag(group, version), &id, Some(RESOURCE_LIST), &MEDIA, dialect);
    tell(format!("{}/", base(group, version)), item);
}

/// The path of something that can only be read: of a schema, or text.
pub(super) fn document(tag: &str, id: &str, schema: Option<&str>, media: &[&str], dialect: Dialect) -> Value {
    let mut operation = json!({
        "tags": [tag], "operationId": id,
        "responses": responses(&[("200", schema.map(str::to_owned))], media, dialect),
    });
    if dialect == Dialect::V2 {
        if schema.is_some() {
            operation["consumes"] = json!(media);
        }
        operation["produces"] = json!(media);
        operation["schemes"] = json!(["https"]);
    }
    json!({"get": operation})
}

/// The path of a kind that only answers.
pub(super) fn review(review: &Review, dialect: Dialect, tell: &mut dyn FnMut(String, Value)) {
    let gvk = Gvk::new(review.group, review.version, review.kind);
    let place = Place {
        dialect,
        group: review.group,
        version: review.version,
        kind: review.kind,
        namespaced: review.namespaced,
        in_namespace: review.namespaced,
        subresource: "",
        with_path: false,
        is_custom: false,
        schema: schemas::name_of(&gvk).map(str::to_owned),
        gvk,
    };
    let scope = if review.namespaced { "/namespaces/{namespace}" } else { "" };
    let path = format!("{}{scope}/{}", base(review.group, review.version), review.resource);
    tell(path, place.item(&[("post", "post")], &[]));
}

/// The paths of a resource and its subresources.
pub(super) fn resource(resource: &Resource, dialect: Dialect, tell: &mut dyn FnMut(String, Value)) {
    const COLLECTION: [(&str, &str, &str); 3] =
        [("get", "list", "list"), ("post", "create", "post"), ("delete", "deletecollection", "deletecollection")];
    const OBJECT: [(&str, &str, &str); 4] =
        [("get", "get", "get"), ("put", "update", "put"), ("patch", "patch", "patch"), ("delete", "delete", "delete")];
    let gvk = resource.gvk();
    let schema =
        if resource.is_custom() { Some(custom::name(resource)) } else { schemas::name_of(&gvk).map(str::to_owned) };
    let place = |in_namespace: bool| Place {
        dialect,
        group: &resource.group,
        version: &resource.version,
        kind: &resource.kind,
        namespaced: resource.namespaced,
        in_namespace,
        subresource: "",
        with_path: false,
        is_custom: resource.is_custom(),
        schema: schema.clone(),
        gvk: gvk.clone(),
    };
    let base = base(&resource.group, &resource.version);
    let scope = if resource.namespaced { "/namespaces/{namespace}" } else { "" };
    let collection = format!("{base}{scope}/{}", resource.resource);
    let own = place(resource.namespaced);
    let mut insert = |path: String, place: &Place<'_>, actions: &[(&'static str, &'static str)], more: &[Value]| {
        if !actions.is_empty() {
            tell(path, place.item(actions, more));
        }
    };
    let served = |all: &[(&'static str, &'static str, &'static str)], verbs: &[&str]| {
        let known = all.iter().filter(|(_, verb, _)| verbs.contains(verb));
        known.map(|(method, _, action)| (*method, *action)).collect::<Vec<_>>()
    };
    insert(collection.clone(), &own, &served(&COLLECTION, resource.verbs), &[]);
    let name = parameters::path("name", dialect);
    insert(format!("{collection}/{{name}}"), &own, &served(&OBJECT, resource.verbs), std::slice::from_ref(&name));
    for sub in resource.subresources.iter() {
        for (path, place, actions, more) in subresource(resource, sub, &own, &collection, &name) {
            insert(path, &place, &actions, &more);
        }
    }
    if resource.namespaced && resource.has_verb("list") {
        insert(format!("{base}/{}", resource.resource), &place(false), &[("get", "list")], &[]);
    }
    // Deprecated by the parameter `watch`, and told all the same.
    if resource.has_verb("watch") && !resource.is_custom() {
        let watched = format!("{base}/watch{scope}/{}", resource.resource);
        insert(watched.clone(), &own, &[("get", "watchlist")], &[]);
        insert(format!("{watched}/{{name}}"), &own, &[("get", "watch")], std::slice::from_ref(&name));
        if resource.namespaced {
            let everywhere = format!("{base}/watch/{}", resource.resource);
            insert(everywhere, &place(false), &[("get", "watchlist")], &[]);
        }
    }
}

type Part<'a> = (String, Place<'a>, Vec<(&'static str, &'static str)>, Vec<Value>);

fn subresource<'a>(
    resource: &'a Resource,
    sub: &'a Subresource,
    own: &Place<'a>,
    collection: &str,
    name: &Value,
) -> Vec<Part<'a>> {
    const METHODS: [(&str, &str, &str); 7] = [
        ("get", "get", "get"),
        ("post", "create", "post"),
        ("put", "update", "put"),
        ("patch", "patch", "patch"),
        ("delete", "delete", "delete"),
        ("head", "proxy", "head"),
        ("options", "proxy", "options"),
    ];
    let connects = CONNECTED.contains(&sub.name);
    let gvk = Gvk::new(&sub.group, &sub.version, &sub.kind);
    let schema = match sub.name {
        "log" => None,
        _ if connects => None,
        _ if resource.is_custom() && sub.kind == resource.kind => own.schema.clone(),
        _ => schemas::name_of(&gvk).map(str::to_owned),
    };
    let place = Place { subresource: sub.name, schema, gvk, ..*own };
    let actions: Vec<_> = METHODS
        .iter()
        .filter(|(_, verb, _)| sub.verbs.contains(verb) || *verb == sub.name)
        .map(|(method, _, action)| (*method, if connects { "connect" } else { *action }))
        .collect();
    let mut more = vec![name.clone()];
    match sub.name {
        "log" => more.extend(parameters::of_kind("PodLogOptions", own.dialect)),
        _ if connects => more.extend(parameters::of_kind(&sub.kind, own.dialect)),
        _ => {}
    }
    let path = format!("{collection}/{{name}}/{}", sub.name);
    let mut parts = Vec::new();
    if sub.name == "proxy" {
        let behind = [&more[..], &[parameters::path("path", own.dialect)]].concat();
        let place = Place { with_path: true, schema: None, gvk: place.gvk.clone(), ..place };
        parts.push((format!("{path}/{{path}}"), place, actions.clone(), behind));
    }
    parts.push((path, place, actions, more));
    parts
}

impl Place<'_> {
    /// A path with its operations and the parameters they share.
    fn item(&self, actions: &[(&str, &str)], more: &[Value]) -> Value {
        let mut item: Map<String, Value> =
            actions.iter().map(|(method, action)| ((*method).to_owned(), self.operation(method, action))).collect();
        let mut shared = more.to_vec();
        if self.in_namespace {
            shared.push(parameters::path("namespace", self.dialect));
        }
        if !CONNECTED.contains(&self.subresource) {
            shared.push(parameters::query("pretty", self.dialect));
        }
        if actions.iter().any(|(_, action)| action.starts_with("watch")) {
            shared.extend(parameters::options("list").iter().map(|name| parameters::query(name, self.dialect)));
        }
        item.insert("parameters".to_owned(), Value::Array(shared));
        Value::Object(item)
    }

    fn operation(&self, method: &str, action: &str) -> Value {
        let mut query: Vec<Value> =
            parameters::options(action).iter().map(|name| parameters::query(name, self.dialect)).collect();
        let own = self.schema.clone();
        let answers: Vec<(&str, Option<String>)> = match action {
            "list" => vec![("200", self.list_schema())],
            "watch" | "watchlist" => vec![("200", Some(schemas::WATCH_EVENT.to_owned()))],
            "post" => vec![("200", own.clone()), ("201", own.clone()), ("202", own.clone())],
            "put" | "patch" => vec![("200", own.clone()), ("201", own.clone())],
            "delete" if registry::delete_answers_with_object(self.group, self.kind) => {
                vec![("200", own.clone()), ("202", own.clone())]
            }
            "delete" => vec![("200", Some(STATUS.to_owned())), ("202", Some(STATUS.to_owned()))],
            "deletecollection" => vec![("200", Some(STATUS.to_owned()))],
            _ => vec![("200", own.clone())],
        };
        let mut media: Vec<&str> = match (action, self.subresource) {
            ("connect", _) => vec!["*/*"],
            (_, "log") => vec!["text/plain", MEDIA[0], MEDIA[1], MEDIA[2]],
            _ if self.is_custom => vec![MEDIA[0], MEDIA[1]],
            _ => MEDIA.to_vec(),
        };
        if matches!(action, "list" | "watch" | "watchlist") {
            media.extend(WATCH_MEDIA.iter().take(if self.is_custom { 1 } else { 2 }));
        }
        let body = match action {
            "post" | "put" => own,
            "patch" => Some("io.k8s.apimachinery.pkg.apis.meta.v1.Patch".to_owned()),
            "delete" | "deletecollection" => Some("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions".to_owned()),
            _ => None,
        };
        let consumes: &[&str] = match (action, self.is_custom) {
            ("patch", true) => &PATCHES[..3],
            ("patch", false) => &PATCHES,
            _ => &["*/*"],
        };
        let mut operation = json!({
            "tags": [tag(self.group, self.version)],
            "operationId": self.operation_id(method, action),
            "responses": responses(&answers, &media, self.dialect),
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": {
                "group": self.gvk.group, "version": self.gvk.version, "kind": self.gvk.kind,
            },
        });
        let required = matches!(action, "post" | "put" | "patch");
        if let Some(name) = body {
            let schema = schemas::reference(&name, self.dialect);
            match self.dialect {
                Dialect::V2 => {
                    let mut body = json!({"name": "body", "in": "body", "schema": schema});
                    if required {
                        body["required"] = json!(true);
                    }
                    query.insert(0, body);
                }
                Dialect::V3 => {
                    let content: Map<String, Value> =
                        consumes.iter().map(|media| ((*media).to_owned(), json!({"schema": schema}))).collect();
                    operation["requestBody"] = json!({"content": content});
                    if required {
                        operation["requestBody"]["required"] = json!(true);
                    }
                }
            }
        }
        if self.dialect == Dialect::V2 {
            operation["consumes"] = json!(consumes);
            operation["produces"] = json!(media);
            operation["schemes"] = json!(["https"]);
        }
        if !query.is_empty() {
            operation["parameters"] = Value::Array(query);
        }
        operation
    }

    fn list_schema(&self) -> Option<String> {
        let list = format!("{}List", self.kind);
        if self.is_custom {
            return self.schema.as_ref().map(|name| format!("{name}List"));
        }
        schemas::name_of(&Gvk::new(self.group, self.version, &list)).map(str::to_owned)
    }

    /// `readCoreV1NamespacedPodStatus`.
    fn operation_id(&self, method: &str, action: &str) -> String {
        let group = camel(self.group, self.version);
        let start = match action {
            "get" => format!("read{group}"),
            "put" => format!("replace{group}"),
            "post" => format!("create{group}"),
            "deletecollection" => format!("delete{group}Collection"),
            "connect" => format!("connect{group}{}", capital(method)),
            "watchlist" => format!("watch{group}"),
            other => format!("{other}{group}"),
        };
        let scope = if self.in_namespace { "Namespaced" } else { "" };
        let everywhere = if self.namespaced && !self.in_namespace { "ForAllNamespaces" } else { "" };
        let list = if action == "watchlist" { "List" } else { "" };
        let behind = if self.with_path { "WithPath" } else { "" };
        format!("{start}{scope}{}{}{list}{everywhere}{behind}", self.kind, capital(self.subresource))
    }
}

fn base(group: &str, version: &str) -> String {
    if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") }
}

/// `rbacAuthorization_v1`.
fn tag(group: &str, version: &str) -> String {
    format!("{}_{version}", group_tag(group))
}

/// `rbacAuthorization`.
pub(super) fn group_tag(group: &str) -> String {
    let mut parts = group_words(group);
    let first = parts.next().unwrap_or_default();
    let rest: String = parts.map(capital).collect();
    format!("{first}{rest}")
}

/// `RbacAuthorizationV1`.
pub(super) fn camel(group: &str, version: &str) -> String {
    let words: String = group_words(group).map(capital).collect();
    words + &capital(version)
}

fn group_words(group: &str) -> impl Iterator<Item = &str> {
    let group = if group.is_empty() { "core" } else { group.strip_suffix(".k8s.io").unwrap_or(group) };
    group.split(['.', '-'])
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str()).unwrap_or_default()
}

fn responses(answers: &[(&str, Option<String>)], media: &[&str], dialect: Dialect) -> Value {
    let mut out = Map::new();
    for (code, schema) in answers {
        let text = match *code {
            "201" => "Created",
            "202" => "Accepted",
            _ => "OK",
        };
        let schema = match schema {
            Some(name) => schemas::reference(name, dialect),
            None => json!({"type": "string"}),
        };
        let mut answer = json!({"description": text});
        match dialect {
            Dialect::V2 => answer["schema"] = schema,
            Dialect::V3 => {
                answer["content"] =
                    media.iter().map(|media| ((*media).to_owned(), json!({"schema": schema}))).collect();
            }
        }
        out.insert((*code).to_owned(), answer);
    }
    out.insert("401".to_owned(), json!({"description": "Unauthorized"}));
    Value::Object(out)
}
