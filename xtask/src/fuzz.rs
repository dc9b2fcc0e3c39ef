//! `fuzz`: libFuzzer on the entry points of `tests/inputs`, compiled with coverage by the nightly toolchain, or by the
//! project's own where there is none: of what it takes, only the name of the pass is not promised to be stable.

use std::process::Command;

use anyhow::{Context as _, bail};

use crate::paths;
use crate::run::{capture, command, step, stream, succeeds};

/// What makes a binary steer libFuzzer by its coverage.
const RUSTFLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing -Ccodegen-units=1 -Cdebug-assertions";
const HOST: &str = "x86_64-unknown-linux-gnu";
/// An input may take as long, and as much memory, before it counts as a fault.
const TIMEOUT_S: u64 = 5;
const MEMORY_LIMIT_MIB: u64 = 2048;
const INPUT_LIMIT_BYTES: usize = 64 * 1024;
/// All targets, one after the other.
const ALL: &str = "all";

/// Runs one target, or all; new inputs stay in `target/fuzz/corpus`, a fault's in `target/fuzz/faults`.
pub fn run(target: &str, seconds: u64) -> anyhow::Result<()> {
    let listed = capture(seeds().arg("--list")).context("cannot list the targets")?;
    let targets: Vec<&str> = listed.lines().filter(|name| target == ALL || *name == target).collect();
    if targets.is_empty() {
        bail!("no target {target:?}: {}", listed.lines().collect::<Vec<_>>().join(", "));
    }
    build()?;
    let mut faulty = Vec::new();
    for target in targets {
        match fuzz(target, seconds) {
            Ok(()) => step("ok", format_args!("{target}: {seconds} s without a fault")),
            Err(error) => {
                step("fault", format_args!("{target}: {error:#}"));
                faulty.push(target);
            }
        }
    }
    if !faulty.is_empty() {
        bail!("faults: {}", faulty.join(", "));
    }
    Ok(())
}

fn seeds() -> Command {
    let mut seeds = crate::build::inner_cargo();
    seeds.args(["run", "--quiet", "--package", "inputs", "--example", "seeds", "--"]);
    seeds
}

fn build() -> anyhow::Result<()> {
    let nightly = succeeds(command("cargo").args(["+nightly", "--version"]));
    let mut build = command("cargo");
    if nightly {
        build.arg("+nightly");
    } else {
        build.env("RUSTC_BOOTSTRAP", "1");
    }
    build
        .args(["build", "--release", "--target", HOST, "--manifest-path"])
        .arg(paths::repo().join("fuzz/Cargo.toml"))
        .env("CARGO_TARGET_DIR", paths::target().join("fuzz"))
        .env("RUSTFLAGS", RUSTFLAGS);
    stream(&mut build).context("cannot compile the fuzz target")
}

fn fuzz(target: &str, seconds: u64) -> anyhow::Result<()> {
    let folder = paths::target().join("fuzz");
    let (corpus, faults) = (folder.join("corpus").join(target), folder.join("faults").join(target));
    std::fs::create_dir_all(&faults)?;
    stream(seeds().arg(target).arg(&corpus)).context("cannot write the seeds")?;
    let mut fuzz = command(folder.join(HOST).join("release/target"));
    fuzz.env("GANNET_FUZZ_TARGET", target)
        .arg(&corpus)
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-timeout={TIMEOUT_S}"))
        .arg(format!("-rss_limit_mb={MEMORY_LIMIT_MIB}"))
        .arg(format!("-max_len={INPUT_LIMIT_BYTES}"))
        .arg(format!("-artifact_prefix={}/", faults.display()));
    stream(&mut fuzz).with_context(|| format!("a fault; its input is in {}", faults.display()))
}
