//! `ebpf` and `build`: the BPF object, then the binary that carries it.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::run::{capture, cargo, step, stream};
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

/// Static programs run in an image or a guest that holds nothing else. Naming the target keeps the flags from build scripts.
const STATIC: [(&str, &str); 1] = [("RUSTFLAGS", "-C target-feature=+crt-static")];
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// A static `hello`, for an image that holds nothing else.
pub fn static_hello() -> anyhow::Result<PathBuf> {
    let mut build = inner_cargo();
    build.envs(STATIC).args(["build", "--quiet", "--release", "--package", "hello", "--target", TARGET]);
    stream(&mut build).context("cannot build examples/hello")?;
    Ok(paths::target().join(TARGET).join("release/hello"))
}

/// Static builds of some of kernel-tests' programs and of one of its tests: each by its name.
pub fn static_kernel_tests(programs: &[&str], test: &str) -> anyhow::Result<Vec<(String, PathBuf)>> {
    let mut build = inner_cargo();
    build.envs(STATIC).args(["test", "--quiet", "--release", "--no-run", "--package", "kernel-tests"]);
    build.args(["--target", TARGET, "--message-format", "json"]);
    // With a test, cargo builds the package's programs too.
    build.args(["--test", test]);
    let messages = capture(&mut build).context("cannot build kernel-tests")?;
    let mut found = Vec::new();
    for message in messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let name = message["target"]["name"].as_str().unwrap_or_default();
        let wanted = (name == test && message["profile"]["test"] == true)
            || (programs.contains(&name) && message["profile"]["test"] == false);
        if let (Some(executable), true) = (message["executable"].as_str(), wanted) {
            found.push((name.to_owned(), PathBuf::from(executable)));
        }
    }
    if found.len() != programs.len() + 1 {
        bail!("cargo built {} of {} programs of kernel-tests", found.len(), programs.len() + 1);
    }
    Ok(found)
}

/// A cargo whose output goes to the shared target directory.
pub fn inner_cargo() -> Command {
    let mut cargo = cargo();
    cargo.env("CARGO_TARGET_DIR", paths::target());
    cargo
}
