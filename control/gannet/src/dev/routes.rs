//! Routes of the root namespace: checked before a cluster is made, added once its nodes have their pod ranges.

use anyhow::bail;
use ipnet::IpNet;
use kernel::netlink::{Netlink, Route};

use super::cluster::{Cluster, Member, overlap};

/// Refuses ranges that the machine, or another cluster on it, has routes for.
pub fn check_overlap(cluster: &Cluster) -> anyhow::Result<()> {
    if !cluster.host_access {
        return Ok(());
    }
    let routes = Netlink::here()?.routes()?;
    let own = cluster.host_link();
    let others = routes.iter().filter(|route| route.to.prefix_len() > 0 && route.dev != own);
    for route in others {
        let ranges = [
            ("--pod-cidr", cluster.pod_cidr),
            ("--service-cidr", cluster.service_cidr),
            ("--underlay-cidr", cluster.underlay_cidr),
        ];
        let single = ranges.iter().flat_map(|(flag, families)| families.iter().map(move |range| (flag, range)));
        for (flag, range) in single {
            if overlap(&range, &route.to) {
                bail!(
                    "{flag} {range} overlaps this machine's route to {} on {}; choose another range, or --no-host-access",
                    route.to,
                    route.dev
                );
            }
        }
    }
    Ok(())
}

/// Services through the serving node, each pod range through its own node: the way back is the same as the way there.
pub fn ensure(cluster: &Cluster, pod_ranges: &[(Member, Vec<IpNet>)]) -> anyhow::Result<()> {
    if !cluster.host_access {
        return Ok(());
    }
    let root = Netlink::here()?;
    let link = cluster.host_link();
    if let Some(server) = cluster.members().next() {
        through(&root, &link, &cluster.service_cidr.list(), &server)?;
    }
    for (member, ranges) in pod_ranges {
        through(&root, &link, ranges, member)?;
    }
    Ok(())
}

/// Leads ranges to a node, each by the node's address of its family.
fn through(root: &Netlink, link: &str, ranges: &[IpNet], member: &Member) -> anyhow::Result<()> {
    for range in ranges {
        if let Some(address) = member.addresses.of(range.addr().is_ipv4()) {
            root.replace_route(&Route::through(*range, address, link))?;
        }
    }
    Ok(())
}
