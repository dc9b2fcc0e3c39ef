use super::*;
use serde_json::json;

fn allocators() -> Allocators {
    allocators_of(&["10.96.0.0/28"])
}

fn allocators_of(ranges: &[&str]) -> Allocators {
    let ranges: Vec<(IpNet, bool)> = ranges.iter().map(|range| (range.parse().unwrap(), true)).collect();
    let mut ips = IpPools::default();
    ips.set(&ranges);
    let pools = Pools { ips, ports: PortPool::new(30000..=30002), own: vec![ranges[0].0], followed: Revision(0) };
    Allocators { pools: Mutex::new(pools) }
}

fn services() -> &'static Resource {
    registry::find("", "v1", "services").unwrap()
}

fn service(spec: Value) -> Value {
    json!({"metadata": {"name": "s", "namespace": "default"}, "spec": spec})
}

fn create(allocators: &Allocators, spec: Value) -> Result<Value, String> {
    let mut object = service(spec);
    let reservation = allocators.reserve(services(), &mut object, None).map_err(|status| status.message)?;
    reservation.keep();
    Ok(object)
}

#[test]
fn reserved_addresses_are_given_out_only_when_asked_for() {
    let allocators = allocators();
    // /28: .0 and .15 are no addresses, .1 and .10 are reserved: 12 are left.
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..12 {
        let object = create(&allocators, json!({})).unwrap();
        assert!(seen.insert(object["spec"]["clusterIP"].as_str().unwrap().to_owned()));
    }
    assert!(!seen.contains("10.96.0.1") && !seen.contains("10.96.0.10"));
    assert!(create(&allocators, json!({})).unwrap_err().contains("is full"));
    assert_eq!(
        create(&allocators, json!({"clusterIP": "10.96.0.10"})).unwrap()["spec"]["clusterIPs"],
        json!(["10.96.0.10"])
    );
    let error = create(&allocators, json!({"clusterIP": "10.96.0.10"})).unwrap_err();
    assert!(error.contains("provided IP is already allocated"), "{error}");
    let error = create(&allocators, json!({"clusterIP": "10.97.0.1"})).unwrap_err();
    assert!(error.contains("not in the valid range. The range of valid IPs is 10.96.0.0/28"), "{error}");
}

#[test]
fn what_is_not_kept_goes_back() {
    let allocators = allocators();
    let spec = json!({"type": "NodePort", "clusterIP": "10.96.0.5", "ports": [{"port": 80, "nodePort": 30001}]});
    for _ in 0..3 {
        let mut object = service(spec.clone());
        drop(allocators.reserve(services(), &mut object, None).unwrap());
    }
    let object = create(&allocators, spec.clone()).unwrap();
    let error = create(&allocators, spec.clone()).unwrap_err();
    assert!(
        error.contains("spec.ports[0].nodePort: Invalid value: 30001: provided port is already allocated"),
        "{error}"
    );
    allocators.release(services(), &object);
    create(&allocators, spec).unwrap();
}

#[test]
fn a_change_of_type_gives_up_what_it_no_longer_needs() {
    let allocators = allocators();
    let ports =
        json!([{"port": 53, "protocol": "TCP", "nodePort": 30000}, {"port": 53, "protocol": "UDP", "nodePort": 30000}]);
    let old = create(&allocators, json!({"type": "NodePort", "ports": ports})).unwrap();
    let mut new = old.clone();
    new["spec"]["type"] = json!("ClusterIP");
    carry_over(&mut new, &old);
    allocators.reserve(services(), &mut new, Some(&old)).unwrap().keep();
    assert!(new["spec"]["ports"][0].get("nodePort").is_none());
    assert_eq!(new["spec"]["clusterIP"], old["spec"]["clusterIP"]);
    create(&allocators, json!({"type": "NodePort", "ports": [{"port": 1, "nodePort": 30000}]})).unwrap();
    let mut external = new.clone();
    external["spec"]["type"] = json!("ExternalName");
    carry_over(&mut external, &new);
    allocators.reserve(services(), &mut external, Some(&new)).unwrap().keep();
    assert!(external["spec"].get("clusterIP").is_none());
    let freed = new["spec"]["clusterIP"].clone();
    create(&allocators, json!({"clusterIP": freed})).unwrap();
}

#[test]
fn an_update_that_leaves_numbers_out_keeps_them() {
    let allocators = allocators();
    let old = create(&allocators, json!({"type": "NodePort", "ports": [{"port": 80}]})).unwrap();
    let mut new = service(json!({"type": "NodePort", "ports": [{"port": 80}, {"port": 81}]}));
    carry_over(&mut new, &old);
    allocators.reserve(services(), &mut new, Some(&old)).unwrap().keep();
    assert_eq!(new["spec"]["clusterIP"], old["spec"]["clusterIP"]);
    assert_eq!(new["spec"]["ports"][0]["nodePort"], old["spec"]["ports"][0]["nodePort"]);
    assert_ne!(new["spec"]["ports"][1]["nodePort"], old["spec"]["ports"][0]["nodePort"]);
}

#[test]
fn headless_services_take_nothing() {
    let allocators = allocators();
    let object = create(&allocators, json!({"clusterIP": "None"})).unwrap();
    assert_eq!(service::numbers(&object), Numbers::default());
}

#[test]
fn two_families_get_an_address_each() {
    let allocators = allocators_of(&["10.96.0.0/28", "fd00::/112"]);
    let both = create(&allocators, json!({"ipFamilyPolicy": "PreferDualStack"})).unwrap();
    assert_eq!(both["spec"]["ipFamilies"], json!(["IPv4", "IPv6"]));
    assert_eq!(both["spec"]["clusterIPs"].as_array().unwrap().len(), 2);
    assert_eq!(both["spec"]["clusterIPs"][0], both["spec"]["clusterIP"]);
    let sixth = create(&allocators, json!({"ipFamilies": ["IPv6"]})).unwrap();
    assert!(sixth["spec"]["clusterIP"].as_str().unwrap().starts_with("fd00::"), "{sixth}");
    let mut single = both.clone();
    single["spec"]["ipFamilyPolicy"] = json!("SingleStack");
    carry_over(&mut single, &both);
    allocators.reserve(services(), &mut single, Some(&both)).unwrap().keep();
    assert_eq!(single["spec"]["clusterIPs"], json!([both["spec"]["clusterIP"]]));
    assert_eq!(single["spec"]["ipFamilies"], json!(["IPv4"]));
    let freed = both["spec"]["clusterIPs"][1].clone();
    create(&allocators, json!({"ipFamilies": ["IPv6"], "clusterIP": freed})).unwrap();
}

#[test]
fn one_family_is_no_dual_stack() {
    let allocators = self::allocators();
    let error = create(&allocators, json!({"ipFamilyPolicy": "RequireDualStack"})).unwrap_err();
    assert!(
        error.contains(
            "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not configured for dual-stack services"
        ),
        "{error}"
    );
    let error = create(&allocators, json!({"ipFamilies": ["IPv6"]})).unwrap_err();
    assert!(error.contains("spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this cluster"), "{error}");
    let prefers = create(&allocators, json!({"ipFamilyPolicy": "PreferDualStack"})).unwrap();
    assert_eq!(
        (&prefers["spec"]["ipFamilies"], &prefers["spec"]["ipFamilyPolicy"]),
        (&json!(["IPv4"]), &json!("PreferDualStack"))
    );
}

#[test]
fn a_health_check_has_a_port_of_its_own() {
    let allocators = self::allocators();
    let spec = json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "ports": [{"port": 80}]});
    let balanced = create(&allocators, spec).unwrap();
    let health = balanced["spec"]["healthCheckNodePort"].as_u64().unwrap();
    assert!((30000..=30002).contains(&health));
    assert_ne!(balanced["spec"]["ports"][0]["nodePort"].as_u64(), Some(health));
    allocators.release(services(), &balanced);
    create(&allocators, json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": health}]})).unwrap();
}

#[test]
fn the_first_range_is_of_the_family_of_those_who_name_none() {
    let allocators = allocators_of(&["fd00::/112", "10.96.0.0/28"]);
    let one = create(&allocators, json!({})).unwrap();
    assert_eq!(one["spec"]["ipFamilies"], json!(["IPv6"]));
    let both = create(&allocators, json!({"ipFamilyPolicy": "PreferDualStack"})).unwrap();
    assert_eq!(both["spec"]["ipFamilies"], json!(["IPv6", "IPv4"]));
    let headless = json!({"clusterIP": "None", "selector": {"a": "b"}, "ipFamilyPolicy": "SingleStack"});
    assert_eq!(create(&allocators, headless).unwrap()["spec"]["ipFamilies"], json!(["IPv6"]));
    let free = json!({"clusterIP": "None", "ipFamilyPolicy": "RequireDualStack"});
    assert_eq!(create(&allocators, free).unwrap()["spec"]["ipFamilies"], json!(["IPv6", "IPv4"]));
}
