//! What the log is written to: a file, or in tests a recording of one.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::OpenError;

/// Opens before it is given up that the file is replaced by its owner between two steps of ours.
const OPEN_TRIES: usize = 10;

/// Bytes under a name, and at most one successor that may take the name over.
pub(super) trait Storage: std::fmt::Debug + Send + Sync {
    /// Bytes in it.
    fn len(&self) -> io::Result<u64>;

    /// Fills `out` from `offset`.
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`; nothing is durable before [`Storage::sync`].
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts it off after `len` bytes.
    fn truncate(&self, len: u64) -> io::Result<()>;

    /// Makes everything written so far durable.
    fn sync(&self) -> io::Result<()>;

    /// A new, empty successor.
    fn successor(&self) -> io::Result<Arc<dyn Storage>>;

    /// Gives a successor, which is durable, the name. After an error which of the two has it is unknown.
    fn succeed(&self) -> io::Result<()>;

    /// Removes a successor that is not wanted.
    fn discard(&self);
}

/// The file, locked for as long as this is held.
#[derive(Debug)]
pub(super) struct Locked {
    file: File,
    /// The name, also while this is a successor.
    path: PathBuf,
}

/// Opens the file at `path` and locks it. `None`: there is none.
pub(super) fn open(path: &Path) -> Result<Option<Locked>, OpenError> {
    for _ in 0..OPEN_TRIES {
        let file = match File::options().read(true).write(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let locked = Locked { file, path: path.to_owned() };
        // Between the two its owner may have given the name to a successor.
        if locked.lock()? {
            // What a process left that was killed before its successor was whole.
            locked.discard();
            return Ok(Some(locked));
        }
    }
    Err(OpenError::InUse)
}

/// Makes a file at `path`, readable by its owner only, with what `fill` writes. It gets its name when it is whole and
/// durable, so a crash meanwhile leaves nothing that looks like a store. If another process made one meanwhile, that one
/// stays.
pub(super) fn make(path: &Path, fill: impl FnOnce(&dyn Storage) -> io::Result<()>) -> Result<(), OpenError> {
    let new = with_suffix(path, &format!(".new-{}", std::process::id()));
    let file = File::options().read(true).write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    let filled = fill(&Locked { file, path: path.to_owned() });
    let linked = filled.and_then(|()| std::fs::hard_link(&new, path));
    std::fs::remove_file(&new)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error.into()),
        Ok(()) | Err(_) => {}
    }
    sync_folder(path)?;
    Ok(())
}

impl Locked {
    /// A second handle of the file, under the same lock.
    pub(super) fn file(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Locks the file. False: it has lost its name to a successor.
    pub(super) fn lock(&self) -> Result<bool, OpenError> {
        match self.file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::InUse),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        let (ours, named) = (self.file.metadata()?, std::fs::metadata(&self.path)?);
        Ok((ours.dev(), ours.ino()) == (named.dev(), named.ino()))
    }

    fn successor_path(&self) -> PathBuf {
        with_suffix(&self.path, ".next")
    }
}

impl Storage for Locked {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(out, offset)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn successor(&self) -> io::Result<Arc<dyn Storage>> {
        let path = self.successor_path();
        let file = File::options().read(true).write(true).create(true).truncate(true).mode(0o600).open(path)?;
        file.try_lock()?;
        Ok(Arc::new(Locked { file, path: self.path.clone() }))
    }

    fn succeed(&self) -> io::Result<()> {
        std::fs::rename(self.successor_path(), &self.path)?;
        sync_folder(&self.path)
    }

    fn discard(&self) {
        match std::fs::remove_file(self.successor_path()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, "store: a successor of the file is left behind");
            }
            Ok(()) | Err(_) => {}
        }
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    path.with_file_name(name)
}
