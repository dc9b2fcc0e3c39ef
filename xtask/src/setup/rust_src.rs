//! The standard library's source, which `-Z build-std` compiles for BPF: by rustup, else from Debian's backports.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::Done;
use super::suite::Suite;
use crate::paths;
use crate::run::{capture, command};

/// The suite whose `rust-src` is of the pinned toolchain's version.
const SUITE: &str = "trixie-backports";
/// Seconds that rustup gets to reach its server.
const RUSTUP_TIMEOUT_S: u32 = 120;

/// Makes `$(rustc --print sysroot)/lib/rustlib/src/rust/library` exist.
pub fn install() -> anyhow::Result<Done> {
    let sysroot = PathBuf::from(capture(command("rustc").args(["--print", "sysroot"]))?.trim());
    let source = sysroot.join("lib/rustlib/src/rust");
    let library = source.join("library");
    if library.join("core/src/lib.rs").is_file() {
        return Ok(Done::Ok);
    }
    let limit = RUSTUP_TIMEOUT_S.to_string();
    let rustup = capture(command("timeout").args([&limit, "rustup", "component", "add", "rust-src"]));
    if library.join("core/src/lib.rs").is_file() {
        return Ok(Done::Installed);
    }
    let by_rustup = rustup.err().map_or_else(|| "rustup added nothing".to_owned(), |error| last_line(&error));
    let unpacked = from_debian().with_context(|| format!("neither by rustup ({by_rustup}) nor from {SUITE}"))?;
    fs::create_dir_all(&source)?;
    if library.symlink_metadata().is_ok() {
        fs::remove_file(&library).with_context(|| format!("a broken {} is in the way", library.display()))?;
    }
    symlink(&unpacked, &library).with_context(|| format!("cannot link {}", library.display()))?;
    Ok(Done::Installed)
}

/// Downloads and unpacks Debian's `rust-src` of this toolchain's version.
fn from_debian() -> anyhow::Result<PathBuf> {
    let version = toolchain_version()?;
    let root = paths::cache().join("rust-src").join(&version);
    if let Some(library) = find_library(&root) {
        return Ok(library);
    }
    Suite::open(SUITE, &root)?.unpack(&[format!("rust-src={version}*")])?;
    find_library(&root).context("the package holds no usr/src/rustc-*/library")
}

fn find_library(root: &Path) -> Option<PathBuf> {
    let sources = fs::read_dir(root.join("tree/usr/src")).ok()?;
    sources.flatten().map(|entry| entry.path().join("library")).find(|path| path.join("core/src/lib.rs").is_file())
}

fn toolchain_version() -> anyhow::Result<String> {
    let verbose = capture(command("rustc").arg("-vV"))?;
    let release = verbose.lines().find_map(|line| line.strip_prefix("release: "));
    release.map(str::to_owned).context("rustc -vV names no release")
}

fn last_line(error: &anyhow::Error) -> String {
    format!("{error:#}").lines().last().unwrap_or_default().to_owned()
}
