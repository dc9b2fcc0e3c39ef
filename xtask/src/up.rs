//! `up` and `down`: thin calls of the product that show a Deployment served through a Service.

use std::path::Path;
use std::process::Command;

use anyhow::Context as _;

use crate::build::Profile;
use crate::run::{capture, command, step, stream};
use crate::{build, images, paths, setup};

/// The cluster's name: its state lies in /var/lib/gannet/dev.
const NAME: &str = "dev";
/// How long the cluster and the example may take to be ready.
const READY: &str = "3m";

/// Installs, builds, starts, and calls the example by name, by VIP and by NodePort.
pub fn up(nodes: u8) -> anyhow::Result<()> {
    setup::run()?;
    let object = build::bpf_object()?;
    let binary = build::gannet_with(Profile::Release, &object)?;
    let images = images::build()?;
    let gannet = || command(&binary);
    let example = paths::repo().join("examples/hello.yaml");

    stream(gannet().args(["dev", "create", "--name", NAME, "--nodes", &nodes.to_string()]))?;
    stream(gannet().args(["image", "load", "--name", NAME]).arg(&images))?;
    stream(gannet().args(["status", "--name", NAME, "--wait", "--timeout", READY]))?;
    stream(gannet().args(["apply", "--name", NAME, "-f"]).arg(&example))?;
    stream(gannet().args(["status", "--name", NAME, "--wait", "--timeout", READY]))?;
    stream(gannet().args(["net", "test", "--name", NAME, "default/hello", "default/hello-nodeport"]))?;
    next_commands(&binary, gannet())
}

fn next_commands(binary: &Path, mut gannet: Command) -> anyhow::Result<()> {
    let kubeconfig = capture(gannet.args(["kubeconfig", "--name", NAME, "--path"]))?;
    println!("\nTry next:");
    for line in [
        "kubectl get pods -o wide".to_owned(),
        "kubectl scale deployment hello --replicas 5".to_owned(),
        "kubectl set image deployment/hello hello=gannet.local/hello:2 && kubectl rollout status deployment/hello"
            .to_owned(),
        format!("{} status --name {NAME}", binary.display()),
        "cargo xtask down".to_owned(),
    ] {
        println!("  {line}");
    }
    println!("\nKUBECONFIG={}", kubeconfig.trim());
    Ok(())
}

/// Stops the cluster and removes what it made; says so when there is none.
pub fn down() -> anyhow::Result<()> {
    let built = [Profile::Release, Profile::Dev].map(build::binary);
    let binary = match built.iter().find(|path| path.is_file()) {
        Some(binary) => binary.clone(),
        None if !Path::new("/var/lib/gannet").join(NAME).exists() => {
            step("ok", "nothing is up");
            return Ok(());
        }
        None => build::gannet(Profile::Release).context("a cluster is up but its binary is gone")?,
    };
    stream(command(&binary).args(["dev", "delete", "--name", NAME]))
}
