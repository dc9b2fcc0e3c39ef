//! The standard library's source, which `-Z build-std` compiles for BPF: by rustup, else from Debian's backports.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use super::{Done, apt};
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

/// Downloads and unpacks Debian's `rust-src` of this toolchain's version with a private apt configuration: nothing is
/// installed and the machine's own apt lists stay as they are.
fn from_debian() -> anyhow::Result<PathBuf> {
    let version = toolchain_version()?;
    let root = paths::cache().join("rust-src").join(&version);
    if let Some(library) = find_library(&root) {
        return Ok(library);
    }
    if !apt::running_as_root() {
        bail!("not root: apt-get cannot download the package");
    }
    fs::create_dir_all(root.join("lists/partial"))?;
    let list = root.join("sources.list");
    let keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
    fs::write(&list, format!("deb [signed-by={keyring}] {} {SUITE} main\n", apt::mirror()?))?;
    let private = [
        format!("Dir::Etc::sourcelist={}", list.display()),
        "Dir::Etc::sourceparts=/dev/null".to_owned(),
        format!("Dir::State::lists={}", root.join("lists").display()),
        format!("Dir::Cache::pkgcache={}", root.join("pkgcache.bin").display()),
        format!("Dir::Cache::srcpkgcache={}", root.join("srcpkgcache.bin").display()),
        "APT::Sandbox::User=root".to_owned(),
    ];
    let apt = || {
        let mut apt = apt::apt();
        apt.current_dir(&root);
        for option in &private {
            apt.args(["-o", option]);
        }
        apt
    };
    if capture(apt().arg("update")).is_err() || capture(apt().args(["download", &wanted(&version)])).is_err() {
        // An older keyring does not know the newer suite's key: the package's own hash is all there is to check then.
        fs::write(&list, format!("deb [trusted=yes] {} {SUITE} main\n", apt::mirror()?))?;
        capture(apt().arg("update"))?;
        capture(apt().args(["download", &wanted(&version)]))?;
    }
    let package = fs::read_dir(&root)?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .context("apt-get download left no package")?;
    capture(command("dpkg").arg("-x").arg(&package).arg(root.join("tree")))?;
    fs::remove_file(&package)?;
    find_library(&root).context("the package holds no usr/src/rustc-*/library")
}

fn wanted(version: &str) -> String {
    format!("rust-src={version}*")
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
