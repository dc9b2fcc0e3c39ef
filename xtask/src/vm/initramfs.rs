//! The guest's file system: a gzipped cpio archive that the kernel unpacks into memory.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use cpio::newc::{Builder, trailer};
use flate2::Compression;
use flate2::write::GzEncoder;

use super::modules::Module;
use crate::paths;

/// What the guest runs first.
const INIT: &str = include_str!("init.sh");

/// File types of the mode word (cpio's are those of stat(2)).
const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const CONSOLE: u32 = 0o020_600;

/// One command that a guest runs.
pub struct Step {
    /// One word, by which its output is found.
    pub name: &'static str,
    /// After so many seconds it is ended.
    pub limit_s: u32,
    /// A line for `sh`.
    pub command: String,
}

/// Writes the archive: busybox, `programs` in `/bin`, `modules`, the other `files` in `/`, and the steps.
pub fn write(
    path: &Path,
    programs: &[PathBuf],
    files: &[PathBuf],
    modules: &[Module],
    steps: &[Step],
) -> anyhow::Result<()> {
    let file = fs::File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    let mut archive = Archive { out: GzEncoder::new(file, Compression::fast()), inode: 1 };
    for folder in ["bin", "dev", "modules"] {
        archive.add(folder, DIRECTORY, &[])?;
    }
    // The kernel opens it for init's output before devtmpfs is mounted.
    archive.console()?;
    archive.add("init", PROGRAM, INIT.as_bytes())?;
    let busybox = paths::find("busybox").context("no busybox on PATH: run `cargo xtask setup`")?;
    for (folder, paths) in [("bin/", [&[busybox][..], programs].concat()), ("", files.to_vec())] {
        for path in paths {
            let name = path.file_name().context("a file has a name")?.to_string_lossy().into_owned();
            let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            archive.add(&format!("{folder}{name}"), PROGRAM, &bytes)?;
        }
    }
    let mut order = String::new();
    for Module { name, bytes } in modules {
        archive.add(&format!("modules/{name}"), PROGRAM, bytes)?;
        order.push_str(&format!("{name}\n"));
    }
    archive.add("modules/order", PROGRAM, order.as_bytes())?;
    let lines = steps.iter().map(|step| format!("{} {} {}\n", step.name, step.limit_s, step.command));
    archive.add("steps", PROGRAM, lines.collect::<String>().as_bytes())?;
    trailer(archive.out)?.finish()?.flush()?;
    Ok(())
}

struct Archive {
    out: GzEncoder<fs::File>,
    inode: u32,
}

impl Archive {
    fn add(&mut self, name: &str, mode: u32, bytes: &[u8]) -> anyhow::Result<()> {
        self.put(Builder::new(name).mode(mode), bytes)
    }

    /// `/dev/console` is character device 5, 1 (Documentation/admin-guide/devices.txt).
    fn console(&mut self) -> anyhow::Result<()> {
        self.put(Builder::new("dev/console").mode(CONSOLE).rdev_major(5).rdev_minor(1), &[])
    }

    fn put(&mut self, entry: Builder, bytes: &[u8]) -> anyhow::Result<()> {
        self.inode += 1;
        let length = u32::try_from(bytes.len()).context("a file for the guest is below 4 GiB")?;
        let mut writer = entry.ino(self.inode).nlink(1).write(&mut self.out, length);
        writer.write_all(bytes)?;
        writer.finish()?;
        Ok(())
    }
}
