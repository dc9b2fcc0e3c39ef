//! The processes of a node: `gannet up` in its namespace and control group, in a session of its own.

use std::fs::{self, OpenOptions};
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use api::Gvr;
use client::{Client, ListParams};
use ipnet::IpNet;
use kernel::netns;

use super::cluster::{Cluster, Member};
use super::underlay::UPLINK;
use crate::{lock, teardown};

/// How often registration is looked for.
const POLL: Duration = Duration::from_millis(200);
/// Port of the API inside the namespaces.
const API_PORT: u16 = 6443;

/// Whether the node's supervisor runs.
pub fn runs(member: &Member) -> bool {
    lock::holder(&member.data_dir, "up").is_some()
}

/// Copies this binary into the cluster's directory: what runs must not change under it when it is built again.
pub fn install_binary(cluster: &Cluster) -> anyhow::Result<PathBuf> {
    let path = cluster.directory().join("gannet");
    let own = std::env::current_exe().context("cannot find the path of this binary")?;
    if own != path && fs::read(&own)? != fs::read(&path).unwrap_or_default() {
        let temporary = cluster.directory().join(".gannet.new");
        fs::copy(&own, &temporary).with_context(|| format!("cannot copy {}", own.display()))?;
        fs::set_permissions(&temporary, fs::Permissions::from_mode(0o755))?;
        fs::rename(&temporary, &path)?;
    }
    Ok(path)
}

/// Starts the node's supervisor unless it runs.
pub fn ensure(cluster: &Cluster, member: &Member, binary: &Path) -> anyhow::Result<&'static str> {
    if member.index == 1 {
        link_kubeconfig(cluster, member)?;
    }
    if runs(member) {
        return Ok("runs already");
    }
    fs::create_dir_all(&member.data_dir).with_context(|| format!("cannot create {}", member.data_dir.display()))?;
    let log = OpenOptions::new().create(true).append(true).open(member.log());
    let log = log.with_context(|| format!("cannot open {}", member.log().display()))?;
    let mut command = Command::new(binary);
    command
        .args(["up", "--detached", "--data-dir"])
        .arg(&member.data_dir)
        .args(["--node-name", &member.name, "--node-ip", &member.addresses.to_string(), "--uplink", UPLINK])
        .args(["--instance", &member.name])
        .args(cluster.path.words())
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .current_dir("/");
    match cluster.members().next() {
        Some(server) if server.index != member.index => {
            command
                .args([
                    "--join",
                    &format!("https://{}", SocketAddr::new(server.addresses.first(), API_PORT)),
                    "--token-file",
                ])
                .arg(server.data_dir.join("join-token"));
        }
        _ => {
            command
                .args(["--cluster-name", &cluster.name, "--api-port", &API_PORT.to_string()])
                .args(["--pod-cidr", &cluster.pod_cidr.to_string()])
                .args(["--service-cidr", &cluster.service_cidr.to_string()]);
        }
    }
    // The child is made by a thread inside the namespace and stays there.
    netns::run_in(&netns::path(&member.netns()), move || command.spawn())?
        .with_context(|| format!("cannot start {}", binary.display()))?;
    Ok("started")
}

/// The kubeconfig's fixed place points to where the serving node writes it.
fn link_kubeconfig(cluster: &Cluster, server: &Member) -> anyhow::Result<()> {
    let link = cluster.kubeconfig();
    if link.symlink_metadata().is_err() {
        symlink(server.data_dir.join("kubeconfig"), &link)
            .with_context(|| format!("cannot link {}", link.display()))?;
    }
    Ok(())
}

/// Stops the node's supervisor and with it its daemons.
pub fn stop(member: &Member) {
    if let Some(pid) = lock::holder(&member.data_dir, "up") {
        teardown::terminate(pid);
    }
}

/// Waits until every node is registered and has its pod ranges.
pub async fn registered(cluster: &Cluster) -> anyhow::Result<Vec<(Member, Vec<IpNet>)>> {
    let nodes = Gvr { group: String::new(), version: "v1".to_owned(), resource: "nodes".to_owned() };
    loop {
        if let Ok(client) = Client::from_kubeconfig(&cluster.kubeconfig())
            && let Ok(listed) = client.list_value(&nodes, "", &ListParams::all()).await
        {
            let range = |member: &Member| -> Option<Vec<IpNet>> {
                let node = listed.items.iter().find(|node| node["metadata"]["name"] == member.name.as_str())?;
                let listed = node["spec"]["podCIDRs"].as_array()?;
                listed.iter().map(|range| range.as_str()?.parse().ok()).collect()
            };
            let ranges: Option<Vec<(Member, Vec<IpNet>)>> =
                cluster.members().map(|member| range(&member).map(|range| (member, range))).collect();
            if let Some(ranges) = ranges {
                return Ok(ranges);
            }
        }
        tokio::time::sleep(POLL).await;
    }
}
