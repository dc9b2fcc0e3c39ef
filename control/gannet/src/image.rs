//! `gannet image load`: an archive into the runtime of every node on this machine.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::cli::LoadArguments;

/// containerd's namespace for what CRI sees.
const NAMESPACE: &str = "k8s.io";

pub fn load(arguments: &LoadArguments) -> anyhow::Result<()> {
    // ctr reads archives by absolute path only.
    let file = arguments
        .file
        .canonicalize()
        .with_context(|| format!("cannot find the archive {}", arguments.file.display()))?;
    let site = arguments.site.site()?;
    if site.node_dirs.is_empty() {
        bail!("no node of this cluster is on this machine; load the image on the nodes themselves");
    }
    for directory in &site.node_dirs {
        let names = import(directory, &file)?;
        let node = directory.file_name().unwrap_or_default().to_string_lossy();
        println!("{node}: loaded {}", names.join(", "));
    }
    Ok(())
}

fn import(data_dir: &Path, file: &Path) -> anyhow::Result<Vec<String>> {
    let socket = data_dir.join("containerd/containerd.sock");
    if !socket.exists() {
        bail!("{} is missing: the node's runtime is not up; `gannet status` says why", socket.display());
    }
    let output = Command::new("ctr")
        .arg("--address")
        .arg(&socket)
        .args(["--namespace", NAMESPACE, "images", "import"])
        .arg(file)
        .output()
        .context("cannot run ctr, which containerd's package brings")?;
    if !output.status.success() {
        bail!("ctr cannot import {}: {}", file.display(), String::from_utf8_lossy(&output.stderr).trim());
    }
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let names = said.lines().filter_map(|line| {
        let rest = line.trim().strip_prefix("unpacking ").unwrap_or(line.trim());
        Some(rest.split_whitespace().next()?.to_owned())
    });
    Ok(names.filter(|name| name.contains('/')).collect())
}
