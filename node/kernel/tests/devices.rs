//! Namespaces, interfaces, routes and control groups, on namespaces that the test makes. Needs root.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::net::IpAddr;

use ipnet::IpNet;
use kernel::netlink::{Mac, Neighbour, Netlink, PeerPlace, Route, Veth};
use kernel::{cgroup, netns, sysctl};

/// Namespaces that go away with the test.
struct Names(Vec<String>);

impl Names {
    fn new(test: &str, count: usize) -> Names {
        let names: Vec<String> = (0..count).map(|i| format!("gnd{}-{test}{i}", std::process::id())).collect();
        names.iter().for_each(|name| drop(netns::create(name).unwrap()));
        Names(names)
    }

    fn netlink(&self, index: usize) -> Netlink {
        Netlink::in_netns(&netns::path(&self.0[index])).unwrap()
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        self.0.iter().for_each(|name| drop(netns::delete(name)));
    }
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn namespaces_have_names() {
    let names = Names::new("name", 1);
    let name = &names.0[0];
    assert!(netns::exists(name));
    assert!(netns::list().unwrap().contains(name));
    assert!(matches!(netns::create(name), Err(netns::Error::Exists(_))));
    let here = netns::inode("/proc/self/ns/net".as_ref()).unwrap();
    let there = netns::inode(&netns::path(name)).unwrap();
    assert_ne!(here, there);
    let inside = netns::run_in(&netns::path(name), || netns::inode("/proc/thread-self/ns/net".as_ref()).unwrap());
    assert_eq!(inside.unwrap(), there);
    netns::delete(name).unwrap();
    netns::delete(name).unwrap();
    assert!(!netns::exists(name));
    for bad in ["", "..", "a/b"] {
        assert!(matches!(netns::create(bad), Err(netns::Error::Name(_))), "{bad:?}");
    }
}

#[test]
fn a_pair_over_two_namespaces() {
    let names = Names::new("pair", 2);
    let (one, two) = (names.netlink(0), names.netlink(1));
    let there = netns::path(&names.0[1]);
    let mac = Mac([2, 0, 0, 0, 0, 9]);
    one.add_veth(&Veth {
        name: "left",
        mac: None,
        peer_name: "right",
        peer_mac: Some(mac),
        peer: PeerPlace::Netns(&there),
        mtu: Some(1400),
    })
    .unwrap();
    let left = one.link("left").unwrap();
    assert_eq!((left.mtu, left.up, left.kind.as_str()), (1400, false, "veth"));
    assert_eq!(two.link("right").unwrap().mac, mac);
    assert_eq!(one.find_link("right").unwrap(), None);
    assert_eq!(one.link("right").unwrap_err().to_string(), "network interface right does not exist here");

    one.add_address("left", net("192.0.2.1/24")).unwrap();
    one.add_address("left", net("192.0.2.1/24")).unwrap();
    assert!(one.addresses("left").unwrap().contains(&net("192.0.2.1/24")));
    one.set_up("left").unwrap();
    two.set_up("right").unwrap();
    let route = Route { onlink: true, ..Route::through(net("198.51.100.0/24"), ip("203.0.113.1"), "left") };
    one.replace_route(&route).unwrap();
    one.replace_route(&route).unwrap();
    assert!(one.routes().unwrap().contains(&route));
    let neighbour = Neighbour { address: ip("203.0.113.1"), mac, dev: "left".into() };
    one.replace_neighbour(&neighbour).unwrap();
    one.delete_route(&route).unwrap();
    one.delete_route(&route).unwrap();
    assert!(!one.routes().unwrap().contains(&route));
    one.delete_address("left", net("192.0.2.1/24")).unwrap();
    one.delete_address("left", net("192.0.2.1/24")).unwrap();
    assert!(!one.addresses("left").unwrap().contains(&net("192.0.2.1/24")));
    two.delete_link("right").unwrap();
    two.delete_link("right").unwrap();
    assert_eq!(one.find_link("left").unwrap(), None, "an end takes the other along");
}

#[test]
fn bridges_and_overlays() {
    let names = Names::new("bridge", 2);
    let (one, two) = (names.netlink(0), names.netlink(1));
    one.add_bridge("br0").unwrap();
    one.add_veth(&Veth {
        name: "port",
        mac: None,
        peer_name: "peer",
        peer_mac: None,
        peer: PeerPlace::Here,
        mtu: None,
    })
    .unwrap();
    one.set_master("port", "br0").unwrap();
    let bridge = one.link("br0").unwrap();
    assert_eq!(one.link("port").unwrap().master, Some(bridge.index));
    one.move_to("peer", &netns::path(&names.0[1])).unwrap();
    two.rename("peer", "eth0").unwrap();
    two.set_mtu("eth0", 1300).unwrap();
    assert_eq!(two.link("eth0").unwrap().mtu, 1300);

    two.add_vxlan_external("vx", 4789, None).unwrap();
    two.set_arp_off("vx").unwrap();
    two.set_up("vx").unwrap();
    let vxlan = two.link("vx").unwrap();
    assert_eq!((vxlan.kind.as_str(), vxlan.up), ("vxlan", true));
    let again = two.add_vxlan_external("vx", 4789, None).unwrap_err();
    assert_eq!(again.errno(), Some(nix::libc::EEXIST), "{again}");
}

#[test]
fn settings_belong_to_a_namespace() {
    let names = Names::new("sysctl", 2);
    let [one, two] = [0, 1].map(|i| netns::path(&names.0[i]));
    sysctl::write_in(&one, &[("ipv4/ip_forward", "1")]).unwrap();
    sysctl::write_in(&two, &[("ipv4/ip_forward", "0")]).unwrap();
    let read = |path| netns::run_in(path, || sysctl::read_here("ipv4/ip_forward").unwrap()).unwrap();
    assert_eq!((read(&one).as_str(), read(&two).as_str()), ("1", "0"));
    let error = sysctl::write_in(&one, &[("ipv4/no_such_setting", "1")]).unwrap_err().to_string();
    assert!(error.starts_with("write /proc/sys/net/ipv4/no_such_setting"), "{error}");
}

#[test]
fn a_cgroup_is_removed_with_what_runs_in_it() {
    let instance = format!("gnd{}/inner", std::process::id());
    let group = cgroup::create(&instance).unwrap();
    std::fs::create_dir_all(group.join("a/b")).unwrap();
    let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    cgroup::add_process(&group.join("a/b"), child.id()).unwrap();
    assert_eq!(cgroup::processes(&group).unwrap(), [child.id() as i32]);
    let outer = format!("gnd{}", std::process::id());
    cgroup::remove(&outer).unwrap();
    cgroup::remove(&outer).unwrap();
    assert!(!group.exists());
    assert!(!child.wait().unwrap().success());
    for bad in ["", "/x", "a/../b", "a//b"] {
        assert!(matches!(cgroup::path(bad), Err(cgroup::Error::Name(_))), "{bad:?}");
    }
}
