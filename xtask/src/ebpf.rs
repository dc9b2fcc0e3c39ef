//! The BPF programs: compiled from Rust by the pinned toolchain, loaded on this kernel, held to a budget.

pub mod budget;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use self::budget::{Budget, Mode, Series};
use crate::build::{BPF_OBJECT, inner_cargo};
use crate::run::{capture, cargo, stream};

/// Compiles `ebpf/prog` and returns the object.
pub fn build(repo: &Path, target: &Path) -> anyhow::Result<PathBuf> {
    let output = target.join("bpf");
    // `cargo rustc` gives the linker its argument for this crate alone: in RUSTFLAGS it would also make another `core`.
    stream(
        cargo()
            .current_dir(repo)
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_TARGET_DIR", &output)
            .env("CARGO_ENCODED_RUSTFLAGS", "--cfg=bpf_target_arch=\"x86_64\"\x1f-Cdebuginfo=2\x1f-Ctarget-cpu=v3")
            .envs([
                // The BTF of maps and functions comes from the debug information; one unit makes the counts repeatable.
                ("CARGO_PROFILE_RELEASE_DEBUG", "2"),
                ("CARGO_PROFILE_RELEASE_STRIP", "none"),
                ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1"),
            ])
            .args(["rustc", "--quiet", "--release", "--package", "prog", "--bin", "prog", "-Z", "build-std=core"])
            .args(["--target", "bpfel-unknown-none", "--", "-C", "link-arg=--btf"])
            // Else LLVM leaves memset and memmove as calls to byte loops: twice the instructions to verify, a fifth more time.
            .args(["-C", "link-arg=--disable-expand-memcpy-in-order"]),
    )
    .context("cannot compile ebpf/prog (does `bpf-linker --version` answer? `cargo xtask setup` installs it)")?;
    Ok(output.join("bpfel-unknown-none/release/prog"))
}

/// Loads every program on this kernel and compares the verifier's counts with `ebpf/prog/verifier.txt`.
pub fn verify(repo: &Path, object: &Path) -> anyhow::Result<()> {
    let mut loader = inner_cargo();
    loader.args(["run", "--quiet", "--package", "kernel-tests", "--bin", "verify"]);
    verify_with(repo, object, loader)
}

/// The same with a command that runs kernel-tests' `verify`, for a caller that has compiled it already.
pub fn verify_with(repo: &Path, object: &Path, mut loader: Command) -> anyhow::Result<()> {
    let output = capture(loader.env(BPF_OBJECT, object)).context("the BPF programs do not load on this kernel")?;
    let costs = budget::parse(output.lines()).context("what `verify` printed")?;
    let mode = Mode::from_environment();
    let mut budget = Budget::read(repo)?;
    let faults = budget.take(Series::here()?, &costs, mode);
    if !faults.is_empty() {
        bail!("the verifier's budget:\n{}", faults.join("\n"));
    }
    if mode == Mode::Bless { budget.write() } else { Ok(()) }
}
