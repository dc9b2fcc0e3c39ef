//! What Kubernetes serves by default, by the paths of its document: the facts that a test holds our discovery against.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;

const OUTPUT: &str = "control/apiserver/tests/api/served.txt";

/// Writes a line for each resource and subresource of the stable versions: path, scope, kind, verbs.
pub(super) fn run(document: &Value) -> Result<()> {
    let paths = document["paths"].as_object().context("the document has no paths")?;
    let mut served: BTreeMap<String, (bool, String, BTreeSet<&str>)> = BTreeMap::new();
    for (path, item) in paths {
        let Some((place, namespaced)) = place(path) else { continue };
        let (entry, watched) = match place.strip_prefix("watch:") {
            Some(place) => (place.to_owned(), true),
            None => (place, false),
        };
        for operation in item.as_object().into_iter().flatten().map(|(_, operation)| operation) {
            let Some(action) = operation["x-kubernetes-action"].as_str() else { continue };
            let verb = match action {
                "post" => "create",
                "put" => "update",
                "watch" | "watchlist" if watched => "watch",
                "connect" => continue,
                _ if watched => continue,
                other => other,
            };
            let gvk = &operation["x-kubernetes-group-version-kind"];
            let kind = format!("{}/{}/{}", text(&gvk["group"]), text(&gvk["version"]), text(&gvk["kind"]));
            let known = served.entry(entry.clone()).or_insert((false, kind, BTreeSet::new()));
            known.0 |= namespaced;
            known.2.insert(verb);
        }
    }
    let mut out = String::from("# Written by `cargo xtask codegen`; do not edit.\n");
    for (place, (namespaced, kind, verbs)) in &served {
        let scope = if *namespaced { "namespaced" } else { "cluster" };
        let verbs: Vec<&str> = verbs.iter().copied().collect();
        writeln!(out, "{place} {scope} {kind} {}", verbs.join(","))?;
    }
    std::fs::write(Path::new(OUTPUT), &out).with_context(|| format!("write {OUTPUT}"))?;
    println!("{OUTPUT}: {} resources", served.len());
    Ok(())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// `apps/v1/deployments/scale` and whether a namespace is in the path; `watch:` before it for the old watch paths.
fn place(path: &str) -> Option<(String, bool)> {
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    let (group, version, rest) = match segments.as_slice() {
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] => (*group, *version, rest),
        _ => return None,
    };
    let stable = version.strip_prefix('v').is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit()));
    if !stable {
        return None;
    }
    let (rest, watch) = match rest {
        ["watch", rest @ ..] => (rest, "watch:"),
        rest => (rest, ""),
    };
    let (rest, namespaced) = match rest {
        ["namespaces", "{namespace}", rest @ ..] => (rest, true),
        rest => (rest, false),
    };
    let name = match rest {
        [resource] | [resource, "{name}"] => (*resource).to_owned(),
        [resource, "{name}", sub] => format!("{resource}/{sub}"),
        _ => return None,
    };
    Some((format!("{watch}{group}/{version}/{name}"), namespaced))
}
