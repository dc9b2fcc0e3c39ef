//! kill -9 of each process, with connections held open across it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use cluster_tests::{Cluster, Kubectl, eventually, output};

/// Longest wait of a kubectl that waits itself.
const WAIT: &str = "--timeout=90s";
/// Longest pause of a connection that lives.
const LIMIT: Duration = Duration::from_secs(5);

/// Echo servers on both nodes behind one Service, and its VIP.
fn echo(cluster: &Cluster, kubectl: &Kubectl, namespace: &str) -> Result<String> {
    let mut manifest = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: echo, namespace: {namespace}}}\nspec: {{selector: {{app: echo}}, ports: [{{name: echo, port: 7000}}, {{name: http, port: 80, targetPort: 8080}}]}}\n"
    );
    for index in [1, 2] {
        manifest.push_str(&format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: echo-{index}, namespace: {namespace}, labels: {{app: echo}}}}\nspec: {{nodeName: {}, terminationGracePeriodSeconds: 1, containers: [{{name: main, image: 'gannet.local/hello:1'}}]}}\n",
            cluster.node(index)
        ));
    }
    kubectl.apply(&manifest)?;
    for index in [1, 2] {
        kubectl.run(&["-n", namespace, "wait", "--for=condition=Ready", &format!("pod/echo-{index}"), WAIT])?;
    }
    let vip = kubectl.field(&["-n", namespace, "get", "service", "echo"], "/spec/clusterIP")?;
    eventually("the Service answers", || Held::open(&vip).map(drop))?;
    Ok(vip)
}

/// A connection that must live.
struct Held {
    stream: TcpStream,
    sent: u64,
}

impl Held {
    fn open(vip: &str) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&format!("{vip}:7000").parse()?, LIMIT)?;
        stream.set_read_timeout(Some(LIMIT))?;
        let mut held = Self { stream, sent: 0 };
        held.exchange()?;
        Ok(held)
    }

    /// A line there and back.
    fn exchange(&mut self) -> Result<()> {
        self.sent += 1;
        let line = format!("line {}\n", self.sent);
        self.stream.write_all(line.as_bytes())?;
        let mut back = vec![0; line.len()];
        self.stream.read_exact(&mut back)?;
        ensure!(back == line.as_bytes(), "{back:?} came back for {line:?}");
        Ok(())
    }
}

/// Several connections, so that some go to each node.
fn hold(vip: &str) -> Result<Vec<Held>> {
    (0..8).map(|_| Held::open(vip)).collect()
}

fn exchange_all(held: &mut [Held], when: &str) -> Result<()> {
    for (number, connection) in held.iter_mut().enumerate() {
        connection.exchange().with_context(|| format!("connection {number} broke {when}"))?;
    }
    Ok(())
}

fn kill(pid: u32) -> Result<()> {
    output(Command::new("kill").args(["-9", &pid.to_string()])).map(drop)
}

/// Goes on with the connections until `done` succeeds.
fn while_waiting(held: &mut [Held], what: &str, mut done: impl FnMut() -> Result<()>) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(90);
    loop {
        exchange_all(held, what)?;
        match done() {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() > deadline => return Err(error).context(what.to_owned()),
            Err(_) => {}
        }
    }
}

fn restarted(cluster: &Cluster, index: u8, role: &str, old: u32) -> Result<()> {
    let new = cluster.pid(index, role)?;
    ensure!(new != old, "`gannet {role}` is still process {old}");
    Ok(())
}

fn nodes_ready(kubectl: &Kubectl) -> Result<()> {
    let nodes = kubectl.run(&["get", "nodes", "--no-headers"])?;
    ensure!(nodes.lines().count() == 2 && nodes.lines().all(|line| line.contains(" Ready ")), "{nodes}");
    Ok(())
}

pub fn node_daemon_is_killed(cluster: &Cluster, namespace: &str) -> Result<()> {
    let kubectl = cluster.kubectl();
    let vip = echo(cluster, &kubectl, namespace)?;
    let mut held = hold(&vip)?;
    for index in [1, 2] {
        let old = cluster.pid(index, "node")?;
        kill(old)?;
        while_waiting(&mut held, "after the node daemon was killed", || restarted(cluster, index, "node", old))?;
        while_waiting(&mut held, "while the node daemon came back", || nodes_ready(&kubectl))?;
        let mut fresh = hold(&vip)?;
        exchange_all(&mut fresh, "after the node daemon came back")?;
    }
    for index in [1, 2] {
        let pod = format!("echo-{index}");
        let restarts =
            kubectl.field(&["-n", namespace, "get", "pod", &pod], "/status/containerStatuses/0/restartCount")?;
        ensure!(restarts == "0", "{pod} was restarted {restarts} times");
    }
    // The daemon that came back is whole: it runs a new pod.
    kubectl.run(&["-n", namespace, "run", "later", "--image=gannet.local/hello:1"])?;
    kubectl.run(&["-n", namespace, "wait", "--for=condition=Ready", "pod/later", WAIT]).map(drop)
}

/// Names and identities of everything; what changes by itself is left out.
fn objects(kubectl: &Kubectl) -> Result<Vec<String>> {
    let kinds = "namespaces,nodes,pods,services,deployments,replicasets,configmaps,secrets,serviceaccounts";
    let listed = kubectl.json(&["get", kinds, "-A"])?;
    let mut lines: Vec<String> = Vec::new();
    for item in listed["items"].as_array().context("no items")? {
        if item["metadata"]["deletionTimestamp"].is_null() {
            let part = |pointer: &str| item.pointer(pointer).map(ToString::to_string).unwrap_or_default();
            lines.push(
                [part("/kind"), part("/metadata/namespace"), part("/metadata/name"), part("/metadata/uid")].join(" "),
            );
        }
    }
    lines.sort();
    Ok(lines)
}

pub fn control_plane_is_killed(cluster: &Cluster, namespace: &str) -> Result<()> {
    let kubectl = cluster.kubectl();
    let vip = echo(cluster, &kubectl, namespace)?;
    kubectl.run(&["-n", namespace, "create", "configmap", "kept", "--from-literal=a=b"])?;
    // Namespaces of earlier scenarios may still be going away: what is gone later must not count as lost.
    let gone = |line: &String, now: &[String]| !now.contains(line) && line.contains(namespace);
    let before = objects(&kubectl)?;
    let mut held = hold(&vip)?;
    let old = cluster.pid(1, "control")?;
    kill(old)?;
    while_waiting(&mut held, "after the control plane was killed", || restarted(cluster, 1, "control", old))?;
    let mut fresh = hold(&vip).context("new connections while the control plane comes back")?;
    while_waiting(&mut held, "while the control plane came back", || nodes_ready(&kubectl))?;
    exchange_all(&mut fresh, "after the control plane came back")?;
    let after = objects(&kubectl)?;
    let lost: Vec<&String> = before.iter().filter(|line| gone(line, &after)).collect();
    if !lost.is_empty() {
        bail!("lost: {lost:?}");
    }
    // It decides and programs as before.
    kubectl.run(&["-n", namespace, "create", "deployment", "later", "--image=gannet.local/hello:1"])?;
    kubectl.run(&["-n", namespace, "wait", "--for=condition=Available", "deployment/later", WAIT]).map(drop)
}

pub fn supervisor_is_killed(cluster: &Cluster, namespace: &str) -> Result<()> {
    let kubectl = cluster.kubectl();
    let vip = echo(cluster, &kubectl, namespace)?;
    let mut held = hold(&vip)?;
    let old = cluster.pid(2, "up")?;
    kill(old)?;
    while_waiting(&mut held, "after the supervisor was killed", || {
        let again = output(cluster.gannet(&["dev", "create", "--nodes", "2"]).args(Cluster::RANGE_ARGUMENTS))?;
        ensure!(again.contains("started"), "{again}");
        Ok(())
    })?;
    while_waiting(&mut held, "while the supervisor came back", || {
        restarted(cluster, 2, "up", old)?;
        nodes_ready(&kubectl)
    })
}
