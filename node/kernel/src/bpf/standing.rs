//! The table entries of attached pods: comparing and mending.
use std::collections::BTreeMap;

use abi::{Addr, PodValue, VethValue, map};
use datapath::Difference;

use super::pod::{PodLink, mac_of, pod_value, veth_value};
use super::{Datapath, Error};

impl Datapath {
    /// Compares the entries of these pods with what attaching them wrote, and finds those of no pod; `repair` writes and deletes. Of each
    /// pod the host side's name, the addresses and the seat count. A pod without its interface is told, and has to be
    /// attached again.
    pub fn verify_pods(&self, pods: &[PodLink], repair: bool) -> Result<Vec<Difference>, Error> {
        let mut list = Vec::new();
        let (mut by_address, mut by_index) = (BTreeMap::new(), BTreeMap::new());
        for pod in pods {
            let Some(host) = self.netlink.find_link(&pod.host_ifname)? else {
                list.push(difference("interface", pod.host_ifname.clone(), "missing"));
                continue;
            };
            let mac = mac_of(&pod.host_ifname, 1);
            by_index.insert(host.index, (veth_value(pod, mac), pod.host_ifname.as_str()));
            for ip in &pod.addresses {
                by_address.insert(datapath::addr(*ip), pod_value(pod, &host, mac));
            }
        }
        let stand: BTreeMap<Addr, PodValue> = self.pods.entries()?.into_iter().collect();
        for (addr, value) in by_address.iter().filter(|(addr, value)| stand.get(*addr) != Some(*value)) {
            list.push(difference(map::PODS, datapath::ip(*addr).to_string(), problem(stand.contains_key(addr))));
            if repair {
                self.pods.put(addr, value)?;
            }
        }
        for addr in stand.keys().filter(|addr| !by_address.contains_key(*addr)) {
            list.push(difference(map::PODS, datapath::ip(*addr).to_string(), "not wanted"));
            if repair {
                self.pods.remove(addr)?;
            }
        }
        let stand: BTreeMap<u32, VethValue> = self.veths.entries()?.into_iter().collect();
        for (index, (value, name)) in by_index.iter().filter(|(index, (value, _))| stand.get(*index) != Some(value)) {
            list.push(difference(map::VETHS, (*name).to_owned(), problem(stand.contains_key(index))));
            if repair {
                self.veths.put(index, value)?;
            }
        }
        for index in stand.keys().filter(|index| !by_index.contains_key(*index)) {
            list.push(difference(map::VETHS, format!("interface {index}"), "not wanted"));
            if repair {
                self.veths.remove(index)?;
            }
        }
        Ok(list)
    }
}

fn difference(table: &'static str, entry: String, problem: &'static str) -> Difference {
    Difference { table, entry, service: None, problem }
}

fn problem(exists: bool) -> &'static str {
    if exists { "differs" } else { "missing" }
}
