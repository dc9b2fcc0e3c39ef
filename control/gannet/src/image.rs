//! `gannet image load`: an archive into the runtime of every node on this machine.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::cli::LoadArguments;

/// A node that has just been started has its runtime within seconds; so long it may take on a busy machine.
const RUNTIME_WAIT: Duration = Duration::from_secs(60);
const RUNTIME_POLL: Duration = Duration::from_millis(100);

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
    if !appears(&socket) {
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

/// Waits for the runtime's socket, and says so if it is not there yet.
fn appears(socket: &Path) -> bool {
    let start = process::instant();
    let mut told = false;
    while !socket.exists() {
        if start.elapsed() > RUNTIME_WAIT {
            return false;
        }
        if !told {
            eprintln!("waiting for the node's runtime ({})", socket.display());
            told = true;
        }
        std::thread::sleep(RUNTIME_POLL);
    }
    true
}
