//! Rules about the text of source files: sizes, headers, words, and calls that have one home.

use std::fs;
use std::path::{Path, PathBuf};

use super::Finding;
use super::metadata::Graph;

/// Lines that are too many; tests and tables excepted.
const MAX_LINES: usize = 600;

/// Words that have no place in a finished tree, each with the reason.
const FORBIDDEN_WORDS: &[(&str, &str)] = &[
    (concat!("TO", "DO"), "an issue is the place for what is left to do"),
    (concat!("FIX", "ME"), "an issue is the place for what is broken"),
    (concat!("#[", "allow("), "use #[expect(lint, reason = \"...\")]"),
    (concat!("To be ", "written"), "a crate is created when it has content"),
    (concat!("unimplemented", "!("), "nothing half-done is merged"),
    (concat!("/", "work/"), "no paths of one machine"),
];

/// Names that say nothing.
const VAGUE_NAMES: &[&str] =
    &["manager", "helper", "helpers", "util", "utils", "common", "handler", "handlers", "data", "info", "misc"];

/// Calls with one home, by the crates that are excused.
const HOMES: &[(&str, &[&str], &str)] = &[
    ("Instant::now", &["process"], "the clock is read in process only"),
    ("SystemTime::now", &["process"], "the clock is read in process only"),
    ("Timestamp::now", &["process"], "the clock is read in process only"),
    ("tokio::spawn", &["process"], "tasks are spawned by process, with a name"),
    ("tokio::task::spawn", &["process"], "tasks are spawned by process, with a name"),
];

/// Crates that may contain `unsafe`.
const UNSAFE: &[&str] = &["abi", "prog", "kernel"];

/// A test may pause between two looks at a condition; so many lines before, its deadline stands.
const POLL_LINES: usize = 20;

/// Reads every source file of ours.
pub fn check(repo: &Path, graph: &Graph) -> anyhow::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for (name, folder) in &graph.ours {
        let mut files = Vec::new();
        rust_files(&repo.join(folder), &mut files)?;
        for file in files {
            let text = fs::read_to_string(&file)?;
            let shown = file.strip_prefix(repo).unwrap_or(&file).display().to_string();
            let is_test = is_test(&shown);
            findings.extend(file_findings(name, folder, &shown, &text, is_test));
        }
    }
    Ok(findings)
}

/// The rules that one file breaks.
pub(super) fn file_findings(name: &str, folder: &str, shown: &str, text: &str, is_test: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    let lines: Vec<&str> = text.lines().collect();
    let is_table = shown.contains("table") || shown.contains("generated");
    if lines.len() > MAX_LINES && !is_test && !is_table {
        findings.push(format!("{shown}: {} lines; {MAX_LINES} is the limit", lines.len()));
    }
    if !is_test && !text.trim_start().starts_with("//!") {
        findings.push(format!("{shown}: says not in a //! header what it is"));
    }
    let stem = Path::new(shown).file_stem().unwrap_or_default().to_string_lossy().into_owned();
    if VAGUE_NAMES.contains(&stem.as_str()) {
        findings.push(format!("{shown}: the name says nothing"));
    }
    let observes = ["tests/", "bench", "xtask", "examples/"].iter().any(|prefix| folder.starts_with(prefix));
    // Tests at the end of a file: everything after the attribute.
    let tests_from = lines.windows(2).position(|pair| pair[0] == "#[cfg(test)]" && pair[1].ends_with('{'));
    for (number, line) in lines.iter().enumerate() {
        let is_test = is_test || tests_from.is_some_and(|from| number > from);
        let place = format!("{shown}:{}", number + 1);
        for (word, why) in FORBIDDEN_WORDS {
            if line.contains(word) {
                findings.push(format!("{place}: {word}: {why}"));
            }
        }
        let code = line.trim_start();
        if code.starts_with("//") {
            continue;
        }
        for (call, homes, why) in HOMES {
            if line.contains(call) && !homes.contains(&name) && !observes && !is_test {
                findings.push(format!("{place}: {call}: {why}"));
            }
        }
        if is_test && (line.contains("thread::sleep(") || line.contains("time::sleep(")) {
            let before = &lines[number.saturating_sub(POLL_LINES)..number];
            if !before.iter().any(|line| line.contains("deadline") || line.contains("timeout(")) {
                findings.push(format!("{place}: a test that sleeps: wait for the condition with a deadline"));
            }
        }
        if !UNSAFE.contains(&name) && (code.starts_with("unsafe ") || line.contains(concat!(" unsafe", " {"))) {
            findings.push(format!("{place}: unsafe: only in {}", UNSAFE.join(", ")));
        }
        if !is_test && !observes && line.contains(".unwrap()") {
            findings.push(format!("{place}: unwrap outside tests: expect(\"the invariant\")"));
        }
    }
    findings
}

/// `foo/tests.rs`, `foo/tests/...` and a crate's `tests/`.
fn is_test(shown: &str) -> bool {
    shown.ends_with("/tests.rs")
        || shown.ends_with("_tests.rs")
        || shown.contains("/tests/")
        || shown.contains("/conformance")
        || shown.starts_with("tests/")
}

fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)?.flatten().map(|entry| entry.path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            if path.file_name().is_none_or(|name| name != "target") {
                rust_files(&path, files)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}
