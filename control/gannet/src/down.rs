//! `gannet down`: the end of what `up` started on this machine, its pods included. Keys and objects stay unless
//! `--purge`.

use kernel::netlink::Netlink;

use crate::cli::{DATA_DIR, DownArguments};
use crate::dev::Cluster;
use crate::teardown::{self, Removed};
use crate::{lock, settings};

/// Interfaces that a node makes on its host.
const OVERLAY: &str = "gannet.vxlan";
/// Where pods find their gateway and their DNS; on `lo`.
const LOCAL_ADDRESS: &str = "169.254.1.1/32";

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
    let netlink = Netlink::here()?;
    for link in netlink.links()? {
        let of_pod = link.name.len() == 13 && link.name.starts_with("gn");
        if link.name == OVERLAY || of_pod && link.name[2..].chars().all(|c| c.is_ascii_hexdigit()) {
            netlink.delete_link(&link.name)?;
            removed.add("interface", link.name);
        }
    }
    let local = LOCAL_ADDRESS.parse().expect("a constant address parses");
    if netlink.addresses("lo")?.contains(&local) {
        netlink.delete_address("lo", local)?;
        removed.add("address", LOCAL_ADDRESS);
    }
    if arguments.purge {
        teardown::purge(data_dir)?;
        removed.add("state directory", data_dir.display());
    }
    println!("{removed}");
    Ok(())
}
