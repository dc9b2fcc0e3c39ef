//! Container images without a registry: OCI archives made from static binaries.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use image::{Entry, Image, archive, layer};
use serde_json::json;

use crate::run::{capture, command, step};
use crate::{build, paths};

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
    fs::write(&path, archive(&images, "amd64")?).with_context(|| format!("cannot write {}", path.display()))?;
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
