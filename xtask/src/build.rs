//! `ebpf` and `build`: the BPF object, then the binary that carries it.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Context as _;

use crate::run::{cargo, step, stream};
use crate::{ebpf, paths};

/// How user space is compiled.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// What `test` uses: one compilation serves everything.
    Dev,
    /// What `up` and `bench` run.
    Release,
}

impl Profile {
    fn directory(self) -> &'static str {
        match self {
            Self::Dev => "debug",
            Self::Release => "release",
        }
    }
}

/// The environment variable by which the kernel crate's build finds the BPF object.
pub const BPF_OBJECT: &str = "GANNET_BPF_OBJECT";

/// Compiles the BPF programs, loads them on this kernel and holds them to their budget.
pub fn ebpf() -> anyhow::Result<PathBuf> {
    let object = bpf_object()?;
    ebpf::verify(&paths::repo(), &object)?;
    step("ok", "BPF programs load on this kernel, within verifier.txt");
    Ok(object)
}

/// Compiles the BPF programs.
pub fn bpf_object() -> anyhow::Result<PathBuf> {
    let object = bpf_object_quietly()?;
    step("built", format_args!("BPF programs: {}", object.display()));
    Ok(object)
}

/// Compiles the BPF programs and leaves standard output to the caller.
pub fn bpf_object_quietly() -> anyhow::Result<PathBuf> {
    ebpf::build(&paths::repo(), &paths::target()).context("cannot compile the BPF programs")
}

/// Builds `gannet` with the BPF programs inside and returns its path.
pub fn gannet(profile: Profile) -> anyhow::Result<PathBuf> {
    let object = bpf_object()?;
    gannet_with(profile, &object)
}

/// Builds `gannet` with this BPF object inside and returns its path.
pub fn gannet_with(profile: Profile, object: &std::path::Path) -> anyhow::Result<PathBuf> {
    let mut build = inner_cargo();
    build.env(BPF_OBJECT, object).args(["build", "--package", "gannet"]);
    if profile == Profile::Release {
        build.arg("--release");
    }
    stream(&mut build).context("cannot build gannet")?;
    let binary = binary(profile);
    step("built", format_args!("gannet: {}", binary.display()));
    Ok(binary)
}

/// Where a build of this profile puts `gannet`.
pub fn binary(profile: Profile) -> PathBuf {
    paths::target().join(profile.directory()).join("gannet")
}

/// A static `hello`, for an image that holds nothing else.
pub fn static_hello() -> anyhow::Result<PathBuf> {
    const TARGET: &str = "x86_64-unknown-linux-gnu";
    stream(inner_cargo().env("RUSTFLAGS", "-C target-feature=+crt-static").args([
        "build",
        "--quiet",
        "--release",
        "--package",
        "hello",
        "--target",
        TARGET,
    ]))
    .context("cannot build examples/hello")?;
    Ok(paths::target().join(TARGET).join("release/hello"))
}

/// A cargo whose output goes to the shared target directory.
pub fn inner_cargo() -> Command {
    let mut cargo = cargo();
    cargo.env("CARGO_TARGET_DIR", paths::target());
    cargo
}
