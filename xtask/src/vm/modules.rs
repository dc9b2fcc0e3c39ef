//! Kernel modules for a guest: found by name, unpacked, in an order in which each can be loaded.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

use crate::run::command;

/// A module and its bytes as the kernel takes them.
pub struct Module {
    pub name: String,
    pub bytes: Vec<u8>,
}

/// Those of `wanted` that are modules here, each after what it depends on. What is built in or absent is left out.
pub fn gather(folder: &Path, wanted: &[&str]) -> anyhow::Result<Vec<Module>> {
    let mut files = BTreeMap::new();
    index(&folder.join("kernel"), &mut files)?;
    let mut found = Vec::new();
    for name in wanted {
        add(name, &files, &mut found)?;
    }
    Ok(found)
}

fn add(name: &str, files: &BTreeMap<String, PathBuf>, found: &mut Vec<Module>) -> anyhow::Result<()> {
    let Some(path) = files.get(name) else { return Ok(()) };
    if found.iter().any(|module| module.name == name) {
        return Ok(());
    }
    let bytes = read(path)?;
    for dependency in depends(&bytes) {
        add(&dependency, files, found)?;
    }
    found.push(Module { name: name.to_owned(), bytes });
    Ok(())
}

/// Every module below a folder by its name; dashes of file names are underscores there.
fn index(folder: &Path, files: &mut BTreeMap<String, PathBuf>) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?.flatten() {
        let path = entry.path();
        if path.is_dir() {
            index(&path, files)?;
        } else if let Some((name, _)) = entry.file_name().to_string_lossy().split_once(".ko") {
            files.insert(name.replace('-', "_"), path);
        }
    }
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let unpack = match path.extension().and_then(OsStr::to_str) {
        Some("ko") => return fs::read(path).with_context(|| format!("cannot read {}", path.display())),
        Some("xz") => "xzcat",
        Some(_) | None => bail!("{}: packed in a way that is not known here", path.display()),
    };
    let mut busybox: Command = command("busybox");
    let output = busybox.arg(unpack).arg(path).stdin(Stdio::null()).output().context("cannot start busybox")?;
    if !output.status.success() {
        bail!("busybox {unpack} {}: {}", path.display(), String::from_utf8_lossy(&output.stderr));
    }
    Ok(output.stdout)
}

/// The `depends=a,b` of the section `.modinfo`.
pub(super) fn depends(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = module.windows(KEY.len()).position(|window| window == KEY) else { return Vec::new() };
    let value = module[at + KEY.len()..].split(|byte| *byte == 0).next().unwrap_or_default();
    let names = String::from_utf8_lossy(value);
    names.split(',').filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect()
}
