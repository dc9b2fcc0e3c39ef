//! bpf-linker, built against the LLVM of the pinned toolchain.

use super::Done;
use crate::paths;
use crate::run::{capture, cargo, command};

/// The newest that builds on the pinned toolchain, and the LLVM rustc itself uses: bitcode must match.
const VERSION: &str = "0.13.0";
const LLVM: &str = "22";

/// Builds bpf-linker into the tools directory unless one of this version is on PATH.
pub fn install() -> anyhow::Result<Done> {
    if capture(command("bpf-linker").arg("--version")).is_ok_and(|version| version.contains(VERSION)) {
        return Ok(Done::Ok);
    }
    capture(
        cargo()
            .env("LLVM_PREFIX", format!("/usr/lib/llvm-{LLVM}"))
            .env("CARGO_TARGET_DIR", paths::target().join("tools"))
            .args(["install", "--quiet", "bpf-linker", "--version", VERSION, "--no-default-features"])
            .args(["--features", &format!("llvm-{LLVM}"), "--root"])
            .arg(paths::tools()),
    )?;
    Ok(Done::Installed)
}
