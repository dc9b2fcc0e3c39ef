//! `tidy`: the house rules a compiler does not know. Crates and their imports come from `cargo metadata`, the rest
//! from reading the sources.

mod imports;
mod metadata;
mod sources;
#[cfg(test)]
mod tests;

use anyhow::bail;

use crate::run::{capture, cargo, step};

/// One broken rule, as a line that names the place and the rule.
type Finding = String;

/// Checks everything and prints each finding.
pub fn run() -> anyhow::Result<()> {
    let metadata = capture(cargo().args(["metadata", "--format-version", "1", "--locked"]))?;
    let graph = metadata::Graph::parse(&serde_json::from_str(&metadata)?)?;
    let mut findings = imports::check(&graph);
    findings.extend(sources::check(&crate::paths::repo(), &graph)?);
    if let Err(error) = capture(cargo().args(["fmt", "--all", "--check"])) {
        findings
            .push(format!("format: run `cargo fmt --all` ({})", error.to_string().lines().next().unwrap_or_default()));
    }
    for finding in &findings {
        println!("tidy: {finding}");
    }
    if !findings.is_empty() {
        bail!("{} house rules broken", findings.len());
    }
    step("ok", "tidy: imports, purity, sizes, words, format");
    Ok(())
}
