//! `fuzz`: libFuzzer on one entry point of `tests/inputs`, compiled with the nightly toolchain and coverage.

use anyhow::{Context as _, bail};

use crate::paths;
use crate::run::{command, step, stream, succeeds};

/// What makes a binary steer libFuzzer by its coverage.
const RUSTFLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing -Ccodegen-units=1 -Cdebug-assertions";
const HOST: &str = "x86_64-unknown-linux-gnu";
/// An input may take as long, and as much memory, before it counts as a fault.
const TIMEOUT_S: u64 = 5;
const MEMORY_LIMIT_MIB: u64 = 2048;
const INPUT_LIMIT_BYTES: usize = 64 * 1024;

/// Runs one target; new inputs stay in `target/fuzz/corpus`, a fault's in `target/fuzz/faults`.
pub fn run(target: &str, seconds: u64) -> anyhow::Result<()> {
    if !succeeds(command("cargo").args(["+nightly", "--version"])) {
        bail!("no nightly toolchain: rustup toolchain install nightly");
    }
    let folder = paths::target().join("fuzz");
    let (corpus, faults) = (folder.join("corpus").join(target), folder.join("faults").join(target));
    std::fs::create_dir_all(&faults)?;
    let mut seeds = crate::build::inner_cargo();
    seeds.args(["run", "--quiet", "--package", "inputs", "--example", "seeds", "--", target]).arg(&corpus);
    stream(&mut seeds).context("cannot write the seeds")?;
    let mut build = command("cargo");
    build
        .args(["+nightly", "build", "--release", "--target", HOST, "--bin", target, "--manifest-path"])
        .arg(paths::repo().join("fuzz/Cargo.toml"))
        .env("CARGO_TARGET_DIR", &folder)
        .env("RUSTFLAGS", RUSTFLAGS);
    stream(&mut build).context("cannot compile the fuzz target")?;
    let mut fuzz = command(folder.join(HOST).join("release").join(target));
    fuzz.arg(&corpus)
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-timeout={TIMEOUT_S}"))
        .arg(format!("-rss_limit_mb={MEMORY_LIMIT_MIB}"))
        .arg(format!("-max_len={INPUT_LIMIT_BYTES}"))
        .arg(format!("-artifact_prefix={}/", faults.display()));
    stream(&mut fuzz).with_context(|| format!("a fault; its input is in {}", faults.display()))?;
    step("ok", format_args!("{target}: {seconds} s without a fault"));
    Ok(())
}
