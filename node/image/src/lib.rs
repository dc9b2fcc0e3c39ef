//! Container images without a registry: OCI archives made from files in memory. The node daemon makes its pause image
//! with it, xtask the images of examples and tests.
//!
//! Same input, same bytes: no times, no owners.

use std::io;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// One image, under all the names that a manifest may give it.
pub struct Image {
    /// Full references, `registry/path:tag`.
    pub names: Vec<String>,
    /// The only layer, a tar file as [`layer`] makes it.
    pub layer: Vec<u8>,
    /// The `config` object of the OCI image configuration: Env, Cmd, Entrypoint, User.
    pub config: Value,
}

/// One path of a layer, relative to the root.
pub enum Entry<'a> {
    Directory(&'a str),
    File(&'a str, &'a [u8]),
    Program(&'a str, &'a [u8]),
    Link(&'a str, &'a str),
}

/// A layer with these entries.
///
/// # Errors
/// When a path is too long for a tar header.
pub fn layer(entries: &[Entry]) -> io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    for entry in entries {
        match *entry {
            Entry::Directory(path) => append(&mut tar, path, tar::EntryType::Directory, 0o1777, &[])?,
            Entry::File(path, bytes) => append(&mut tar, path, tar::EntryType::Regular, 0o644, bytes)?,
            Entry::Program(path, bytes) => append(&mut tar, path, tar::EntryType::Regular, 0o755, bytes)?,
            Entry::Link(path, to) => {
                let mut header = header(tar::EntryType::Symlink, 0o777, 0);
                tar.append_link(&mut header, path, to)?;
            }
        }
    }
    tar.into_inner()
}

/// An OCI image layout (image-spec 1.1, image-layout.md) in a tar file, as `ctr images import` reads it.
/// `architecture` is Go's name of it, such as `amd64`.
///
/// # Errors
/// None in practice: the archive is made in memory.
pub fn archive(images: &[Image], architecture: &str) -> io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut written = Vec::new();
    let mut manifests = Vec::new();
    append(&mut tar, "oci-layout", tar::EntryType::Regular, 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    for Image { names, layer, config } in images {
        let mut blob = |media_type: &str, bytes: &[u8]| -> io::Result<Value> {
            let digest = hex(&Sha256::digest(bytes));
            if !written.contains(&digest) {
                append(&mut tar, &format!("blobs/sha256/{digest}"), tar::EntryType::Regular, 0o644, bytes)?;
                written.push(digest.clone());
            }
            Ok(json!({"mediaType": media_type, "digest": format!("sha256:{digest}"), "size": bytes.len()}))
        };
        let layer_descriptor = blob("application/vnd.oci.image.layer.v1.tar", layer)?;
        let image_config = json!({
            "architecture": architecture,
            "os": "linux",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [layer_descriptor["digest"]]},
        });
        let config_descriptor = blob("application/vnd.oci.image.config.v1+json", image_config.to_string().as_bytes())?;
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config_descriptor,
            "layers": [layer_descriptor],
        });
        let descriptor = blob("application/vnd.oci.image.manifest.v1+json", manifest.to_string().as_bytes())?;
        for name in names {
            let mut named = descriptor.clone();
            let tag = name.rsplit(':').next().unwrap_or("latest");
            named["annotations"] = json!({"io.containerd.image.name": name, "org.opencontainers.image.ref.name": tag});
            manifests.push(named);
        }
    }
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": manifests,
    });
    append(&mut tar, "index.json", tar::EntryType::Regular, 0o644, index.to_string().as_bytes())?;
    tar.into_inner()
}

fn append(
    tar: &mut tar::Builder<Vec<u8>>,
    path: &str,
    kind: tar::EntryType,
    mode: u32,
    bytes: &[u8],
) -> io::Result<()> {
    let mut header = header(kind, mode, bytes.len() as u64);
    tar.append_data(&mut header, path, bytes)
}

fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
