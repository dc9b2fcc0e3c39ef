//! `test`: sets up, checks the house rules, loads the BPF programs, and runs every test of the workspace with them.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

use crate::build::{self, BPF_OBJECT, Profile};
use crate::run::{step, stream};
use crate::{ebpf, images, paths, setup, tidy, vm};

/// How much to run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// What a change must pass.
    Usual,
    /// More generated cases, more seeds, other kernels.
    Long,
}

/// Generated cases a property for `--long`.
const LONG_CASES: &str = "20000";
/// For how long the histories of the stores are recorded, in seconds, beside everything else.
const ROBUSTNESS: &str = "GANNET_TEST_ROBUSTNESS_S";
const USUAL_ROBUSTNESS: &str = "120";
const LONG_ROBUSTNESS: &str = "3600";

#[derive(Default)]
struct Counts {
    passed: u64,
    failed: u64,
}

/// Runs everything; the last line counts what passed and failed.
pub fn run(extent: Extent) -> anyhow::Result<()> {
    setup::run()?;
    let mut counts = Counts::default();
    counts.check("tidy", tidy::run());
    let object = build::bpf_object()?;
    // One compilation with the features that the tests need; the binaries among it are the ones that are tested.
    let mut all = build::inner_cargo();
    all.env(BPF_OBJECT, &object).args(["build", "--workspace", "--exclude", "prog", "--bins", "--tests"]);
    stream(&mut all).context("the workspace does not compile")?;
    let binary = build::binary(Profile::Dev);
    let loader = Command::new(binary.with_file_name("verify"));
    counts.check("BPF programs", ebpf::verify_with(&paths::repo(), &object, loader));
    let images = images::build()?;

    let mut tests = build::inner_cargo();
    tests.env(BPF_OBJECT, &object).env("GANNET_BIN", &binary).env("GANNET_IMAGES", &images).args([
        "test",
        "--workspace",
        "--exclude",
        "prog",
        "--no-fail-fast",
    ]);
    if extent == Extent::Long {
        tests.env("GANNET_TEST_LONG", "1").env("PROPTEST_CASES", LONG_CASES);
    }
    if extent == Extent::Long {
        counts.check("other kernels", vm::every_kernel());
    }
    let robustness = std::thread::spawn(move || robustness(extent));
    counts.add(&mut tests)?;
    counts.check("robustness of the stores", robustness.join().unwrap_or_else(|_| bail!("panicked")));
    counts.conclude()
}

/// Linearizability and watches of the stores, for minutes: it mostly waits, so it runs beside the other tests. Its
/// output comes at once, when it is over.
fn robustness(extent: Extent) -> anyhow::Result<()> {
    let seconds = if extent == Extent::Long { LONG_ROBUSTNESS } else { USUAL_ROBUSTNESS };
    let output = build::inner_cargo()
        .env(ROBUSTNESS, seconds)
        .args(["test", "--quiet", "--package", "store", "--test", "robustness", "--", "--nocapture"])
        .output()?;
    for line in String::from_utf8_lossy(&output.stderr).lines().filter(|line| line.contains("violations")) {
        step("ok", line);
    }
    if !output.status.success() {
        bail!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

impl Counts {
    fn check(&mut self, name: &str, result: anyhow::Result<()>) {
        match result {
            Ok(()) => self.passed += 1,
            Err(error) => {
                self.failed += 1;
                step("failed", format_args!("{name}: {error:#}"));
            }
        }
    }

    /// Runs cargo, passes its output on, and adds up what each test binary reports.
    fn add(&mut self, cargo: &mut Command) -> anyhow::Result<()> {
        let mut child = cargo.stdout(Stdio::piped()).spawn().context("cannot start cargo test")?;
        let output = child.stdout.take().expect("standard output is piped");
        let before = self.failed;
        for line in BufReader::new(output).lines() {
            let line = line?;
            if let Some((passed, failed)) = result_line(&line) {
                self.passed += passed;
                self.failed += failed;
            }
            println!("{line}");
        }
        let status = child.wait()?;
        if !status.success() && self.failed == before {
            // It did not compile, or a test binary died without a report.
            self.failed += 1;
        }
        Ok(())
    }

    fn conclude(self) -> anyhow::Result<()> {
        println!("{} passed, {} failed", self.passed, self.failed);
        if self.failed > 0 {
            bail!("{} failed", self.failed);
        }
        Ok(())
    }
}

/// `test result: ok. 3 passed; 0 failed; ...` as (3, 0).
fn result_line(line: &str) -> Option<(u64, u64)> {
    let counts = line.strip_prefix("test result: ")?.split_once(". ")?.1;
    let mut numbers = counts.split("; ").map(|part| part.split(' ').next().unwrap_or_default().parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

#[cfg(test)]
mod tests;
