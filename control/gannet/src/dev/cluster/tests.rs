use super::*;

fn arguments(name: &str, pods: &str, services: &str, underlay: &str) -> CreateArguments {
    CreateArguments {
        name: name.to_owned(),
        nodes: 3,
        pod_cidr: pods.parse().unwrap(),
        service_cidr: services.parse().unwrap(),
        underlay_cidr: underlay.parse().unwrap(),
        path: PathArguments::default(),
        no_host_access: false,
    }
}

fn refused(arguments: &CreateArguments) -> String {
    Cluster::new(arguments).unwrap_err().to_string()
}

#[test]
fn members_have_names_and_addresses_of_their_own() {
    let cluster = Cluster::new(&arguments("dev", "10.244.0.0/16", "10.96.0.0/16", "10.243.0.0/24")).unwrap();
    let members: Vec<String> =
        cluster.members().map(|member| format!("{} {} {}", member.name, member.addresses, member.netns())).collect();
    assert_eq!(
        members,
        ["dev-1 10.243.0.11 gannet-dev-1", "dev-2 10.243.0.12 gannet-dev-2", "dev-3 10.243.0.13 gannet-dev-3"]
    );
    assert_eq!(cluster.host_addresses().to_string(), "10.243.0.1");
    assert_eq!(cluster.on_underlay(cluster.host_addresses())[0].to_string(), "10.243.0.1/24");
    assert!(cluster.host_link().len() <= 15);
}

#[test]
fn names_that_cannot_be_are_refused() {
    for name in ["", "-a", "a-", "Dev", "a/b", "..", "thirteen-long"] {
        let said = refused(&arguments(name, "10.244.0.0/16", "10.96.0.0/16", "10.243.0.0/24"));
        assert!(said.contains("lower case letters"), "{name}: {said}");
    }
}

#[test]
fn ranges_that_cannot_be_are_refused() {
    let cases = [
        ("10.244.0.0/16", "10.244.1.0/24", "10.243.0.0/24", "--pod-cidr 10.244.0.0/16 and --service-cidr"),
        ("10.244.0.0/16", "10.96.0.0/16", "10.96.3.0/24", "--service-cidr 10.96.0.0/16 and --underlay-cidr"),
        ("10.244.0.0/28", "10.96.0.0/16", "10.243.0.0/24", "--pod-cidr 10.244.0.0/28: give a range"),
        ("fd00::/48", "10.96.0.0/16", "10.243.0.0/24", "ranges of the same families"),
        ("10.244.0.0/16,fd00::/64", "10.96.0.0/16,fd01::/112", "10.243.0.0/24,fd02::/64", "--pod-cidr fd00::/64: give"),
    ];
    for (pods, services, underlay, expected) in cases {
        let said = refused(&arguments("dev", pods, services, underlay));
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn only_more_nodes_make_a_cluster_grow() {
    let one = Cluster::new(&arguments("dev", "10.244.0.0/16", "10.96.0.0/16", "10.243.0.0/24")).unwrap();
    let larger = Cluster { nodes: 5, ..one.clone() };
    let moved = Cluster { pod_cidr: "10.245.0.0/16".parse().unwrap(), ..larger.clone() };
    assert!(one.differs_in_nodes_only(&larger));
    assert!(!one.differs_in_nodes_only(&moved));
}

#[test]
fn how_packets_go_is_kept_and_told() {
    let mut given = arguments("dev", "10.244.0.0/16", "10.96.0.0/16", "10.243.0.0/24");
    let plain = Cluster::new(&given).unwrap();
    given.path.routing = crate::settings::Routing::Native;
    given.path.xdp = UplinkXdpArgument::Generic;
    let other = Cluster::new(&given).unwrap();
    assert!(other.has_xdp() && !plain.has_xdp() && !plain.differs_in_nodes_only(&other));
    assert!(other.to_string().ends_with("--routing native --xdp generic --lb-mode snat"), "{other}");
    let mut kept = serde_json::to_value(&other).unwrap();
    assert_eq!(serde_json::from_value::<Cluster>(kept.clone()).unwrap(), other);
    // A file of an earlier version.
    kept.as_object_mut().unwrap().remove("path");
    assert_eq!(serde_json::from_value::<Cluster>(kept).unwrap(), plain);
    given.path.xdp = UplinkXdpArgument::Native;
    assert!(refused(&given).contains("--xdp generic"));
}

#[test]
fn two_families_have_two_addresses_each() {
    let both =
        arguments("dev", "10.244.0.0/16,fd10:244::/48", "10.96.0.0/16,fd10:96::/112", "10.243.0.0/24,fd10:243::/64");
    let cluster = Cluster::new(&both).unwrap();
    let members: Vec<String> = cluster.members().map(|member| member.addresses.to_string()).collect();
    assert_eq!(members[0], "10.243.0.11,fd10:243::b");
    let kept: Cluster = serde_json::from_str(&serde_json::to_string(&cluster).unwrap()).unwrap();
    assert_eq!(kept, cluster);
}
