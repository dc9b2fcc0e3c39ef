//! A cluster of IPv6 alone, three nodes, whose backends answer clients directly: what users do first there.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use cluster_tests::{Cluster, Kubectl, eventually, output};
use serde_json::Value;

const ARGUMENTS: [&str; 10] = [
    "--pod-cidr",
    "fd10:198::/48",
    "--service-cidr",
    "fd10:199::/112",
    "--underlay-cidr",
    "fd10:197::/64",
    "--lb-mode",
    "dsr",
    "--xdp",
    "generic",
];
/// This machine on the underlay.
const HERE: &str = "fd10:197::1";
const NODES: u8 = 3;
const WAIT: &str = "--timeout=90s";
const LIMIT: Duration = Duration::from_secs(30);

fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(|one| Some(one.as_str()?.to_owned())).collect()
}

fn fetch(kubectl: &Kubectl, caller: &str, url: &str) -> Result<String> {
    kubectl.run(&["exec", caller, "--", "timeout", "3", "wget", "-q", "-O", "-", url])
}

fn pods(kubectl: &Kubectl, cluster: &Cluster) -> Result<()> {
    for node in 1..=NODES {
        let name = cluster.node(node);
        kubectl.apply(&format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: web-{node}, labels: {{app: web}}}}\nspec: {{nodeName: {name}, terminationGracePeriodSeconds: 1, containers: [{{name: main, image: 'gannet.local/hello:1', readinessProbe: {{httpGet: {{path: /, port: 8080}}, periodSeconds: 1}}}}]}}\n---\napiVersion: v1\nkind: Pod\nmetadata: {{name: caller-{node}}}\nspec: {{nodeName: {name}, terminationGracePeriodSeconds: 1, containers: [{{name: main, image: busybox, imagePullPolicy: IfNotPresent, command: [sh, -c, 'echo up; sleep 3600']}}]}}\n"
        ))?;
    }
    for pod in (1..=NODES).flat_map(|node| [format!("web-{node}"), format!("caller-{node}")]) {
        kubectl.run(&["wait", "--for=condition=Ready", &format!("pod/{pod}"), WAIT])?;
    }
    Ok(())
}

fn serve(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    pods(&kubectl, cluster)?;
    let mut node_ips = Vec::new();
    for node in 1..=NODES {
        let node = kubectl.json(&["get", "node", &cluster.node(node)])?;
        let ranges = texts(&node["spec"]["podCIDRs"]);
        ensure!(ranges.len() == 1 && ranges[0].contains(':'), "{}", node["spec"]);
        node_ips.push(kubectl_address(&node).context("an InternalIP")?);
    }
    // Pods to pods, with their own addresses.
    for node in 1..=NODES {
        let own = kubectl.json(&["get", "pod", &format!("caller-{node}")])?;
        let ips = own["status"]["podIPs"].as_array().map_or(0, Vec::len);
        let own = own["status"]["podIP"].as_str().unwrap_or_default().to_owned();
        ensure!(ips == 1 && own.contains(':'), "caller-{node} has {ips} addresses, {own}");
        for other in 1..=NODES {
            let web = kubectl.field(&["get", "pod", &format!("web-{other}")], "/status/podIP")?;
            let answer = fetch(&kubectl, &format!("caller-{node}"), &format!("http://[{web}]:8080/"))?;
            ensure!(answer.contains(&format!("pod=web-{other} ")) && answer.contains(&own), "{own} asked: {answer}");
        }
    }
    // Services: by address, by name, and from outside by each node.
    kubectl.run(&[
        "expose",
        "pod/web-1",
        "--name=web",
        "--port=80",
        "--target-port=8080",
        "--type=NodePort",
        "--selector=app=web",
    ])?;
    let web = kubectl.json(&["get", "service", "web"])?;
    let vip = web["spec"]["clusterIP"].as_str().unwrap_or_default().to_owned();
    ensure!(vip.contains(':') && texts(&web["spec"]["ipFamilies"]) == ["IPv6"], "{}", web["spec"]);
    for node in 1..=NODES {
        let caller = format!("caller-{node}");
        for host in [format!("[{vip}]"), "web".to_owned(), "web.default.svc.cluster.local".to_owned()] {
            eventually("the Service answers", || {
                let answer = fetch(&kubectl, &caller, &format!("http://{host}/"))?;
                ensure!(answer.contains("pod=web-"), "{caller} asked {host}: {answer}");
                Ok(())
            })?;
        }
        let found = kubectl.run(&["exec", &caller, "--", "nslookup", "-type=aaaa", "web.default.svc.cluster.local"])?;
        ensure!(found.contains(&vip), "{found}");
    }
    let port = web["spec"]["ports"][0]["nodePort"].as_u64().context("a node port")?;
    for ip in &node_ips {
        for turn in 0..12 {
            let url = format!("http://[{ip}]:{port}/");
            let mut wget = Command::new("busybox");
            let answer = output(wget.args(["timeout", "3", "busybox", "wget", "-q", "-O", "-", &url]))
                .with_context(|| format!("turn {turn}"))?;
            // Wherever the backend is, it sees who asks.
            ensure!(answer.contains("pod=web-") && answer.contains(&format!("client={HERE}")), "{url}: {answer}");
        }
    }
    // Streams through the API and the node's own server.
    let said = kubectl.run(&["logs", "caller-2"])?;
    ensure!(said.trim() == "up", "{said:?}");
    ensure!(kubectl.run(&["exec", "caller-3", "--", "echo", "there"])?.trim() == "there", "exec");
    let mut forward = kubectl.background(&["port-forward", "pod/web-2", ":8080"])?;
    let line = forward.line(LIMIT, |line| line.contains("127.0.0.1:"))?;
    let local = line.split("127.0.0.1:").nth(1).and_then(|rest| rest.split(' ').next()).context("no port")?;
    let mut stream = TcpStream::connect(("127.0.0.1", local.parse()?))?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: web\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.contains("pod=web-2"), "{answer:?}");
    // Policies.
    kubectl.apply(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: nobody}\nspec: {podSelector: {matchLabels: {app: web}}, ingress: []}\n",
    )?;
    eventually("the policy holds", || {
        ensure!(fetch(&kubectl, "caller-1", &format!("http://[{vip}]/")).is_err(), "it came in");
        Ok(())
    })
}

fn kubectl_address(node: &Value) -> Option<String> {
    let addresses = node["status"]["addresses"].as_array()?;
    let internal = addresses.iter().find(|address| address["type"] == "InternalIP")?;
    internal["address"].as_str().map(str::to_owned)
}

#[test]
fn a_cluster_of_ipv6_alone_serves() {
    let mut cluster = Cluster::create_as(NODES, &ARGUMENTS).expect("the cluster starts");
    if let Err(error) = serve(&cluster) {
        panic!("{error:#}\n{}", cluster.logs());
    }
    cluster.delete().expect("the cluster goes");
}
