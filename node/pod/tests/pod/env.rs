//! Environment, volumes and mounts as data.

use std::collections::BTreeMap;

use crate::support::pod;
use expect_test::expect;
use pod::env::{Downward, Sources, expand, resolve};
use pod::volume::{self, Inputs};

fn sources() -> Sources {
    let map = "{metadata: {name: m}, data: {A: from-map, B: b}}";
    let secret = "{metadata: {name: s}, data: {P: cGFzcw==}}";
    let service =
        "{metadata: {name: my-db, namespace: d}, spec: {clusterIP: 10.96.0.9, ports: [{name: sql, port: 5432}]}}";
    Sources {
        config_maps: BTreeMap::from([("m".to_owned(), serde_saphyr::from_str(map).unwrap())]),
        secrets: BTreeMap::from([("s".to_owned(), serde_saphyr::from_str(secret).unwrap())]),
        services: vec![serde_saphyr::from_str(service).unwrap()],
    }
}

fn downward() -> Downward {
    Downward { pod_ips: vec!["10.0.0.7".parse().unwrap()], ..Downward::default() }
}

fn variables(container: &str) -> String {
    let pod = pod(&format!("containers:\n- {container}"));
    let container = &pod.spec.as_ref().unwrap().containers[0];
    match resolve(&pod, container, &sources(), &downward()) {
        Ok(list) => list.iter().map(|v| format!("{}={}\n", v.name, v.value)).collect(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn variables_come_in_order_and_expand() {
    expect![[r#"
        A=own
        B=b
        C=own-5432 $(NOPE) $(A)
        IP=10.0.0.7
        CPU=2
        P=pass
        MY_DB_SERVICE_HOST=10.96.0.9
        MY_DB_SERVICE_PORT=5432
        MY_DB_SERVICE_PORT_SQL=5432
        MY_DB_PORT=tcp://10.96.0.9:5432
        MY_DB_PORT_5432_TCP=tcp://10.96.0.9:5432
        MY_DB_PORT_5432_TCP_PROTO=tcp
        MY_DB_PORT_5432_TCP_PORT=5432
        MY_DB_PORT_5432_TCP_ADDR=10.96.0.9
    "#]]
    .assert_eq(&variables(
        "{name: c, resources: {limits: {cpu: 1500m}}, envFrom: [{configMapRef: {name: m}}], env: [{name: A, value: own}, \
         {name: C, value: '$(A)-$(MY_DB_SERVICE_PORT) $(NOPE) $$(A)'}, \
         {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}, \
         {name: CPU, valueFrom: {resourceFieldRef: {resource: limits.cpu}}}, \
         {name: P, valueFrom: {secretKeyRef: {name: s, key: P}}}, \
         {name: X, valueFrom: {configMapKeyRef: {name: none, key: k, optional: true}}}]}",
    ));
}

#[test]
fn what_is_missing_is_named() {
    let missing = |from: &str| variables(&format!("{{name: c, env: [{{name: X, valueFrom: {from}}}]}}"));
    expect![[r#"configmap "none" not found"#]].assert_eq(&missing("{configMapKeyRef: {name: none, key: k}}"));
    expect!["couldn't find key k in secret d/s"].assert_eq(&missing("{secretKeyRef: {name: s, key: k}}"));
    expect!["field label not supported: spec.nope"].assert_eq(&missing("{fieldRef: {fieldPath: spec.nope}}"));
}

#[test]
fn expansion_keeps_what_it_does_not_know() {
    let find = |name: &str| (name == "A").then(|| "1".to_owned());
    let expanded = |text: &str| expand(text, find);
    assert_eq!(expanded("$(A)$(A)"), "11");
    assert_eq!(expanded("$$(A) $A $(B) $("), "$(A) $A $(B) $(");
}

fn files(volume: &str) -> String {
    let pod = pod(&format!("containers: [{{name: c}}]\nvolumes:\n- {volume}"));
    let plan = match volume::plan(&pod) {
        Ok(plan) => plan,
        Err(error) => return error.to_string(),
    };
    let volume::Source::Files(wanted) = &plan[0].source else { return format!("{:?}", plan[0].source) };
    let tokens = BTreeMap::new();
    let (sources, downward) = (sources(), downward());
    let inputs = Inputs { pod: &pod, sources: &sources, downward: &downward, tokens: &tokens };
    match volume::files(&plan[0].name, wanted, inputs) {
        Ok(files) => files
            .iter()
            .map(|(path, file)| format!("{path} {:o} {}\n", file.mode, String::from_utf8_lossy(&file.data)))
            .collect(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn volumes_of_api_objects() {
    expect![[r#"
        a/b 600 from-map
    "#]]
    .assert_eq(&files("{name: v, configMap: {name: m, items: [{key: A, path: a/b, mode: 384}]}}"));
    expect![[r#"
        A 644 from-map
        B 644 b
        P 644 pass
        name 644 p
    "#]]
    .assert_eq(&files(
        "{name: v, projected: {sources: [{configMap: {name: m}}, {secret: {name: s}}, \
         {downwardAPI: {items: [{path: name, fieldRef: {fieldPath: metadata.name}}]}}]}}",
    ));
}

#[test]
fn bad_volumes_are_refused() {
    expect![[r#"MountVolume.SetUp failed for volume "v" : configmap "none" not found"#]]
        .assert_eq(&files("{name: v, configMap: {name: none}}"));
    expect![[r#"MountVolume.SetUp failed for volume "v" : path "../x" leaves the volume"#]]
        .assert_eq(&files("{name: v, configMap: {name: m, items: [{key: A, path: ../x}]}}"));
    expect![[r#"MountVolume.SetUp failed for volume "v" : this node does not support volumes of this type"#]]
        .assert_eq(&files("{name: v, persistentVolumeClaim: {claimName: c}}"));
    expect![[r#"EmptyDir { medium: Memory, size_bytes: Some(1048576) }"#]]
        .assert_eq(&files("{name: v, emptyDir: {medium: Memory, sizeLimit: 1Mi}}"));
}
