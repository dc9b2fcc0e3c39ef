//! The blocking part: directories, tmpfs mounts, hostPath checks, removal.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Pod;
use nix::mount::{MsFlags, mount};
use pod::spec::{spec, text};
use pod::volume::{HostPathKind, Medium, Source, Volume};

use super::{Contents, Error, Scope, at, is_secret, writer};

/// Everything needed to write one pod's volumes.
pub(super) struct Job {
    pub(super) directory: PathBuf,
    pub(super) volumes: Vec<Volume>,
    pub(super) contents: Contents,
    /// `fsGroup`.
    pub(super) group: Option<u32>,
    pub(super) scope: Scope,
}

impl Job {
    pub(super) fn run(self) -> Result<(), Error> {
        for volume in &self.volumes {
            let path = self.directory.join("volumes").join(&volume.name);
            let fail = at(&volume.name, &path);
            match &volume.source {
                Source::Files(files) => {
                    fs::create_dir_all(&path).map_err(&fail)?;
                    if is_secret(files) {
                        ensure_tmpfs(&path, None).map_err(&fail)?;
                    }
                    if let Some(contents) = self.contents.get(&volume.name) {
                        writer::write(&path, contents, self.group).map_err(&fail)?;
                    }
                }
                Source::EmptyDir { medium, size_bytes } if self.scope == Scope::All => {
                    self.empty_dir(&path, *medium, *size_bytes).map_err(&fail)?;
                }
                Source::HostPath { path, kind } if self.scope == Scope::All => {
                    host_path(&volume.name, path, *kind)?;
                }
                Source::EmptyDir { .. } | Source::HostPath { .. } => {}
            }
        }
        Ok(())
    }

    fn empty_dir(&self, path: &Path, medium: Medium, size_bytes: Option<i64>) -> io::Result<()> {
        fs::create_dir_all(path)?;
        if medium == Medium::Memory {
            ensure_tmpfs(path, size_bytes)?;
        }
        match self.group {
            Some(group) => {
                std::os::unix::fs::chown(path, None, Some(group))?;
                fs::set_permissions(path, fs::Permissions::from_mode(0o2777))
            }
            None => fs::set_permissions(path, fs::Permissions::from_mode(0o777)),
        }
    }
}

fn ensure_tmpfs(path: &Path, size_bytes: Option<i64>) -> io::Result<()> {
    let path = path.canonicalize()?;
    if kernel::mount::is_mounted(&path, "tmpfs").map_err(io::Error::other)? {
        return Ok(());
    }
    let options = size_bytes.map(|bytes| format!("size={bytes}"));
    mount(Some("tmpfs"), &path, Some("tmpfs"), MsFlags::MS_NODEV | MsFlags::MS_NOSUID, options.as_deref())?;
    Ok(())
}

fn host_path(volume: &str, path: &str, kind: HostPathKind) -> Result<(), Error> {
    let file = Path::new(path);
    let found = fs::metadata(file).ok().map(|meta| meta.file_type());
    let (wanted, fits) = match kind {
        HostPathKind::Unchecked => return Ok(()),
        HostPathKind::DirectoryOrCreate => {
            if found.is_none() {
                fs::create_dir_all(file).map_err(at(volume, file))?;
                return Ok(());
            }
            ("directory", found.is_some_and(|f| f.is_dir()))
        }
        HostPathKind::FileOrCreate => {
            if found.is_none() {
                let create = fs::OpenOptions::new().create(true).append(true).open(file);
                create.map_err(at(volume, file))?;
                return Ok(());
            }
            ("file", found.is_some_and(|f| f.is_file()))
        }
        HostPathKind::Directory => ("directory", found.is_some_and(|f| f.is_dir())),
        HostPathKind::File => ("file", found.is_some_and(|f| f.is_file())),
        HostPathKind::Socket => ("socket", found.is_some_and(|f| f.is_socket())),
        HostPathKind::CharDevice => ("character device", found.is_some_and(|f| f.is_char_device())),
        HostPathKind::BlockDevice => ("block device", found.is_some_and(|f| f.is_block_device())),
    };
    if fits {
        return Ok(());
    }
    Err(Error::HostPath { volume: volume.to_owned(), path: path.to_owned(), wanted })
}

/// Text of the pod's /etc/hosts.
pub(crate) fn etc_hosts(pod: &Pod, ips: &[std::net::IpAddr], domain: &str) -> String {
    let mut out = String::from(
        "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n",
    );
    let spec = spec(pod);
    let name = spec.hostname.as_deref().filter(|h| !h.is_empty()).unwrap_or_else(|| text(&pod.metadata.name));
    for ip in ips {
        match spec.subdomain.as_deref().filter(|s| !s.is_empty()) {
            Some(sub) => {
                let namespace = text(&pod.metadata.namespace);
                out.push_str(&format!("{ip}\t{name}.{sub}.{namespace}.svc.{domain}\t{name}\n"));
            }
            None => out.push_str(&format!("{ip}\t{name}\n")),
        }
    }
    let aliases = spec.host_aliases.iter().flatten().collect::<Vec<_>>();
    if !aliases.is_empty() {
        out.push_str("\n# Entries added by HostAliases.\n");
    }
    for alias in aliases {
        let names = alias.hostnames.iter().flatten().cloned().collect::<Vec<_>>();
        out.push_str(&format!("{}\t{}\n", alias.ip, names.join("\t")));
    }
    out
}

/// Unmounts and removes a pod's directory. Absent is fine.
pub(crate) fn remove_pod(directory: &Path) -> io::Result<()> {
    if !directory.exists() {
        return Ok(());
    }
    let directory = directory.canonicalize()?;
    kernel::mount::unmount_below(&directory).map_err(io::Error::other)?;
    fs::remove_dir_all(&directory)
}
