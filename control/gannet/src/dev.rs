//! `gannet dev`: clusters of several nodes on one machine. A node is a network namespace, a control group and a state
//! directory; a bridge in a namespace of its own is the underlay. In the root namespace there is one veth pair and
//! the routes to pods and Services, nothing else.

mod cluster;
mod daemons;
mod routes;
mod underlay;

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, bail};

pub use cluster::Cluster;

use crate::cli::{CreateArguments, DATA_DIR, DeleteArguments};
use crate::{settings, site, teardown};

/// How long the nodes may take to register.
const REGISTER: Duration = Duration::from_secs(120);

/// Starts a cluster, or brings one back to what it was created as.
pub fn create(arguments: &CreateArguments) -> anyhow::Result<()> {
    settings::check_machine()?;
    settings::check_kernel()?;
    let wanted = Cluster::new(arguments)?;
    let cluster = match Cluster::find(&arguments.name)? {
        Some(existing) if existing == wanted => existing,
        Some(existing) if existing.nodes < wanted.nodes && existing.differs_in_nodes_only(&wanted) => wanted,
        Some(existing) => bail!(
            "cluster {0} exists with other settings ({existing}); `gannet dev delete --name {0}` removes it",
            existing.name
        ),
        None => {
            routes::check_overlap(&wanted)?;
            wanted
        }
    };
    cluster.save()?;
    underlay::ensure(&cluster)?;
    step(&format!("underlay {} in namespace {}", cluster.underlay_cidr, cluster.bridge_netns()));
    let binary = daemons::install_binary(&cluster)?;
    for member in cluster.members() {
        let outcome = daemons::ensure(&cluster, &member, &binary)?;
        step(&format!("node {} at {}: {outcome}", member.name, member.addresses));
    }
    if cluster.host_access {
        site::command_runtime()?.block_on(async {
            let registered = tokio::time::timeout(REGISTER, daemons::registered(&cluster)).await;
            let Ok(pod_ranges) = registered else {
                let logs: Vec<String> = cluster.members().map(|member| member.log().display().to_string()).collect();
                bail!("the nodes did not register within {} s; their logs: {}", REGISTER.as_secs(), logs.join(", "));
            };
            routes::ensure(&cluster, &pod_ranges?)
        })?;
        step(&format!("routes from this machine to {} and {}", cluster.pod_cidr, cluster.service_cidr));
    } else if let Some(first) = cluster.members().next() {
        // The API answers inside only, so nothing can be waited for from here.
        step(&format!(
            "reachable from inside alone: nsenter --net={} ...",
            kernel::netns::path(&first.netns()).display()
        ));
    }
    println!("KUBECONFIG={}", cluster.kubeconfig().display());
    Ok(())
}

/// Removes a cluster with all it made, and says what that was.
pub fn delete(arguments: &DeleteArguments) -> anyhow::Result<()> {
    settings::check_machine()?;
    let Some(cluster) = Cluster::find(&arguments.name)? else {
        println!("no cluster {} is up", arguments.name);
        return Ok(());
    };
    let mut removed = teardown::Removed::default();
    let members: Vec<_> = cluster.members().collect();
    for member in &members {
        daemons::stop(member);
    }
    for member in &members {
        removed.instance(&member.name, &member.data_dir).with_context(|| format!("node {}", member.name))?;
    }
    underlay::remove(&cluster, &mut removed)?;
    let directory = cluster.directory();
    fs::remove_dir_all(&directory).with_context(|| format!("cannot remove {}", directory.display()))?;
    removed.add("state directory", directory.display());
    // Fails while other clusters have their state there, which is right.
    let _ = fs::remove_dir(DATA_DIR);
    println!("{removed}");
    Ok(())
}

/// Names every cluster.
pub fn list() -> anyhow::Result<()> {
    let clusters = Cluster::all()?;
    if clusters.is_empty() {
        println!("no cluster is up");
    }
    for cluster in clusters {
        let running = cluster.members().filter(|member| daemons::runs(member)).count();
        println!("{}  {cluster}, {running} running  KUBECONFIG={}", cluster.name, cluster.kubeconfig().display());
    }
    Ok(())
}

fn step(line: &str) {
    println!("  ok  {line}");
}
