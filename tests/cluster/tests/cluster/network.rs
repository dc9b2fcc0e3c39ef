//! Pods, Services and names, over both nodes.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use cluster_tests::{Cluster, Kubectl, eventually, output};

/// Longest wait of a kubectl that waits itself.
const WAIT: &str = "--timeout=90s";

/// One pod of `image` on each node, named `<prefix>-<node>`.
fn pod_on_each_node(
    cluster: &Cluster,
    kubectl: &Kubectl,
    namespace: &str,
    prefix: &str,
    spec: &str,
) -> Result<Vec<String>> {
    let mut names = Vec::new();
    let mut manifest = String::new();
    for index in [1, 2] {
        let name = format!("{prefix}-{index}");
        let node = cluster.node(index);
        manifest.push_str(&format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{app: {prefix}}}}}\nspec:\n  nodeName: {node}\n  terminationGracePeriodSeconds: 1\n  containers:\n  - {spec}\n---\n"
        ));
        names.push(name);
    }
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), manifest)?;
    kubectl.run(&["-n", namespace, "apply", "-f", &file.path().to_string_lossy()])?;
    for name in &names {
        kubectl.run(&["-n", namespace, "wait", "--for=condition=Ready", &format!("pod/{name}"), WAIT])?;
    }
    Ok(names)
}

const BUSYBOX: &str = "{name: main, image: busybox, imagePullPolicy: IfNotPresent, command: [sleep, '3600']}";
const HELLO: &str = "{name: main, image: 'gannet.local/hello:1', ports: [{containerPort: 8080}], env: [{name: NODE_NAME, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}]}";

pub fn pods_reach_pods(cluster: &Cluster, namespace: &str) -> Result<()> {
    let kubectl = cluster.kubectl();
    let servers = pod_on_each_node(cluster, &kubectl, namespace, "server", HELLO)?;
    let callers = pod_on_each_node(cluster, &kubectl, namespace, "caller", BUSYBOX)?;
    for server in &servers {
        let address = kubectl.field(&["-n", namespace, "get", "pod", server], "/status/podIP")?;
        for caller in &callers {
            let own = kubectl.field(&["-n", namespace, "get", "pod", caller], "/status/podIP")?;
            let url = format!("http://{address}:8080/");
            let answer =
                kubectl.run(&["-n", namespace, "exec", caller, "--", "timeout", "5", "wget", "-q", "-O", "-", &url])?;
            ensure!(answer.contains(&format!("pod={server} ")), "{caller} -> {server}: {answer}");
            // No address translation between pods: the server sees the caller's own address.
            ensure!(answer.contains(&format!("client={own}")), "{caller} at {own} -> {server}: {answer}");
        }
        for index in [1, 2] {
            let url = format!("http://{address}:8080/");
            let answer = output(
                cluster.in_node(index, "busybox").args(["timeout", "5", "busybox", "wget", "-q", "-O", "-", &url]),
            )?;
            ensure!(answer.contains(&format!("pod={server} ")), "node {index} -> {server}: {answer}");
        }
    }
    Ok(())
}

pub fn services_answer(cluster: &Cluster, namespace: &str) -> Result<()> {
    let kubectl = cluster.kubectl();
    let servers = pod_on_each_node(cluster, &kubectl, namespace, "web", HELLO)?;
    kubectl.run(&[
        "-n",
        namespace,
        "expose",
        "pod",
        "web-1",
        "--name=web",
        "--port=80",
        "--target-port=8080",
        "--selector=app=web",
    ])?;
    kubectl.run(&[
        "-n",
        namespace,
        "expose",
        "pod",
        "web-1",
        "--name=web-port",
        "--port=80",
        "--target-port=8080",
        "--selector=app=web",
        "--type=NodePort",
    ])?;
    eventually("both Services answer by name, VIP and NodePort", || {
        let services = [format!("{namespace}/web"), format!("{namespace}/web-port")];
        let answers = output(cluster.gannet(&["net", "test", "--calls", "24"]).args(&services))?;
        for server in &servers {
            ensure!(answers.contains(server.as_str()), "{server} never answered:\n{answers}");
        }
        Ok(())
    })?;
    let vip = kubectl.field(&["-n", namespace, "get", "service", "web"], "/spec/clusterIP")?;
    for index in [1, 2] {
        let url = format!("http://{vip}/");
        let answer =
            output(cluster.in_node(index, "busybox").args(["timeout", "5", "busybox", "wget", "-q", "-O", "-", &url]))?;
        ensure!(answer.contains("pod=web-"), "node {index} -> {vip}: {answer}");
    }
    kubectl.run(&["-n", namespace, "delete", "service", "web"])?;
    eventually("a deleted Service answers no more", || {
        let url = format!("http://{vip}/");
        let answer =
            output(cluster.in_node(2, "busybox").args(["timeout", "1", "busybox", "wget", "-q", "-O", "-", &url]));
        ensure!(answer.is_err(), "it still answers: {answer:?}");
        Ok(())
    })
}

pub fn names_resolve(cluster: &Cluster, namespace: &str) -> Result<()> {
    let kubectl = cluster.kubectl();
    let servers = pod_on_each_node(cluster, &kubectl, namespace, "named", HELLO)?;
    let callers = pod_on_each_node(cluster, &kubectl, namespace, "asker", BUSYBOX)?;
    kubectl.run(&[
        "-n",
        namespace,
        "expose",
        "pod",
        "named-1",
        "--name=named",
        "--port=80",
        "--target-port=8080",
        "--selector=app=named",
    ])?;
    kubectl.run(&[
        "-n",
        namespace,
        "expose",
        "pod",
        "named-1",
        "--name=headless",
        "--port=8080",
        "--cluster-ip=None",
        "--selector=app=named",
    ])?;
    let vip = kubectl.field(&["-n", namespace, "get", "service", "named"], "/spec/clusterIP")?;
    let address = kubectl.field(&["-n", namespace, "get", "pod", &servers[0]], "/status/podIP")?;
    let other = kubectl.field(&["-n", namespace, "get", "pod", &servers[1]], "/status/podIP")?;
    for caller in &callers {
        let ask = |name: &str| kubectl.run(&["-n", namespace, "exec", caller, "--", "nslookup", name]);
        eventually("the Service's name resolves", || {
            let full = format!("named.{namespace}.svc.cluster.local");
            let answer = ask(&full)?;
            ensure!(answer.contains(&vip), "{answer}");
            Ok(())
        })?;
        eventually("a headless Service's name resolves to its pods", || {
            let answer = ask(&format!("headless.{namespace}.svc.cluster.local"))?;
            ensure!(answer.contains(&address) && answer.contains(&other), "{answer}");
            Ok(())
        })?;
        let short = kubectl.run(&[
            "-n",
            namespace,
            "exec",
            caller,
            "--",
            "timeout",
            "5",
            "wget",
            "-q",
            "-O",
            "-",
            "http://named/",
        ])?;
        ensure!(short.contains("pod=named-"), "{short}");
        let api = ask("kubernetes.default.svc.cluster.local")?;
        ensure!(api.contains("10.189.0.1"), "{api}");
        let reverse = ask(&vip)?;
        ensure!(reverse.contains(&format!("named.{namespace}.svc.cluster.local")), "{reverse}");
        let absent = kubectl.refused(&[
            "-n",
            namespace,
            "exec",
            caller,
            "--",
            "nslookup",
            &format!("absent.{namespace}.svc.cluster.local"),
        ])?;
        ensure!(absent.contains("NXDOMAIN"), "{absent}");
    }
    Ok(())
}

pub fn no_rules_are_ours(cluster: &Cluster, _: &str) -> Result<()> {
    for index in [1, 2] {
        let rules = output(cluster.in_node(index, "nft").args(["list", "ruleset"]))?;
        ensure!(rules.trim().is_empty(), "node {index}:\n{rules}");
        for program in ["iptables-save", "ip6tables-save"] {
            let rules = output(&mut cluster.in_node(index, program))?;
            let ours: Vec<&str> = rules.lines().filter(|line| line.starts_with("-A")).collect();
            ensure!(ours.is_empty(), "node {index}, {program}:\n{rules}");
        }
    }
    let rules = output(Command::new("nft").args(["list", "ruleset"])).context("the root namespace")?;
    ensure!(!rules.contains("gannet"), "{rules}");
    Ok(())
}
