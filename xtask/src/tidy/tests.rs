use serde_json::{Value, json};

use super::metadata::Graph;
use super::{imports, sources};

/// A workspace of these crates at their folders, each with the crates it imports.
fn graph(crates: &[(&str, &str, &[&str])]) -> Graph {
    let folder = |name: &str| crates.iter().find(|(own, ..)| *own == name).map(|(_, folder, _)| *folder);
    let id = |name: &str| match folder(name) {
        Some(folder) => format!("path+file:///repo/{folder}#{name}@0.0.0"),
        None => format!("registry+index#{name}@1.0.0"),
    };
    let mut names: Vec<&str> = crates.iter().flat_map(|(name, _, imports)| [&[*name], *imports].concat()).collect();
    names.sort_unstable();
    names.dedup();
    let package = |name: &&str| {
        let manifest =
            folder(name).map_or_else(|| format!("/registry/{name}/Cargo.toml"), |at| format!("/repo/{at}/Cargo.toml"));
        json!({"id": id(name), "name": name, "manifest_path": manifest})
    };
    let edge = |to: &&str| json!({"pkg": id(to), "dep_kinds": [{"kind": null, "target": null}]});
    let node = |(name, _, imports): &(&str, &str, &[&str])| json!({"id": id(name), "deps": imports.iter().map(edge).collect::<Vec<Value>>()});
    let metadata = json!({
        "workspace_root": "/repo",
        "workspace_members": crates.iter().map(|(name, ..)| id(name)).collect::<Vec<String>>(),
        "packages": names.iter().map(package).collect::<Vec<Value>>(),
        "resolve": {"nodes": crates.iter().map(node).collect::<Vec<Value>>()},
    });
    Graph::parse(&metadata).expect("the sample reads")
}

fn check(crates: &[(&str, &str, &[&str])], expected: &str) {
    let findings = imports::check(&graph(crates));
    assert!(findings.iter().any(|finding| finding.contains(expected)), "{expected:?} not in {findings:?}");
}

#[test]
fn what_is_allowed_is_silent() {
    let crates: &[(&str, &str, &[&str])] = &[
        ("api", "control/api", &["serde"]),
        ("kernel", "node/kernel", &["aya"]),
        ("plane", "control/plane", &["api", "tokio"]),
        ("gannet", "control/gannet", &["plane", "kernel"]),
        ("cluster-tests", "tests/cluster", &["anyhow"]),
    ];
    let findings = imports::check(&graph(crates));
    assert!(findings.is_empty(), "{findings:?}");
}

#[test]
fn forbidden_edges_are_found() {
    check(&[("plane", "control/plane", &["pod"]), ("pod", "node/pod", &[])], "control never imports node");
    check(
        &[("pod", "node/pod", &["registry"]), ("registry", "control/registry", &[])],
        "node imports from control only",
    );
    check(&[("agent", "node/agent", &["aya"])], "another crate is its only importer");
    check(
        &[("fabric", "control/fabric", &["scheduler"]), ("scheduler", "control/scheduler", &[])],
        "meet only in the store",
    );
    check(&[("cache", "control/cache", &["bench"]), ("bench", "bench", &[])], "nothing imports tests");
    check(&[("api", "control/api", &["wire"]), ("wire", "proto/wire", &[])], "two roots");
    check(
        &[("agent", "node/agent", &["store"]), ("store", "control/store", &[])],
        "another crate is its only importer",
    );
}

#[test]
fn purity_is_transitive() {
    let crates: &[(&str, &str, &[&str])] =
        &[("datapath", "node/datapath", &["wire"]), ("wire", "proto/wire", &["tokio"])];
    check(crates, "datapath -> wire -> tokio");
}

#[test]
fn texts_are_read() {
    let source = |text: &str| sources::file_findings("pod", "node/pod", "node/pod/src/lib.rs", text, false).join("\n");
    assert_eq!(source("//! What it is.\nfn f() {}\n"), "");
    for (text, expected) in [
        ("fn f() {}\n", "//! header"),
        ("//! x\nfn f() { y.unwrap(); }\n", "unwrap outside tests"),
        ("//! x\nlet now = std::time::Instant::now();\n", "the clock is read in process only"),
        ("//! x\nlet t = tokio::spawn(f);\n", "tasks are spawned by process"),
        (concat!("//! x\nlet y = unsafe", " { z };\n"), "unsafe: only in"),
    ] {
        assert!(source(text).contains(expected), "{text:?}: {:?}", source(text));
    }
    assert!(source(&format!("//! x\n{}", "\n".repeat(601))).contains("600 is the limit"));
}
