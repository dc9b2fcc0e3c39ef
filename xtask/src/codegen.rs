//! `cargo xtask codegen`: derives the compact schema table of `control/api` from Kubernetes' OpenAPI document and
//! its protobuf messages.
//!
//! Run by hand when the served version or the set of kinds changes; never part of a build. Only facts are kept
//! (fields, types, merge keys, list types, field numbers), no descriptions.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

const INPUT: &str = "../shared/data/kubernetes-openapi-v2.json.gz";
const MESSAGES: &str = "../shared/data/kubernetes-protobuf.json";
const OUTPUT: &str = "control/api/src/schema/tables.txt";
const REF: &str = "#/definitions/";

/// Groups whose kinds the table names; definitions shared by all groups list only these.
const GROUPS: &[&str] = &[
    "",
    "apps",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "coordination.k8s.io",
    "discovery.k8s.io",
    "events.k8s.io",
    "policy",
];

/// Kinds that are served, and what they reach.
const ROOTS: &[&str] = &[
    "io.k8s.api.core.v1.Namespace",
    "io.k8s.api.core.v1.Node",
    "io.k8s.api.core.v1.Pod",
    "io.k8s.api.core.v1.Service",
    "io.k8s.api.core.v1.Endpoints",
    "io.k8s.api.core.v1.ConfigMap",
    "io.k8s.api.core.v1.Secret",
    "io.k8s.api.core.v1.ServiceAccount",
    "io.k8s.api.core.v1.Event",
    "io.k8s.api.core.v1.Binding",
    "io.k8s.api.events.v1.Event",
    "io.k8s.api.discovery.v1.EndpointSlice",
    "io.k8s.api.coordination.v1.Lease",
    "io.k8s.api.apps.v1.Deployment",
    "io.k8s.api.apps.v1.ReplicaSet",
    "io.k8s.api.autoscaling.v1.Scale",
    "io.k8s.api.policy.v1.Eviction",
    "io.k8s.api.authentication.v1.SelfSubjectReview",
    "io.k8s.api.authentication.v1.TokenRequest",
    "io.k8s.api.authentication.v1.TokenReview",
    "io.k8s.api.authorization.v1.LocalSubjectAccessReview",
    "io.k8s.api.authorization.v1.SelfSubjectAccessReview",
    "io.k8s.api.authorization.v1.SelfSubjectRulesReview",
    "io.k8s.api.authorization.v1.SubjectAccessReview",
    "io.k8s.apimachinery.pkg.apis.meta.v1.Status",
    "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions",
    "io.k8s.apimachinery.pkg.apis.meta.v1.Patch",
    "io.k8s.apimachinery.pkg.apis.meta.v1.WatchEvent",
    "io.k8s.apimachinery.pkg.apis.meta.v1.APIResourceList",
    "io.k8s.apimachinery.pkg.apis.meta.v1.APIGroup",
    "io.k8s.apimachinery.pkg.apis.meta.v1.APIGroupList",
    "io.k8s.apimachinery.pkg.apis.meta.v1.APIVersions",
    "io.k8s.apimachinery.pkg.version.Info",
];

/// Reads the document and writes the table.
pub fn run() -> Result<()> {
    let file = File::open(INPUT).with_context(|| format!("open {INPUT} (run this from the repository's root)"))?;
    let mut text = String::new();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).with_context(|| format!("unpack {INPUT}"))?;
    let document: Value = serde_json::from_str(&text).with_context(|| format!("parse {INPUT}"))?;
    let definitions = document["definitions"].as_object().context("the document has no definitions")?;
    let lookup: BTreeMap<&str, &Value> = definitions.iter().map(|(k, v)| (k.as_str(), v)).collect();
    let messages = std::fs::read_to_string(MESSAGES).with_context(|| format!("read {MESSAGES}"))?;
    let messages: Value = serde_json::from_str(&messages).with_context(|| format!("parse {MESSAGES}"))?;
    let table = render(&lookup, &messages)?;
    std::fs::write(Path::new(OUTPUT), &table).with_context(|| format!("write {OUTPUT}"))?;
    println!("{OUTPUT}: {} definitions, {} bytes", table.lines().filter(|l| !l.starts_with(' ')).count(), table.len());
    Ok(())
}

fn render(definitions: &BTreeMap<&str, &Value>, messages: &Value) -> Result<String> {
    let mut out = String::from("# Written by `cargo xtask codegen`; do not edit. See schema/parse.rs for the form.\n");
    for name in reachable(definitions)? {
        let definition = definitions[name.as_str()];
        let Some(properties) = definition["properties"].as_object() else {
            let special = match name.rsplit('.').next().unwrap_or_default() {
                "Quantity" => "quantity".to_owned(),
                "IntOrString" => "intstr".to_owned(),
                "Time" => "time".to_owned(),
                "MicroTime" => "microtime".to_owned(),
                _ => type_of(definition)?,
            };
            writeln!(out, "{name} = {special}{}", kinds(definition))?;
            continue;
        };
        write!(out, "{name}{}", kinds(definition))?;
        if let Some(map_type) = definition["x-kubernetes-map-type"].as_str() {
            write!(out, " t:{map_type}")?;
        }
        out.push('\n');
        let (numbers, inlined) = numbers(&name, properties, messages)?;
        out.push_str(&inlined);
        let required: BTreeSet<&str> =
            definition["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for (field, property) in properties {
            let mark = if required.contains(field.as_str()) { "!" } else { "" };
            write!(out, " {field}{mark} {}", type_of(property).with_context(|| format!("{name}.{field}"))?)?;
            if let Some(number) = numbers.get(field.as_str()) {
                write!(out, " n:{number}")?;
            }
            for (key, flag) in [
                ("x-kubernetes-patch-merge-key", 'm'),
                ("x-kubernetes-patch-strategy", 's'),
                ("x-kubernetes-list-type", 'l'),
                ("x-kubernetes-map-type", 't'),
            ] {
                if let Some(value) = property[key].as_str() {
                    write!(out, " {flag}:{value}")?;
                }
            }
            if let Some(keys) = property["x-kubernetes-list-map-keys"].as_array() {
                let keys: Vec<&str> = keys.iter().filter_map(Value::as_str).collect();
                write!(out, " k:{}", keys.join(","))?;
            }
            out.push('\n');
        }
    }
    Ok(out)
}

/// Protobuf numbers of a type's fields, and a line for each message that is inlined in JSON: ` ~NUMBER a=1,b=2`.
fn numbers(
    name: &str,
    properties: &serde_json::Map<String, Value>,
    messages: &Value,
) -> Result<(BTreeMap<String, u64>, String)> {
    let (mut found, mut inlined) = (BTreeMap::new(), String::new());
    let (package, message) = name.rsplit_once('.').with_context(|| format!("{name} has no package"))?;
    // `io.k8s.api.core.v1` in OpenAPI is `k8s.io.api.core.v1` in protobuf.
    let package = package.replacen("io.k8s.", "k8s.io.", 1);
    let fields = |message: &str| messages[&package][message].as_array();
    for field in fields(message).into_iter().flatten() {
        let own = field["name"].as_str().context("a message field has a name")?;
        let number = field["number"].as_u64().context("a message field has a number")?;
        if let Some(json) = json_name(own, properties) {
            found.insert(json, number);
            continue;
        }
        let inner = fields(field["type"].as_str().unwrap_or_default());
        let (Some(inner), false) = (inner, field["repeated"] == true) else {
            println!("{name}: the protobuf field {own} is not in the OpenAPI document; left out");
            continue;
        };
        let mut pairs = Vec::new();
        for part in inner {
            let part_name = part["name"].as_str().unwrap_or_default();
            match json_name(part_name, properties) {
                Some(json) => pairs.push(format!("{json}={}", part["number"])),
                None => {
                    println!("{name}: the inlined field {own}.{part_name} is not in the OpenAPI document; left out")
                }
            }
        }
        if !pairs.is_empty() {
            writeln!(inlined, " ~{number} {}", pairs.join(","))?;
        }
    }
    Ok((found, inlined))
}

/// The JSON field of a protobuf field; a few differ in case.
fn json_name(field: &str, properties: &serde_json::Map<String, Value>) -> Option<String> {
    properties.keys().find(|k| k.eq_ignore_ascii_case(field)).cloned()
}

fn kinds(definition: &Value) -> String {
    let list = definition["x-kubernetes-group-version-kind"].as_array();
    list.into_iter()
        .flatten()
        .filter_map(|k| Some((k["group"].as_str()?, k["version"].as_str()?, k["kind"].as_str()?)))
        .filter(|(group, version, _)| GROUPS.contains(group) && *version == "v1")
        .map(|(group, version, kind)| format!(" {group}/{version}/{kind}"))
        .collect()
}

/// The roots, their lists, and everything they refer to.
fn reachable(definitions: &BTreeMap<&str, &Value>) -> Result<BTreeSet<String>> {
    let mut todo: Vec<String> = Vec::new();
    for root in ROOTS {
        todo.push((*root).to_owned());
        let list = format!("{root}List");
        if definitions.contains_key(list.as_str()) {
            todo.push(list);
        }
    }
    let mut seen = BTreeSet::new();
    while let Some(name) = todo.pop() {
        let Some(definition) = definitions.get(name.as_str()) else { bail!("the document does not define {name}") };
        if seen.insert(name) {
            collect_refs(definition, &mut todo);
        }
    }
    Ok(seen)
}

fn collect_refs(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            if let Some(name) = map.get("$ref").and_then(Value::as_str) {
                into.push(name.trim_start_matches(REF).to_owned());
            }
            map.values().for_each(|v| collect_refs(v, into));
        }
        Value::Array(list) => list.iter().for_each(|v| collect_refs(v, into)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn type_of(schema: &Value) -> Result<String> {
    if let Some(name) = schema["$ref"].as_str() {
        return Ok(format!("#{}", name.trim_start_matches(REF)));
    }
    Ok(match (schema["type"].as_str(), schema["format"].as_str()) {
        (Some("array"), _) => format!("[]{}", type_of(&schema["items"])?),
        (Some("object"), _) if schema["additionalProperties"].is_object() => {
            format!("{{}}{}", type_of(&schema["additionalProperties"])?)
        }
        (Some("object") | None, _) => "any".to_owned(),
        (Some("string"), Some("byte")) => "bytes".to_owned(),
        (Some("string"), _) => "string".to_owned(),
        (Some("integer"), Some("int32")) => "int32".to_owned(),
        (Some("integer"), _) => "int64".to_owned(),
        (Some("number"), _) => "double".to_owned(),
        (Some("boolean"), _) => "boolean".to_owned(),
        (Some(other), _) => bail!("unknown type {other}"),
    })
}
