//! Kernels of Debian's suites: downloaded and unpacked into the cache, nothing installed.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::paths;
use crate::setup::suite::Suite;

/// Where kernels come from, oldest first: 6.1, 6.12, and the newest that Debian has.
pub const SUITES: [&str; 3] = ["bookworm", "trixie", "trixie-backports"];

/// Names the suite's kernel for virtual machines: drivers for hypervisors, everything else as in the large one.
const META_PACKAGE: &str = "linux-image-cloud-amd64";
/// What of its dependencies holds the kernel; since 7.x image and modules are packages of their own.
const PARTS: [&str; 3] = ["linux-image-", "linux-binary-", "linux-modules-"];

/// An unpacked kernel.
pub struct Kernel {
    /// `6.1.0-54-cloud-amd64`.
    pub release: String,
    /// The bootable image.
    pub image: PathBuf,
    /// Its folder of modules.
    pub modules: PathBuf,
}

/// The cached kernel of a suite, or a downloaded one.
pub fn fetch(suite: &str) -> anyhow::Result<Kernel> {
    let root = root(suite);
    if let Some(kernel) = find(&root.join("tree")) {
        return Ok(kernel);
    }
    let opened = Suite::open(suite, &root)?;
    let mut packages = vec![META_PACKAGE.to_owned()];
    let mut next = 0;
    while next < packages.len() {
        let depends = opened.depends(&packages[next])?;
        for package in depends.into_iter().filter(|package| PARTS.iter().any(|part| package.starts_with(part))) {
            if !packages.contains(&package) {
                packages.push(package);
            }
        }
        next += 1;
    }
    let tree = opened.unpack(&packages)?;
    find(&tree).with_context(|| format!("{} hold no kernel", packages.join(", ")))
}

/// Forgets the cached kernel of a suite, so that the next [`fetch`] takes what is newest there.
pub fn forget(suite: &str) -> anyhow::Result<()> {
    match fs::remove_dir_all(root(suite)) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn root(suite: &str) -> PathBuf {
    paths::cache().join("kernels").join(suite)
}

/// Modules are below `lib` or `usr/lib`; the image is in `boot` or, since 7.x, beside its modules.
fn find(tree: &Path) -> Option<Kernel> {
    for modules in ["usr/lib/modules", "lib/modules"].map(|folder| tree.join(folder)) {
        for entry in fs::read_dir(modules).ok().into_iter().flatten().flatten() {
            let release = entry.file_name().to_string_lossy().into_owned();
            let images = [entry.path().join("vmlinuz"), tree.join(format!("boot/vmlinuz-{release}"))];
            let image = images.into_iter().find(|image| image.is_file());
            if let Some(image) = image.filter(|_| entry.path().join("kernel").is_dir()) {
                return Some(Kernel { release, image, modules: entry.path() });
            }
        }
    }
    None
}
