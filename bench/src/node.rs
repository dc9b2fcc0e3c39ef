//! A node and its pods as network namespaces, gone when dropped.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use datapath::Local;
use ipnet::IpNet;
use kernel::bpf::Seen;
use kernel::netlink::{Netlink, PeerPlace, Veth};
use kernel::{Datapath, LoadBalancing, Options, PodLink, cgroup, mount, netns};

/// Pods' gateway of IPv6, as everywhere in Gannet.
const GATEWAY6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd67, 0x616e, 0x6e65, 0x74, 0, 0, 0, 1));

/// A node with the data plane open.
pub struct Node {
    pub datapath: Datapath,
    pub local: Local,
    options: Options,
    home: PathBuf,
    pods: u8,
    left: Leftovers,
}

/// A pod of the node.
pub struct Pod {
    pub ip: IpAddr,
    pub netns: PathBuf,
}

/// What has to go when the node goes, also when it was only half made.
struct Leftovers {
    prefix: String,
    namespaces: Vec<String>,
    dir: PathBuf,
}

impl Node {
    /// Makes a node with an uplink to nowhere.
    pub fn new() -> Result<Node> {
        Node::with(LoadBalancing::default())
    }

    /// The same with another way to backends on other nodes.
    pub fn with(load_balancing: LoadBalancing) -> Result<Node> {
        Node::sized(load_balancing, abi::flow::FLOW_BITS)
    }

    /// The same with a flow table of 2^`flow_bits` records.
    pub fn sized(load_balancing: LoadBalancing, flow_bits: u32) -> Result<Node> {
        Node::over(load_balancing, flow_bits, &["10.89.0.10/24"], false)
    }

    /// The same of two families, where the network between nodes may carry pods' addresses.
    pub fn dual(load_balancing: LoadBalancing, native: bool) -> Result<Node> {
        Node::over(load_balancing, abi::flow::FLOW_BITS, &["10.89.0.10/24", "fd10:89::10/64"], native)
    }

    fn over(load_balancing: LoadBalancing, flow_bits: u32, addresses: &[&str], native: bool) -> Result<Node> {
        let prefix = format!("gnb{}", std::process::id());
        let dir = std::env::temp_dir().join(&prefix);
        let mut left = Leftovers { prefix: prefix.clone(), namespaces: Vec::new(), dir: dir.clone() };
        let (far, near) = (left.namespace("far")?, left.namespace("node")?);
        let uplink = Netlink::in_netns(&near)?;
        uplink.add_veth(&Veth {
            name: "eth0",
            mac: None,
            peer_name: "eth0",
            peer_mac: None,
            peer: PeerPlace::Netns(&far),
            mtu: None,
        })?;
        let mut node_ips: Vec<IpAddr> = Vec::new();
        for address in addresses {
            let address: IpNet = address.parse()?;
            uplink.add_address("eth0", address)?;
            node_ips.push(address.addr());
        }
        let two = node_ips.len() > 1;
        let six = |text: &str| -> Result<Option<IpNet>> { Ok(if two { Some(text.parse()?) } else { None }) };
        uplink.set_up("eth0")?;
        Netlink::in_netns(&far)?.set_up("eth0")?;
        let options = Options {
            pin_dir: dir.join("bpf"),
            cgroup: left.cgroup()?,
            netns: near,
            uplink: "eth0".into(),
            node_ips: node_ips.clone(),
            native,
            gateways: [Ipv4Addr::new(169, 254, 1, 1).into()].into_iter().chain(two.then_some(GATEWAY6)).collect(),
            load_balancing,
            flow_bits,
        };
        let datapath = Datapath::open(options.clone())?;
        let local = Local {
            node_name: "node".into(),
            native,
            addresses: node_ips,
            pod_cidrs: ["10.244.0.0/24".parse()?].into_iter().chain(six("fd10:244::/64")?).collect(),
            service_cidrs: ["10.96.0.0/14".parse()?].into_iter().chain(six("fd10:96::/112")?).collect(),
            host_ports: Vec::new(),
            dns: Vec::new(),
            config: datapath.config(),
        };
        Ok(Node { datapath, local, options, home: own_cgroup()?, pods: 0, left })
    }

    /// The node's namespace.
    pub fn netns(&self) -> &Path {
        &self.options.netns
    }

    /// Where its maps are pinned.
    pub fn pins(&self) -> PathBuf {
        self.options.pin_dir.join(abi::SCHEMA)
    }

    /// Attaches a new pod.
    pub fn pod(&mut self) -> Result<Pod> {
        let serial = self.pods;
        self.pods += 1;
        let netns = self.left.namespace(&format!("pod{serial}"))?;
        let ip = Ipv4Addr::new(10, 244, 0, 2 + serial).into();
        let host_ifname = format!("gn{:08x}{serial:03x}", std::process::id());
        self.datapath.attach_pod(&PodLink {
            host_ifname,
            netns: netns.clone(),
            ifname: "eth0".into(),
            addresses: vec![ip],
            seat: 1 + u32::from(serial),
            bandwidth: Default::default(),
        })?;
        Ok(Pod { ip, netns })
    }

    /// What its maps and programs look like.
    pub fn seen(&self) -> Seen {
        Seen::new(&self.options.pin_dir)
    }

    /// A namespace from which no route leads anywhere.
    pub fn nowhere(&mut self) -> Result<PathBuf> {
        self.left.namespace("nowhere")
    }

    /// The node's cgroup, for [`enter_cgroup`]: sockets made by a thread that is in there have the hooks. Until the guard is dropped this
    /// process's threads may go there one by one; the rest of the process stays outside the hooks.
    pub fn open_cgroup(&self) -> Result<(PathBuf, impl Drop + use<>)> {
        let parent = self.options.cgroup.parent().context("the group was made below another")?;
        cgroup::add_process(parent, std::process::id())?;
        Ok((self.options.cgroup.clone(), Home(self.home.clone())))
    }
}

/// Moves the calling thread into a cgroup of [`Node::open_cgroup`].
pub fn enter_cgroup(group: &Path) -> Result<()> {
    std::fs::write(group.join("cgroup.threads"), "0").with_context(|| format!("enter {}", group.display()))
}

impl Leftovers {
    fn namespace(&mut self, name: &str) -> Result<PathBuf> {
        let name = format!("{}-{name}", self.prefix);
        let path = netns::create(&name)?;
        self.namespaces.push(name);
        Netlink::in_netns(&path)?.set_up("lo")?;
        Ok(path)
    }

    /// A cgroup for threads, which kernels have below one for processes only (Documentation/admin-guide/cgroup-v2.rst, "Threads").
    fn cgroup(&self) -> Result<PathBuf> {
        let path = cgroup::create(&format!("{}/hooked", self.prefix))?;
        std::fs::write(path.join("cgroup.type"), "threaded")?;
        Ok(path)
    }
}

impl Drop for Leftovers {
    fn drop(&mut self) {
        let _ = mount::unmount_below(&self.dir);
        for name in &self.namespaces {
            let _ = netns::delete(name);
        }
        let _ = cgroup::remove(&self.prefix);
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

struct Home(PathBuf);

impl Drop for Home {
    fn drop(&mut self) {
        // The process is where it was or the machine is going down.
        let _ = cgroup::add_process(&self.0, std::process::id());
    }
}

/// The v2 cgroup this process is in.
fn own_cgroup() -> Result<PathBuf> {
    let text = std::fs::read_to_string("/proc/self/cgroup")?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::/")).context("no cgroup v2")?;
    Ok(cgroup::v2_mount()?.join(Path::new(path)))
}
