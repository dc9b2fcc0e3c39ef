//! Row 40: ClusterIPs, IPAddresses, ServiceCIDRs, node ports.

use crate::{fixture::*, streams::serve};
use serde_json::{Value, json};
use std::time::Duration;

const ADDRESSES: &str = "/apis/networking.k8s.io/v1/ipaddresses";
const RANGES: &str = "/apis/networking.k8s.io/v1/servicecidrs";

fn service(name: &str, spec: Value) -> Value {
    let mut object = json!({"metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}});
    for (field, value) in spec.as_object().into_iter().flatten() {
        object["spec"][field] = value.clone();
    }
    object
}

/// Polls until the answer is as wanted, at most twenty seconds.
async fn until(f: &Fixture, path: &str, wanted: impl Fn(&Answer) -> bool) -> Answer {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        let answer = f.get(path).await;
        if wanted(&answer) {
            return answer;
        }
        assert!(tokio::time::Instant::now() < deadline, "{path}: {}", answer.body);
        tokio::time::sleep(Duration::from_millis(10)).await; // until the deadline
    }
}

#[tokio::test]
async fn row_40_every_cluster_ip_has_its_object() {
    let f = Fixture::new().await;
    let made = f.post(SERVICES, service("s", json!({}))).await.ok();
    let ip = made["spec"]["clusterIP"].as_str().unwrap().to_owned();
    assert_eq!(made["spec"]["clusterIPs"], json!([ip]));
    assert_eq!(
        (&made["spec"]["ipFamilies"], &made["spec"]["ipFamilyPolicy"]),
        (&json!(["IPv4"]), &json!("SingleStack"))
    );
    let address = f.get(&format!("{ADDRESSES}/{ip}")).await.ok();
    assert_eq!(
        address["spec"]["parentRef"],
        json!({"group": "", "resource": "services", "namespace": "default", "name": "s"})
    );
    assert_eq!(
        address["metadata"]["labels"],
        json!({"ipaddress.kubernetes.io/ip-family": "IPv4", "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io"})
    );
    let taken = f.post(SERVICES, service("t", json!({"clusterIP": ip}))).await.refused();
    assert_eq!(
        taken,
        (
            422,
            "Invalid".to_owned(),
            format!(
                "Service \"t\" is invalid: spec.clusterIPs: Invalid value: [\"{ip}\"]: failed to allocate IP {ip}: \
                 provided IP is already allocated"
            )
        )
    );
    let outside = f.post(SERVICES, service("t", json!({"clusterIP": "10.97.0.9"}))).await.refused().2;
    assert!(outside.contains("the provided IP (10.97.0.9) is not in the valid range"), "{outside}");
    // A dry run and a refused write take nothing.
    f.call(
        "POST",
        &format!("{SERVICES}?dryRun=All"),
        None,
        service("d", json!({"clusterIP": "10.96.0.12"})).to_string(),
    )
    .await
    .ok();
    assert_eq!(f.get(&format!("{ADDRESSES}/10.96.0.12")).await.code, 404);
    f.post(SERVICES, service("d", json!({"clusterIP": "10.96.0.12"}))).await.ok();
    f.delete(&format!("{SERVICES}/s"), json!({})).await.ok();
    assert_eq!(f.get(&format!("{ADDRESSES}/{ip}")).await.code, 404);
    f.post(SERVICES, service("t", json!({"clusterIP": ip}))).await.ok();
    let headless = f.post(SERVICES, service("h", json!({"clusterIP": "None"}))).await.ok();
    assert_eq!(headless["spec"]["clusterIPs"], json!(["None"]));
    // One made by hand reserves its address.
    let parent = json!({"group": "example.com", "resource": "gateways", "namespace": "x", "name": "y"});
    f.post(ADDRESSES, json!({"metadata": {"name": "10.96.0.13"}, "spec": {"parentRef": parent}})).await.ok();
    assert_eq!(f.post(SERVICES, service("r", json!({"clusterIP": "10.96.0.13"}))).await.code, 422);
    f.delete(&format!("{ADDRESSES}/10.96.0.13"), json!({})).await.ok();
    f.post(SERVICES, service("r", json!({"clusterIP": "10.96.0.13"}))).await.ok();
}

#[tokio::test]
async fn row_40_a_change_of_type_releases() {
    let f = Fixture::new().await;
    let made = f.post(SERVICES, service("s", json!({"type": "NodePort"}))).await.ok();
    let port = made["spec"]["ports"][0]["nodePort"].clone();
    let ip = made["spec"]["clusterIP"].as_str().unwrap().to_owned();
    let ports = json!([{"port": 80, "nodePort": port}]);
    let (_, _, message) = f.post(SERVICES, service("t", json!({"type": "NodePort", "ports": ports}))).await.refused();
    assert!(message.ends_with(&format!("Invalid value: {port}: provided port is already allocated")), "{message}");
    let external =
        json!({"spec": {"type": "ExternalName", "externalName": "example.com", "clusterIP": null, "clusterIPs": null}});
    let changed = f.merge(&format!("{SERVICES}/s"), external).await.ok();
    assert!(changed["spec"].get("clusterIP").is_none_or(|ip| ip == ""), "{changed}");
    assert_eq!(f.get(&format!("{ADDRESSES}/{ip}")).await.code, 404);
    f.post(SERVICES, service("t", json!({"type": "NodePort", "ports": ports, "clusterIP": ip}))).await.ok();
}

#[tokio::test]
async fn row_40_ranges_come_and_go() {
    let f = Fixture::new().await;
    let (_, shutdown, task) = serve(&f).await;
    let ready = |answer: &Answer| answer.body["status"]["conditions"][0]["status"] == "True";
    let own = until(&f, &format!("{RANGES}/kubernetes"), ready).await.ok();
    assert_eq!(own["spec"]["cidrs"], json!(["10.96.0.0/24"]));
    f.post(RANGES, json!({"metadata": {"name": "more"}, "spec": {"cidrs": ["10.98.0.0/24", "fd00::/112"]}})).await.ok();
    f.post(SERVICES, service("s", json!({"clusterIP": "10.98.0.7"}))).await.ok();
    let both = f.post(SERVICES, service("b", json!({"ipFamilyPolicy": "RequireDualStack"}))).await.ok();
    assert_eq!(both["spec"]["ipFamilies"], json!(["IPv4", "IPv6"]));
    until(&f, &format!("{RANGES}/more"), ready).await;
    f.delete(&format!("{RANGES}/more"), json!({})).await.ok();
    let waiting = until(&f, &format!("{RANGES}/more"), |answer| answer.code == 200 && !ready(answer)).await;
    assert_eq!(waiting.body["status"]["conditions"][0]["reason"], "Terminating");
    assert_eq!(f.post(SERVICES, service("late", json!({"clusterIP": "10.98.0.8"}))).await.code, 422);
    f.delete(&format!("{SERVICES}/s"), json!({})).await.ok();
    f.delete(&format!("{SERVICES}/b"), json!({})).await.ok();
    until(&f, &format!("{RANGES}/more"), |answer| answer.code == 404).await;
    shutdown.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn row_40_what_a_crash_left_is_set_right() {
    let f = Fixture::new().await;
    let made = f.post(SERVICES, service("s", json!({}))).await.ok();
    let ip = made["spec"]["clusterIP"].as_str().unwrap().to_owned();
    let key = |ip: &str| format!("/registry/networking.k8s.io/ipaddresses/{ip}");
    // The crash came between the Service and its address, and between another's deletion and its address'.
    let entry = f.store.get(&key(&ip)).await.unwrap().unwrap();
    let mut leaked: Value = serde_json::from_slice(&entry.value).unwrap();
    leaked["metadata"]["name"] = json!("10.96.0.14");
    leaked["spec"]["parentRef"]["name"] = json!("gone");
    let put = store::Op::Put(leaked.to_string().into());
    f.store.commit(&key("10.96.0.14"), store::Expect::Absent, put).await.unwrap();
    f.store.commit(&key(&ip), store::Expect::Any, store::Op::Delete).await.unwrap();
    let (_, shutdown, task) = serve(&f).await;
    until(&f, &format!("{ADDRESSES}/{ip}"), |answer| answer.code == 200).await;
    until(&f, &format!("{ADDRESSES}/10.96.0.14"), |answer| answer.code == 404).await;
    shutdown.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn row_40_two_families_are_asked_for_in_so_many_words() {
    let f = Fixture::new().await;
    let ports = json!([{"port": 80}]);
    let (code, _, message) = f
        .post(SERVICES, service("a", json!({"ipFamilies": ["IPv4", "IPv6"], "selector": {"a": "b"}, "ports": ports})))
        .await
        .refused();
    let wanted = "Service \"a\" is invalid: spec.ipFamilyPolicy: Invalid value: \"SingleStack\": must be \
                  'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified";
    assert_eq!((code, message.as_str()), (422, wanted));
    let ips = json!({"clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7", "fd00::7"], "ports": ports});
    let (code, _, message) = f.post(SERVICES, service("a", ips)).await.refused();
    assert_eq!(code, 422);
    assert!(message.contains("when multiple cluster IPs are specified"), "{message}");
    // Whoever has endpoints of his own may have them of both families, whatever the cluster has.
    let free = f.post(SERVICES, service("free", json!({"clusterIP": "None", "ports": ports}))).await.ok();
    assert_eq!(
        (&free["spec"]["ipFamilies"], &free["spec"]["ipFamilyPolicy"]),
        (&json!(["IPv4", "IPv6"]), &json!("RequireDualStack"))
    );
    let chosen = json!({"clusterIP": "None", "selector": {"a": "b"}, "ports": ports});
    let chosen = f.post(SERVICES, service("chosen", chosen)).await.ok();
    assert_eq!(
        (&chosen["spec"]["ipFamilies"], &chosen["spec"]["ipFamilyPolicy"]),
        (&json!(["IPv4"]), &json!("SingleStack"))
    );
    // An update without a policy keeps the one of before.
    let prefers = service("p", json!({"ipFamilyPolicy": "PreferDualStack", "selector": {"a": "b"}, "ports": ports}));
    let mut prefers = f.post(SERVICES, prefers).await.ok();
    prefers["spec"].as_object_mut().unwrap().remove("ipFamilyPolicy");
    let after = f.put(&format!("{SERVICES}/p"), &prefers).await.ok();
    assert_eq!(after["spec"]["ipFamilyPolicy"], "PreferDualStack");
}
