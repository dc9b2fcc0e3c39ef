//! `gannet down`: the end of what `up` started on this machine, its pods included. Keys and objects stay unless
//! `--purge`.

use std::path::Path;

use kernel::netlink::Netlink;

use crate::cli::{DATA_DIR, DownArguments};
use crate::dev::Cluster;
use crate::teardown::{self, Removed};
use crate::{lock, settings};

pub fn run(arguments: &DownArguments) -> anyhow::Result<()> {
    settings::check_machine()?;
    let data_dir = &arguments.data_dir;
    let holders: Vec<_> = ["up", "node", "control"].iter().filter_map(|role| lock::holder(data_dir, role)).collect();
    let left = kernel::cgroup::path(&arguments.instance)?.exists() || data_dir.join("containerd").exists();
    if holders.is_empty() && !left {
        println!("nothing is up in {}", data_dir.display());
        if data_dir.as_os_str() == DATA_DIR {
            for cluster in Cluster::all()? {
                println!("cluster {0} of `gannet dev` is: `gannet dev delete --name {0}` stops it", cluster.name);
            }
        }
        return Ok(());
    }
    let mut removed = Removed::default();
    for pid in holders {
        teardown::terminate(pid);
        removed.add("daemon", pid);
    }
    removed.instance(&arguments.instance, data_dir)?;
    // What is left in the host's own namespace: pods' interfaces, the overlay, the gateways' addresses, our programs.
    let overlay = Netlink::here()?.find_link(kernel::bpf::OVERLAY)?;
    kernel::bpf::remove(&data_dir.join("bpf"), Path::new("/proc/self/ns/net"), &agent::network::GATEWAYS)?;
    if let Some(overlay) = overlay {
        removed.add("interface", overlay.name);
    }
    if arguments.purge {
        teardown::purge(data_dir)?;
        removed.add("state directory", data_dir.display());
    }
    println!("{removed}");
    Ok(())
}
