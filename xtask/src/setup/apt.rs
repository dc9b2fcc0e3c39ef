//! Debian packages, without prompts, with the package lists fetched at most once a run.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context as _, bail};

use super::Done;
use crate::run::{capture, command};

/// Seconds to wait for another apt run.
const LOCK_TIMEOUT_S: u32 = 300;

/// Installs those of `packages` that are missing.
pub fn install(packages: &[&str]) -> anyhow::Result<Done> {
    let missing: Vec<&str> = packages.iter().copied().filter(|package| !installed(package)).collect();
    if missing.is_empty() {
        return Ok(Done::Ok);
    }
    if !running_as_root() {
        bail!("not root, and missing: {}", missing.join(" "));
    }
    if lists_are_empty() {
        update()?;
    }
    let attempt = || capture(apt().args(["install", "-y", "--no-install-recommends"]).args(&missing));
    if attempt().is_err() {
        // Lists of last month name packages that the mirror has replaced since.
        update()?;
        attempt().with_context(|| format!("cannot install {}", missing.join(" ")))?;
    }
    Ok(Done::Installed)
}

/// The mirror this machine's Debian packages come from, e.g. `http://deb.debian.org/debian`.
pub fn mirror() -> anyhow::Result<String> {
    let uris = capture(apt().args(["indextargets", "--format", "$(REPO_URI)"]))?;
    let found = uris.lines().map(|uri| uri.trim_end_matches('/')).find(|uri| uri.ends_with("/debian"));
    found.map(str::to_owned).context("apt's configuration names no Debian mirror")
}

/// `apt-get` without prompts.
pub fn apt() -> Command {
    let mut apt = command("apt-get");
    apt.env("DEBIAN_FRONTEND", "noninteractive").args([
        "-q",
        "-o",
        "Dpkg::Use-Pty=0",
        "-o",
        &format!("DPkg::Lock::Timeout={LOCK_TIMEOUT_S}"),
    ]);
    apt
}

/// Whether this process may install packages.
pub fn running_as_root() -> bool {
    capture(command("id").arg("-u")).is_ok_and(|uid| uid.trim() == "0")
}

fn installed(package: &str) -> bool {
    capture(command("dpkg-query").args(["-W", "-f", "${db:Status-Status}\n", package]))
        .is_ok_and(|status| status.lines().any(|line| line == "installed"))
}

fn lists_are_empty() -> bool {
    let lists = Path::new("/var/lib/apt/lists");
    let Ok(entries) = std::fs::read_dir(lists) else { return true };
    !entries.flatten().any(|entry| entry.file_name().to_string_lossy().contains("_Packages"))
}

fn update() -> anyhow::Result<()> {
    static UPDATED: OnceLock<Result<(), String>> = OnceLock::new();
    let result = UPDATED.get_or_init(|| capture(apt().arg("update")).map(drop).map_err(|error| format!("{error:#}")));
    result.clone().map_err(anyhow::Error::msg)
}
