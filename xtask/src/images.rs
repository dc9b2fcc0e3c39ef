//! Container images without a registry: OCI archives made from static binaries.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::run::{capture, command, step};
use crate::{build, paths};

/// What a pod of ours may run, by the name a manifest gives.
struct Image {
    names: Vec<String>,
    layer: Vec<u8>,
    /// The `config` object of the OCI image configuration: Env, Cmd, Entrypoint, User.
    config: Value,
}

/// The user that images without a need for root run as.
const NOBODY: &str = "65532:65532";

/// Builds one archive with every image that examples and tests use, and returns its path.
pub fn build() -> anyhow::Result<PathBuf> {
    let hello = build::static_hello()?;
    let busybox = paths::find("busybox").context("no busybox on PATH: run `cargo xtask setup`")?;
    let mut images = vec![busybox_image(&busybox)?];
    let layer = layer(&[Entry::Program("hello", &fs::read(&hello)?)])?;
    for version in ["1", "2"] {
        images.push(Image {
            names: vec![format!("gannet.local/hello:{version}")],
            layer: layer.clone(),
            config: json!({
                "Entrypoint": ["/hello"],
                "Env": [format!("HELLO_VERSION={version}")],
                "User": NOBODY,
                "ExposedPorts": {"8080/tcp": {}},
            }),
        });
    }
    let path = paths::target().join("images.tar");
    fs::write(&path, archive(&images)?).with_context(|| format!("cannot write {}", path.display()))?;
    step("built", format_args!("images: {}", path.display()));
    Ok(path)
}

fn busybox_image(program: &Path) -> anyhow::Result<Image> {
    let bytes = fs::read(program)?;
    if has_interpreter(&bytes) {
        bail!("{} is not static: apt-get install busybox-static", program.display());
    }
    let applets = capture(command(program).arg("--list"))?;
    let mut entries = vec![Entry::Directory("bin"), Entry::Directory("etc"), Entry::Directory("tmp")];
    entries.push(Entry::File("etc/passwd", b"root:x:0:0:root:/:/bin/sh\nnobody:x:65532:65532:nobody:/:/bin/false\n"));
    entries.push(Entry::File("etc/group", b"root:x:0:\nnobody:x:65532:\n"));
    entries.push(Entry::Program("bin/busybox", &bytes));
    let links: Vec<String> =
        applets.lines().filter(|applet| *applet != "busybox").map(|applet| format!("bin/{applet}")).collect();
    entries.extend(links.iter().map(|link| Entry::Link(link, "busybox")));
    Ok(Image {
        names: ["latest", "1"].map(|tag| format!("docker.io/library/busybox:{tag}")).to_vec(),
        layer: layer(&entries)?,
        config: json!({"Cmd": ["sh"], "Env": ["PATH=/bin"]}),
    })
}

/// Whether an ELF names a dynamic loader; looks for the name rather than the program header, which is enough here.
fn has_interpreter(elf: &[u8]) -> bool {
    elf.windows(b"/ld-linux".len()).take(4096).any(|window| window == b"/ld-linux")
}

enum Entry<'a> {
    Directory(&'a str),
    File(&'a str, &'a [u8]),
    Program(&'a str, &'a [u8]),
    Link(&'a str, &'a str),
}

fn layer(entries: &[Entry]) -> anyhow::Result<Vec<u8>> {
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
    Ok(tar.into_inner()?)
}

/// Same bytes in, same bytes out: no times, no owners.
fn append(
    tar: &mut tar::Builder<Vec<u8>>,
    path: &str,
    kind: tar::EntryType,
    mode: u32,
    bytes: &[u8],
) -> anyhow::Result<()> {
    let mut header = header(kind, mode, bytes.len() as u64);
    Ok(tar.append_data(&mut header, path, bytes)?)
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

/// An OCI image layout (image-spec 1.1, image-layout.md) in a tar file, as `ctr images import` reads it.
fn archive(images: &[Image]) -> anyhow::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut written = Vec::new();
    let mut manifests = Vec::new();
    append(&mut tar, "oci-layout", tar::EntryType::Regular, 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    for Image { names, layer, config } in images {
        let mut blob = |media_type: &str, bytes: &[u8]| -> anyhow::Result<Value> {
            let digest = hex(&Sha256::digest(bytes));
            if !written.contains(&digest) {
                append(&mut tar, &format!("blobs/sha256/{digest}"), tar::EntryType::Regular, 0o644, bytes)?;
                written.push(digest.clone());
            }
            Ok(json!({"mediaType": media_type, "digest": format!("sha256:{digest}"), "size": bytes.len()}))
        };
        let layer_descriptor = blob("application/vnd.oci.image.layer.v1.tar", layer)?;
        let image_config = json!({
            "architecture": "amd64",
            "os": "linux",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [layer_descriptor["digest"]]},
        });
        let config_descriptor = blob("application/vnd.oci.image.config.v1+json", &serde_json::to_vec(&image_config)?)?;
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config_descriptor,
            "layers": [layer_descriptor],
        });
        let descriptor = blob("application/vnd.oci.image.manifest.v1+json", &serde_json::to_vec(&manifest)?)?;
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
    append(&mut tar, "index.json", tar::EntryType::Regular, 0o644, &serde_json::to_vec(&index)?)?;
    Ok(tar.into_inner()?)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
