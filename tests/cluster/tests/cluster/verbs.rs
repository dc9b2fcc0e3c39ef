//! kubectl's verbs.

use std::time::Duration;

use anyhow::{Result, ensure};
use cluster_tests::{Cluster, eventually};

/// Longest wait of a kubectl that waits itself.
const WAIT: &str = "--timeout=90s";

pub fn nodes_are_listed(cluster: &Cluster, _: &str) -> Result<()> {
    let nodes = cluster.kubectl().run(&["get", "nodes", "-o", "wide"])?;
    for index in [1, 2] {
        let node = cluster.node(index);
        let line = nodes.lines().find(|line| line.starts_with(&node)).unwrap_or_default();
        ensure!(line.contains(" Ready "), "{node} is not Ready:\n{nodes}");
        ensure!(line.contains("10.187.0.1") && line.contains("containerd://"), "{line}");
    }
    ensure!(nodes.starts_with("NAME") && nodes.contains("INTERNAL-IP"), "{nodes}");
    let described = cluster.kubectl().run(&["describe", "node", &cluster.node(1)])?;
    for part in ["Capacity:", "Conditions:", "PodCIDR:"] {
        ensure!(described.contains(part), "no {part} in\n{described}");
    }
    Ok(())
}

pub fn everything_is_listed(cluster: &Cluster, namespace: &str) -> Result<()> {
    let kubectl = cluster.kubectl();
    kubectl.run(&["-n", namespace, "create", "deployment", "one", "--image=gannet.local/hello:1"])?;
    kubectl.run(&["-n", namespace, "wait", "--for=condition=Available", "deployment/one", WAIT])?;
    let all = kubectl.run(&["get", "all", "-A"])?;
    for part in ["pod/one-", "service/kubernetes", "service/kube-dns", "deployment.apps/one", "replicaset.apps/one-"] {
        ensure!(all.contains(part), "no {part} in\n{all}");
    }
    for kind in ["namespaces", "events", "configmaps", "secrets", "serviceaccounts", "endpointslices", "leases"] {
        kubectl.run(&["get", kind, "-A"])?;
    }
    Ok(())
}

pub fn deployment_lives(cluster: &Cluster, namespace: &str) -> Result<()> {
    let kubectl = cluster.kubectl();
    let run = |words: &[&str]| kubectl.run(&[&["-n", namespace], words].concat());
    run(&["create", "deployment", "web", "--image=gannet.local/hello:1", "--replicas=2", "--port=8080"])?;
    run(&["wait", "--for=condition=Available", "deployment/web", WAIT])?;
    run(&["scale", "deployment", "web", "--replicas=4"])?;
    run(&["rollout", "status", "deployment/web", WAIT])?;
    ensure!(run(&["get", "pods", "-l", "app=web", "--no-headers"])?.lines().count() == 4, "not four pods");
    run(&["expose", "deployment", "web", "--port=80", "--target-port=8080"])?;
    let versions = |expected: &str| {
        eventually("the Service serves one version", || {
            let service = format!("{namespace}/web");
            let answers = cluster_tests::output(&mut cluster.gannet(&["net", "test", &service]))?;
            ensure!(answers.contains("answered"), "{answers}");
            let images = run(&["get", "pods", "-l", "app=web", "-o", "jsonpath={.items[*].spec.containers[0].image}"])?;
            let all = images.split(' ').all(|image| image == format!("gannet.local/hello:{expected}"));
            ensure!(all, "pods run {images}");
            Ok(())
        })
    };
    versions("1")?;
    run(&["set", "image", "deployment/web", "hello=gannet.local/hello:2"])?;
    run(&["rollout", "status", "deployment/web", WAIT])?;
    versions("2")?;
    let history = run(&["rollout", "history", "deployment/web"])?;
    ensure!(history.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit())).count() == 2, "{history}");
    run(&["rollout", "undo", "deployment/web"])?;
    run(&["rollout", "status", "deployment/web", WAIT])?;
    versions("1")?;
    run(&["delete", "deployment", "web"])?;
    eventually("the pods go with their Deployment", || {
        let left = run(&["get", "pods", "-l", "app=web", "--no-headers"])?;
        ensure!(left.is_empty(), "left: {left}");
        Ok(())
    })
}

pub fn manifest_is_applied(cluster: &Cluster, namespace: &str) -> Result<()> {
    let kubectl = cluster.kubectl();
    let manifest = include_str!("../../../../examples/hello.yaml").replace("30080", "30081");
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), &manifest)?;
    let path = file.path().to_string_lossy().into_owned();
    let run = |words: &[&str]| kubectl.run(&[&["-n", namespace], words].concat());
    let first = run(&["apply", "-f", &path])?;
    ensure!(first.lines().all(|line| line.ends_with("created")) && first.lines().count() == 3, "{first}");
    let again = run(&["apply", "-f", &path])?;
    ensure!(again.lines().all(|line| line.ends_with("unchanged")), "{again}");
    run(&["wait", "--for=condition=Available", "deployment/hello", WAIT])?;
    std::fs::write(file.path(), manifest.replace("replicas: 3", "replicas: 2"))?;
    ensure!(run(&["diff", "-f", &path]).is_err(), "diff sees no difference");
    let changed = run(&["apply", "-f", &path])?;
    ensure!(changed.contains("deployment.apps/hello configured"), "{changed}");
    run(&["rollout", "status", "deployment/hello", WAIT])?;
    eventually("describe names the pod's events", || {
        // Anew each time: the first one listed may be the one that is going.
        let pods = run(&["get", "pods", "-l", "app=hello", "-o", "name"])?;
        let described = run(&["describe", pods.lines().next().unwrap_or_default()])?;
        for part in ["Node:", "Containers:", "Scheduled", "Pulled", "Created", "Started"] {
            ensure!(described.contains(part), "no {part} in\n{described}");
        }
        Ok(())
    })?;
    run(&["delete", "-f", &path]).map(drop)
}

pub fn watch_shows_changes(cluster: &Cluster, namespace: &str) -> Result<()> {
    let kubectl = cluster.kubectl();
    let limit = Duration::from_secs(60);
    kubectl.run(&["-n", namespace, "run", "first", "--image=gannet.local/hello:1"])?;
    let mut watch = kubectl.background(&["-n", namespace, "get", "pods", "-w", "--no-headers"])?;
    // The watch begins behind its list: what is created now must come as an event.
    watch.line(limit, |line| line.starts_with("first"))?;
    kubectl.run(&["-n", namespace, "run", "seen", "--image=gannet.local/hello:1"])?;
    for phase in ["Pending", "ContainerCreating", "Running"] {
        watch.line(limit, |line| line.starts_with("seen") && line.contains(phase))?;
    }
    kubectl.run(&["-n", namespace, "delete", "pod", "seen", "--wait=true"])?;
    watch.line(limit, |line| line.starts_with("seen") && line.contains("Terminating")).map(drop)
}

pub fn labels_select(cluster: &Cluster, namespace: &str) -> Result<()> {
    let kubectl = cluster.kubectl();
    let run = |words: &[&str]| kubectl.run(&[&["-n", namespace], words].concat());
    run(&["create", "configmap", "one", "--from-literal=a=b"])?;
    run(&["create", "configmap", "two", "--from-literal=a=c"])?;
    run(&["label", "configmap", "one", "tier=front"])?;
    ensure!(run(&["get", "configmap", "-l", "tier=front", "-o", "name"])?.trim() == "configmap/one", "by label");
    ensure!(run(&["get", "configmap", "-l", "tier!=front", "-o", "name"])?.contains("configmap/two"), "by its absence");
    run(&["label", "configmap", "one", "tier=back", "--overwrite"])?;
    run(&["annotate", "configmap", "one", "note=kept"])?;
    run(&["patch", "configmap", "one", "--type=merge", "-p", r#"{"data":{"a":"z"}}"#])?;
    let one = kubectl.json(&["-n", namespace, "get", "configmap", "one"])?;
    ensure!(one["metadata"]["labels"]["tier"] == "back" && one["data"]["a"] == "z", "{one}");
    ensure!(one["metadata"]["annotations"]["note"] == "kept", "{one}");
    let by_name = run(&["get", "configmap", "--field-selector", "metadata.name=two", "-o", "name"])?;
    ensure!(by_name.trim() == "configmap/two", "{by_name}");
    run(&["delete", "configmap", "-l", "tier=back"])?;
    run(&["delete", "configmap", "one", "--ignore-not-found"]).map(drop)
}
