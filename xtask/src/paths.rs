//! Where things are: the checkout, the cache outside of it, the target directory.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The root of the checkout.
pub fn repo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the repository").to_path_buf()
}

/// `$XDG_CACHE_HOME/gannet`, else `~/.cache/gannet`: tools and build output that outlive a checkout.
pub fn cache() -> PathBuf {
    let base = env::var_os("XDG_CACHE_HOME").filter(|value| !value.is_empty()).map_or_else(
        || PathBuf::from(env::var_os("HOME").unwrap_or_else(|| OsString::from("/root"))).join(".cache"),
        PathBuf::from,
    );
    base.join("gannet")
}

/// Where inner builds go: `CARGO_TARGET_DIR`, else one directory in the cache that all checkouts share.
pub fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| cache().join("target"), PathBuf::from)
}

/// Where `setup` puts programs it builds.
pub fn tools() -> PathBuf {
    cache().join("tools")
}

/// `PATH` for children: the tools of `setup` first, then the caller's, then the system's administration directories.
pub fn tool_path() -> OsString {
    let mut paths = vec![tools().join("bin")];
    paths.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    paths.extend(["/usr/sbin", "/sbin"].map(PathBuf::from));
    env::join_paths(paths).expect("directories of PATH hold no separator")
}

/// The program `name` on [`tool_path`].
pub fn find(name: &str) -> Option<PathBuf> {
    env::split_paths(&tool_path()).map(|dir| dir.join(name)).find(|path| path.is_file())
}
