//! Both IP families at once: addresses, Services, names, node ports, host ports, policies, and a daemon that comes back.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use cluster_tests::{Cluster, Kubectl, eventually, output};
use serde_json::Value;

const WAIT: &str = "--timeout=90s";
const HELLO: &str = "image: 'gannet.local/hello:1', readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}, env: [{name: NODE_NAME, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}]";
const SLEEP: &str = "image: busybox, imagePullPolicy: IfNotPresent, command: [sleep, '3600'], env: [{name: IPS, valueFrom: {fieldRef: {fieldPath: status.podIPs}}}]";
/// A port of the nodes that nothing else has.
const HOST_PORT: u16 = 18_080;

struct Town<'a> {
    kubectl: Kubectl,
    cluster: &'a Cluster,
    namespace: &'a str,
}

impl Town<'_> {
    fn run(&self, words: &[&str]) -> Result<String> {
        self.kubectl.run(&[&["-n", self.namespace], words].concat())
    }

    fn get(&self, kind: &str, name: &str) -> Result<Value> {
        self.kubectl.json(&["-n", self.namespace, "get", kind, name])
    }

    fn apply(&self, manifest: &str) -> Result<()> {
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), manifest)?;
        self.run(&["apply", "-f", &file.path().to_string_lossy()]).map(drop)
    }

    fn pod(&self, name: &str, node: u8, container: &str) -> Result<()> {
        let app = name.split('-').next().unwrap_or(name);
        self.apply(&format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{app: {app}}}}}\nspec: {{nodeName: {}, terminationGracePeriodSeconds: 1, containers: [{{name: main, {container}}}]}}\n",
            self.cluster.node(node)
        ))
    }

    /// Waits until a pod is ready and returns its addresses.
    fn ready(&self, name: &str) -> Result<Vec<String>> {
        self.run(&["wait", "--for=condition=Ready", &format!("pod/{name}"), WAIT])?;
        let pod = self.get("pod", name)?;
        let ips = texts(&pod["status"]["podIPs"], "/ip");
        ensure!(ips.len() == 2 && !ips[0].contains(':') && ips[1].contains(':'), "podIPs of {name}: {ips:?}");
        ensure!(pod["status"]["podIP"] == ips[0].as_str(), "podIP of {name}");
        Ok(ips)
    }

    fn fetch(&self, caller: &str, url: &str) -> Result<String> {
        self.run(&["exec", caller, "--", "timeout", "3", "wget", "-q", "-O", "-", url])
    }
}

/// The texts at a pointer of each element.
fn texts(list: &Value, pointer: &str) -> Vec<String> {
    let elements = list.as_array().into_iter().flatten();
    elements.filter_map(|one| one.pointer(pointer)?.as_str().map(str::to_owned)).collect()
}

fn url(ip: &str, port: u16) -> String {
    if ip.contains(':') { format!("http://[{ip}]:{port}/") } else { format!("http://{ip}:{port}/") }
}

/// From this machine, which is outside.
fn from_here(url: &str) -> Result<String> {
    output(Command::new("busybox").args(["timeout", "3", "busybox", "wget", "-q", "-O", "-", url]))
}

fn service(name: &str, rest: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{selector: {{app: web}}, ports: [{{name: http, port: 80, targetPort: 8080}}], {rest}}}\n"
    )
}

pub fn two_families_serve(cluster: &Cluster, namespace: &str) -> Result<()> {
    let town = Town { kubectl: cluster.kubectl(), cluster, namespace };
    for node in [1, 2] {
        let ports = if node == 1 {
            format!(", ports: [{{containerPort: 8080, hostPort: {HOST_PORT}}}]")
        } else {
            String::new()
        };
        town.pod(&format!("web-{node}"), node, &format!("{HELLO}{ports}"))?;
        town.pod(&format!("caller-{node}"), node, SLEEP)?;
    }
    let webs = [town.ready("web-1")?, town.ready("web-2")?];
    let callers = [town.ready("caller-1")?, town.ready("caller-2")?];
    let nodes = [1, 2].map(|index| town.kubectl.json(&["get", "node", &cluster.node(index)]));
    let mut node_ips = Vec::new();
    for node in nodes {
        let node = node?;
        ensure!(texts(&node["spec"]["podCIDRs"], "").len() == 2, "{}", node["spec"]);
        let internal: Vec<Value> = node["status"]["addresses"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|a| a["type"] == "InternalIP")
            .cloned()
            .collect();
        node_ips.push(texts(&Value::from(internal), "/address"));
    }
    ensure!(node_ips.iter().all(|ips| ips.len() == 2), "{node_ips:?}");
    let environment = town.run(&["exec", "caller-1", "--", "env"])?;
    ensure!(environment.contains(&format!("IPS={}", callers[0].join(","))), "{environment}");

    // Pod to pod keeps addresses, and nodes reach pods.
    for (index, own) in callers.iter().enumerate() {
        for (pod, ips) in webs.iter().enumerate() {
            for (family, ip) in ips.iter().enumerate() {
                let answer = town.fetch(&format!("caller-{}", index + 1), &url(ip, 8080))?;
                let wanted = format!("pod=web-{} ", pod + 1);
                ensure!(answer.contains(&wanted) && answer.contains(&format!("client={}", own[family])), "{answer}");
                let node = index as u8 + 1;
                let answer = output(cluster.in_node(node, "busybox").args([
                    "timeout",
                    "3",
                    "busybox",
                    "wget",
                    "-q",
                    "-O",
                    "-",
                    &url(ip, 8080),
                ]))?;
                ensure!(answer.contains(&wanted), "node {node} -> {ip}: {answer}");
            }
        }
    }

    town.apply(&service("both", "type: NodePort, ipFamilyPolicy: RequireDualStack"))?;
    town.apply(&service("six", "ipFamilies: [IPv6]"))?;
    let both = town.get("service", "both")?;
    let vips = texts(&both["spec"]["clusterIPs"], "");
    ensure!(vips.len() == 2 && both["spec"]["ipFamilies"] == serde_json::json!(["IPv4", "IPv6"]), "{}", both["spec"]);
    let six = town.get("service", "six")?["spec"]["clusterIP"].as_str().unwrap_or_default().to_owned();
    ensure!(six.contains(':'), "an IPv6 Service at {six}");
    eventually("EndpointSlices of both families", || {
        let slices =
            town.kubectl.json(&["-n", namespace, "get", "endpointslices", "-l", "kubernetes.io/service-name=both"])?;
        let mut types = texts(&slices["items"], "/addressType");
        types.sort();
        ensure!(types == ["IPv4", "IPv6"], "{types:?}");
        Ok(())
    })?;
    let node_port = both["spec"]["ports"][0]["nodePort"].as_u64().and_then(|port| u16::try_from(port).ok());
    let node_port = node_port.context("a node port")?;
    for caller in ["caller-1", "caller-2"] {
        for host in [vips[0].as_str(), &vips[1], &six] {
            eventually("the Service answers", || {
                let answer = town.fetch(caller, &url(host, 80))?;
                ensure!(answer.contains("pod=web-"), "{caller} -> {host}: {answer}");
                Ok(())
            })?;
        }
        let name = format!("both.{namespace}.svc.cluster.local");
        let found = town.run(&["exec", caller, "--", "nslookup", "-type=aaaa", &name])?;
        ensure!(found.contains(&vips[1]) && !found.contains(&vips[0]), "{found}");
        // An IPv6 name server answers as well.
        let servers = town.run(&["exec", caller, "--", "cat", "/etc/resolv.conf"])?;
        let server = servers.lines().filter_map(|line| line.strip_prefix("nameserver ")).find(|ip| ip.contains(':'));
        let found =
            town.run(&["exec", caller, "--", "nslookup", "-type=a", &name, server.context("an IPv6 server")?])?;
        ensure!(found.contains(&vips[0]), "{found}");
        ensure!(town.fetch(caller, &format!("http://six.{namespace}/"))?.contains("pod=web-"), "by name");
    }
    for ips in &node_ips {
        for ip in ips {
            let answer = from_here(&url(ip, node_port))?;
            ensure!(answer.contains("pod=web-"), "{ip}: {answer}");
        }
    }
    for ip in &node_ips[0] {
        let answer = from_here(&url(ip, HOST_PORT))?;
        ensure!(answer.contains("pod=web-1 "), "host port on {ip}: {answer}");
    }

    // A policy is about both families.
    let kind = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: only}\nspec: {podSelector: {matchLabels: {app: web}}, ingress:";
    for (ingress, reached) in [("[]", false), ("[{from: [{podSelector: {matchLabels: {app: caller}}}]}]", true)] {
        town.apply(&format!("{kind} {ingress}}}\n"))?;
        for (pod, ips) in webs.iter().enumerate() {
            for ip in ips {
                eventually("the policy holds", || {
                    let answer = town.fetch("caller-2", &url(ip, 8080));
                    ensure!(answer.is_ok() == reached, "web-{} at {ip} reached: {}", pod + 1, answer.is_ok());
                    Ok(())
                })?;
            }
        }
    }
    ensure!(from_here(&url(&webs[0][1], 8080)).is_err(), "a stranger came in by IPv6");
    town.run(&["delete", "networkpolicy", "only"])?;

    // The daemon dies; what stands goes on, and what comes gets addresses of both families that nobody has.
    let pid = cluster.pid(1, "node")?;
    output(Command::new("kill").args(["-9", &pid.to_string()]))?;
    town.fetch("caller-2", &url(&webs[0][1], 8080))?;
    eventually("another daemon is there", || {
        ensure!(cluster.pid(1, "node")? != pid, "still {pid}");
        Ok(())
    })?;
    town.pod("late-1", 1, HELLO)?;
    let late = town.ready("late-1")?;
    ensure!(!webs.iter().chain(&callers).flatten().any(|ip| late.contains(ip)), "late has {late:?}");
    for ip in late.iter().chain(&webs[0]) {
        let answer = town.fetch("caller-2", &url(ip, 8080))?;
        ensure!(answer.contains("-1 "), "{ip}: {answer}");
    }
    Ok(())
}
