use serde_json::json;

use super::*;

fn names() -> Names {
    let mut names = Names::default();
    names.add_node(
        &json!({"metadata": {"name": "n1"}, "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.1"}]}}),
    );
    names.add_pod(&json!({"metadata": {"namespace": "shop", "name": "web"}, "spec": {"nodeName": "n1"}, "status": {"phase": "Running", "podIP": "10.244.1.2"}}));
    names.add_pod(&json!({"metadata": {"namespace": "shop", "name": "old"}, "spec": {"nodeName": "n1"}, "status": {"phase": "Succeeded", "podIP": "10.244.1.3"}}));
    names.add_pod(&json!({"metadata": {"namespace": "shop", "name": "agent"}, "spec": {"nodeName": "n1", "hostNetwork": true}, "status": {"phase": "Running", "podIP": "192.0.2.1"}}));
    names.add_service(&json!({"metadata": {"namespace": "shop", "name": "front"}, "spec": {"clusterIP": "10.96.0.20", "ports": [{"port": 80, "nodePort": 30080}]}}));
    names
}

#[test]
fn an_address_is_named_by_who_has_it_now() {
    let names = names();
    assert_eq!(names.label("10.244.1.2:8080"), "10.244.1.2:8080 (pod shop/web)");
    assert_eq!(names.label("10.96.0.20:80"), "10.96.0.20:80 (service shop/front)");
    assert_eq!(names.label("*:30080"), "*:30080 (service shop/front)");
    assert_eq!(names.label("192.0.2.1"), "192.0.2.1 (node n1)");
    assert_eq!(names.label("10.244.1.3:1"), "10.244.1.3:1", "a pod that ended");
    assert_eq!(names.label("203.0.113.1:1"), "203.0.113.1:1");
}

#[test]
fn a_service_is_found_by_each_way_to_write_it() {
    let names = names();
    let vip = Some("10.96.0.20".parse().expect("address"));
    for name in ["shop/front", "front.shop", "front.shop.svc.cluster.local"] {
        assert_eq!(names.service(name), vip, "{name}");
    }
    assert_eq!(names.service("front"), None, "of another namespace");
}
