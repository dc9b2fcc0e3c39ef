//! `gannet net` as users meet it first: its help, and what it says without a cluster.

use std::process::{Command, Output};

fn gannet(words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gannet"));
    command.args(words).env_remove("KUBECONFIG").output().expect("the binary runs")
}

#[test]
fn help_names_every_verb() {
    let help = String::from_utf8(gannet(&["net", "--help"]).stdout).expect("text");
    for verb in ["test", "flows", "drops", "top", "services", "maps", "progs", "trace", "verify"] {
        assert!(help.lines().any(|line| line.trim_start().starts_with(verb)), "no {verb} in\n{help}");
    }
}

#[test]
fn without_a_cluster_a_verb_says_what_failed() {
    let directory = tempfile::tempdir().expect("a directory");
    let nowhere = directory.path().display().to_string();
    for verb in ["flows", "drops", "services", "maps", "progs", "verify"] {
        let output = gannet(&["net", verb, "--data-dir", &nowhere]);
        let told = String::from_utf8(output.stderr).expect("text");
        assert!(!output.status.success() && told.contains("kubeconfig"), "{verb}: {told}");
    }
}
