//! The dependency graph out of `cargo metadata`'s JSON.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use serde_json::Value;

/// Who depends on whom, by normal dependencies (neither dev nor build), with the features that a build enables.
pub struct Graph {
    /// Our crates by name: the folder relative to the repository.
    pub ours: BTreeMap<String, String>,
    names: BTreeMap<String, String>,
    normal: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    /// Reads `cargo metadata --format-version 1`.
    pub fn parse(metadata: &Value) -> anyhow::Result<Self> {
        let root = metadata["workspace_root"].as_str().context("no workspace_root")?;
        let members: BTreeSet<&str> = strings(&metadata["workspace_members"]).collect();
        let mut ours = BTreeMap::new();
        let mut names = BTreeMap::new();
        for package in metadata["packages"].as_array().context("no packages")? {
            let (Some(id), Some(name)) = (package["id"].as_str(), package["name"].as_str()) else { continue };
            names.insert(id.to_owned(), name.to_owned());
            if members.contains(id) {
                let manifest = package["manifest_path"].as_str().unwrap_or_default();
                let folder = manifest.trim_start_matches(root).trim_start_matches('/').trim_end_matches("/Cargo.toml");
                ours.insert(name.to_owned(), folder.to_owned());
            }
        }
        let mut normal: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for node in metadata["resolve"]["nodes"].as_array().context("no resolved nodes")? {
            let Some(id) = node["id"].as_str() else { continue };
            let edges = normal.entry(id.to_owned()).or_default();
            for dependency in node["deps"].as_array().into_iter().flatten() {
                let kinds = dependency["dep_kinds"].as_array();
                let is_normal =
                    kinds.into_iter().flatten().any(|kind| kind["kind"].is_null() && on_linux(&kind["target"]));
                if let (true, Some(to)) = (is_normal, dependency["pkg"].as_str()) {
                    edges.insert(to.to_owned());
                }
            }
        }
        Ok(Self { ours, names, normal })
    }

    /// The crates that `name` imports itself.
    pub fn imports(&self, name: &str) -> BTreeSet<&str> {
        self.id(name)
            .and_then(|id| self.normal.get(id))
            .into_iter()
            .flatten()
            .map(|id| self.names[id].as_str())
            .collect()
    }

    /// Every crate reachable from `name`, each with the path that leads there.
    pub fn closure(&self, name: &str) -> BTreeMap<&str, Vec<&str>> {
        let mut found: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let Some(start) = self.id(name) else { return found };
        let mut queue = vec![(start, vec![])];
        while let Some((id, path)) = queue.pop() {
            for next in self.normal.get(id).into_iter().flatten() {
                let next_name = self.names[next].as_str();
                if !found.contains_key(next_name) {
                    let mut longer: Vec<&str> = path.clone();
                    longer.push(next_name);
                    found.insert(next_name, longer.clone());
                    queue.push((next, longer));
                }
            }
        }
        found
    }

    fn id(&self, name: &str) -> Option<&str> {
        self.names.iter().find(|(id, found)| *found == name && id.starts_with("path+")).map(|(id, _)| id.as_str())
    }
}

/// Targets of other systems are no dependency of a Linux build.
fn on_linux(target: &Value) -> bool {
    target.as_str().is_none_or(|target| {
        !["windows", "macos", "apple", "wasm", "wasi", "hermit", "redox", "android", "freebsd", "solaris"]
            .iter()
            .any(|other| target.contains(other))
    })
}

fn strings(value: &Value) -> impl Iterator<Item = &str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str)
}
