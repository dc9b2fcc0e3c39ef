//! Files that change all at once: a new directory is written beside the old one and a symbolic link is swapped, in
//! the layout that Kubernetes' own writer made known (`..data -> ..<stamp>`, `key -> ..data/key`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

use pod::volume::File;

const DATA: &str = "..data";
const DATA_NEW: &str = "..data_tmp";

/// Makes `directory` show exactly `files`. Nothing is written if it does already.
pub(super) fn write(directory: &Path, files: &BTreeMap<String, File>, group: Option<u32>) -> io::Result<()> {
    let old = fs::read_link(directory.join(DATA)).ok();
    if old.as_ref().is_some_and(|old| shows(&directory.join(old), files)) {
        return Ok(());
    }
    let stamp = format!("..{}_{}", process::now().strftime("%Y_%m_%d_%H_%M_%S"), process::random_suffix(8));
    let fresh = directory.join(&stamp);
    fs::create_dir(&fresh)?;
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755))?;
    for (path, file) in files {
        write_file(&fresh, path, file, group)?;
    }
    let link = directory.join(DATA_NEW);
    let _ = fs::remove_file(&link);
    symlink(&stamp, &link)?;
    fs::rename(&link, directory.join(DATA))?;
    let names: BTreeSet<&str> = files.keys().filter_map(|path| path.split('/').next()).collect();
    link_names(directory, &names)?;
    if let Some(old) = old {
        let _ = fs::remove_dir_all(directory.join(old));
    }
    Ok(())
}

fn write_file(root: &Path, path: &str, file: &File, group: Option<u32>) -> io::Result<()> {
    let target = root.join(path);
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(&target, &file.data)?;
    let mut mode = file.mode;
    if let Some(group) = group {
        chown(&target, None, Some(group))?;
        mode |= 0o440;
    }
    fs::set_permissions(&target, fs::Permissions::from_mode(mode))
}

/// Top-level names are links into the current data; links of names that are gone go.
fn link_names(directory: &Path, names: &BTreeSet<&str>) -> io::Result<()> {
    for name in names {
        let link = directory.join(name);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new(DATA).join(name), &link)?;
        }
    }
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let known = name.to_str().is_some_and(|n| n.starts_with("..") || names.contains(n));
        if !known && entry.file_type()?.is_symlink() {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Whether the directory holds exactly these bytes and modes.
fn shows(directory: &Path, files: &BTreeMap<String, File>) -> bool {
    let mut found = BTreeSet::new();
    if collect(directory, "", &mut found).is_err() || !found.iter().eq(files.keys()) {
        return false;
    }
    files.iter().all(|(path, file)| fs::read(directory.join(path)).is_ok_and(|data| data == file.data))
}

fn collect(directory: &Path, prefix: &str, out: &mut BTreeSet<String>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), &format!("{path}/"), out)?;
        } else {
            out.insert(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
