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

mod served;
mod zeros;

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
    served::run(&document)?;
    println!("{OUTPUT}: {} definitions, {} bytes", table.lines().filter(|l| !l.starts_with(' ')).count(), table.len());
    Ok(())
}

fn render(definitions: &BTreeMap<&str, &Value>, messages: &Value) -> Result<String> {
    let mut out = String::from("# Written by `cargo xtask codegen`; do not edit. See schema/parse.rs for the form.\n");
    for (name, definition) in definitions {
        let Some(properties) = definition["properties"].as_object() else {
            let special = match name.rsplit('.').next().unwrap_or_default() {
                "Quantity" => "quantity".to_owned(),
                "IntOrString" => "intstr".to_owned(),
                "Time" => "time".to_owned(),
                "MicroTime" => "microtime".to_owned(),
                // Neither has a field; what they hold is dropped.
                _ if message(messages, name).is_some_and(<[Value]>::is_empty) => {
                    writeln!(out, "{name}{}", kinds(definition))?;
                    continue;
                }
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
        let mut numbers = BTreeMap::new();
        collect_numbers(name, name, properties, messages, "", &mut numbers)?;
        let required: BTreeSet<&str> =
            definition["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for (field, property) in properties {
            let mark = if required.contains(field.as_str()) { "!" } else { "" };
            write!(out, " {field}{mark} {}", type_of(property).with_context(|| format!("{name}.{field}"))?)?;
            match numbers.get(field.as_str()) {
                Some((path, wrapped)) => write!(out, " n:{path}{}", if *wrapped { " w:1" } else { "" })?,
                None if TYPE_META.contains(&field.as_str()) => {}
                None => println!("{name}.{field}: the protobuf message lacks it"),
            }
            if mark.is_empty() && zeros::counts(name, field) {
                out.push_str(" z:1");
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

/// In every kind's JSON; protobuf has them in the envelope.
const TYPE_META: [&str; 2] = ["apiVersion", "kind"];

/// The fields of a type's message.
fn message<'a>(messages: &'a Value, name: &str) -> Option<&'a [Value]> {
    let (package, message) = name.rsplit_once('.')?;
    // `io.k8s.kube-aggregator.v1` in OpenAPI is `k8s.io.kube_aggregator.v1` in protobuf.
    let package = package.replacen("io.k8s.", "k8s.io.", 1).replace('-', "_");
    messages[&package][message].as_array().map(Vec::as_slice)
}

/// Protobuf numbers of a type's fields: where each is, as `2` or, in a message that JSON inlines, as `2.1`; and whether
/// it is a list in a message of its own.
fn collect_numbers(
    name: &str,
    message_name: &str,
    properties: &serde_json::Map<String, Value>,
    messages: &Value,
    path: &str,
    found: &mut BTreeMap<String, (String, bool)>,
) -> Result<()> {
    for field in message(messages, message_name).into_iter().flatten() {
        let own = field["name"].as_str().context("a message field has a name")?;
        let number = format!("{path}{}", field["number"].as_u64().context("a message field has a number")?);
        let kind = field["type"].as_str().unwrap_or_default();
        if let Some(json) = json_name(own, properties) {
            let wrapped = properties[&json]["type"] == "array" && field["repeated"] != true;
            found.insert(json, (number, wrapped));
            continue;
        }
        let inner = match kind.strip_prefix('.') {
            Some(full) => full.replacen("k8s.io.", "io.k8s.", 1),
            None => format!("{}.{kind}", message_name.rsplit_once('.').context("a package")?.0),
        };
        let shares = |fields: &[Value]| {
            fields.iter().any(|f| json_name(f["name"].as_str().unwrap_or_default(), properties).is_some())
                || fields.iter().any(|f| f["name"] == "rule")
        };
        if field["repeated"] != true && message(messages, &inner).is_some_and(shares) && !kind.starts_with("map<") {
            collect_numbers(name, &inner, properties, messages, &format!("{number}."), found)?;
        } else {
            println!("{name}: the protobuf field {own} is not in the OpenAPI document; left out");
        }
    }
    Ok(())
}

/// The JSON field of a protobuf field; a few differ in case, or have characters that protobuf lacks.
fn json_name(field: &str, properties: &serde_json::Map<String, Value>) -> Option<String> {
    let plain = |name: &str| name.replace(['-', '$'], "").to_ascii_lowercase();
    properties.keys().find(|k| plain(k) == field.to_ascii_lowercase()).cloned()
}

fn kinds(definition: &Value) -> String {
    let list = definition["x-kubernetes-group-version-kind"].as_array();
    list.into_iter()
        .flatten()
        .filter_map(|k| Some((k["group"].as_str()?, k["version"].as_str()?, k["kind"].as_str()?)))
        .map(|(group, version, kind)| format!(" {group}/{version}/{kind}"))
        .collect()
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
