//! Private files, written whole or not at all.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use super::Error;

/// Makes `path` with mode 0700, parents included.
pub fn private_directory(path: &Path) -> Result<(), Error> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| Error::File { path: path.to_path_buf(), source })
}

/// Reads a file; `None` when there is none.
pub fn read(path: &Path) -> Result<Option<String>, Error> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::File { path: path.to_path_buf(), source }),
    }
}

/// The file's content, or what `create` returns, which is then in the file.
///
/// # Errors
/// When the file cannot be read or written.
pub fn read_or_create(path: &Path, create: impl FnOnce() -> String) -> Result<String, Error> {
    if let Some(text) = read(path)? {
        return Ok(text);
    }
    let text = create();
    write_private(path, &text)?;
    Ok(text)
}

/// Writes a file of mode 0600: a crash leaves the old content or the new, never a part.
///
/// # Errors
/// When the directory cannot be written to.
pub fn write_private(path: &Path, text: &str) -> Result<(), Error> {
    let written = || -> io::Result<()> {
        let directory = path.parent().unwrap_or(Path::new("."));
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let temporary = directory.join(format!(".{name}.{}", std::process::id()));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(directory)?.sync_all()
    };
    written().map_err(|source| Error::File { path: path.to_path_buf(), source })
}
