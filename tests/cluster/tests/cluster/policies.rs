//! NetworkPolicies as users apply them, over both nodes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use cluster_tests::{Cluster, Kubectl, eventually, output};

const WAIT: &str = "--timeout=90s";
/// A connection that is denied hangs; so long counts.
const DENIED_S: &str = "2";
/// Longest time until a policy has taken hold.
const CHANGE: Duration = Duration::from_secs(30);
pub const HELLO: &str = "image: 'gannet.local/hello:1', ports: [{name: http, containerPort: 8080}], readinessProbe: {httpGet: {path: /, port: http}, periodSeconds: 1}";
pub const SLEEP: &str = "image: busybox, imagePullPolicy: IfNotPresent, command: [sleep, '3600']";
const ECHO: &str = "image: busybox, imagePullPolicy: IfNotPresent, command: [nc, -ll, -p, '9000', -e, cat]";

/// A namespace and what the scenarios do there.
pub struct Town<'a> {
    pub kubectl: Kubectl,
    pub cluster: &'a Cluster,
    pub namespace: &'a str,
}

impl Town<'_> {
    fn run(&self, words: &[&str]) -> Result<String> {
        self.kubectl.run(&[&["-n", self.namespace], words].concat())
    }

    fn apply(&self, manifest: &str) -> Result<String> {
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), manifest)?;
        self.run(&["apply", "-f", &file.path().to_string_lossy()])
    }

    pub fn pod(&self, name: &str, node: u8, labels: &str, container: &str) -> Result<()> {
        let node = self.cluster.node(node);
        let spec = format!(
            "{{nodeName: {node}, terminationGracePeriodSeconds: 1, containers: [{{name: main, {container}}}]}}"
        );
        let meta = format!("{{name: {name}, labels: {{{labels}}}}}");
        self.apply(&format!("apiVersion: v1\nkind: Pod\nmetadata: {meta}\nspec: {spec}\n")).map(drop)
    }

    /// Waits until a pod is ready and returns its address.
    pub fn ready(&self, name: &str) -> Result<String> {
        self.run(&["wait", "--for=condition=Ready", &format!("pod/{name}"), WAIT])?;
        self.kubectl.field(&["-n", self.namespace, "get", "pod", name], "/status/podIP")
    }

    pub fn policy(&self, name: &str, spec: &str) -> Result<()> {
        let kind = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy";
        self.apply(&format!("{kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n")).map(drop)
    }

    fn reaches(&self, caller: &str, url: &str) -> bool {
        self.run(&["exec", caller, "--", "timeout", DENIED_S, "wget", "-q", "-O", "-", url]).is_ok()
    }

    /// Waits until exactly these callers reach a URL.
    pub fn settles(&self, what: &str, url: &str, callers: &[(&str, bool)]) -> Result<()> {
        eventually(what, || {
            for (caller, wanted) in callers {
                ensure!(self.reaches(caller, url) == *wanted, "{caller} -> {url} should be {wanted}");
            }
            Ok(())
        })
    }
}

pub fn policies_hold(cluster: &Cluster, namespace: &str) -> Result<()> {
    let town = Town { kubectl: cluster.kubectl(), cluster, namespace };
    for (name, node) in [("server-1", 1), ("server-2", 2)] {
        town.pod(name, node, "app: server", HELLO)?;
    }
    for (name, node, role) in [
        ("friend-1", 1, "friend"),
        ("friend-2", 2, "friend"),
        ("stranger-1", 1, "stranger"),
        ("stranger-2", 2, "stranger"),
    ] {
        town.pod(name, node, &format!("app: caller, role: {role}"), SLEEP)?;
    }
    let servers = [town.ready("server-1")?, town.ready("server-2")?];
    let urls: Vec<String> = servers.iter().map(|ip| format!("http://{ip}:8080/")).collect();
    let callers = ["friend-1", "friend-2", "stranger-1", "stranger-2"];
    let addresses: Vec<String> = callers.iter().map(|name| town.ready(name)).collect::<Result<_>>()?;
    let all = |wanted: bool| callers.map(|name| (name, wanted));
    let friends = callers.map(|name| (name, name.starts_with("friend")));
    for url in &urls {
        town.settles("without a policy all is open", url, &all(true))?;
    }

    town.policy("deny", "{podSelector: {matchLabels: {app: server}}, policyTypes: [Ingress]}")?;
    for url in &urls {
        town.settles("nobody comes in", url, &all(false))?;
    }
    // The node's own still does, so the pods stay ready.
    for (index, url) in [1, 2].into_iter().zip(&urls) {
        output(cluster.in_node(index, "busybox").args(["timeout", "5", "busybox", "wget", "-q", "-O", "-", url]))?;
    }

    town.policy(
        "friends",
        "{podSelector: {matchLabels: {app: server}}, ingress: [{from: [{podSelector: {matchExpressions: [{key: role, operator: In, values: [friend]}]}}], ports: [{port: http}]}]}",
    )?;
    for url in &urls {
        town.settles("friends come in, by a port's name", url, &friends)?;
    }
    town.run(&["label", "pod", "stranger-1", "role=friend", "--overwrite"])?;
    town.settles("a label makes a friend", &urls[1], &[("stranger-1", true), ("stranger-2", false)])?;
    town.run(&["label", "pod", "stranger-1", "role=stranger", "--overwrite"])?;
    town.settles("and unmakes one", &urls[1], &[("stranger-1", false), ("friend-2", true)])?;
    town.run(&["delete", "networkpolicy", "friends"])?;

    let block = format!(
        "{{podSelector: {{matchLabels: {{app: server}}}}, ingress: [{{from: [{{ipBlock: {{cidr: 0.0.0.0/0, except: [{}/32]}}}}], ports: [{{port: 8000, endPort: 8100}}]}}]}}",
        addresses[0]
    );
    town.policy("block", &block)?;
    for url in &urls {
        town.settles("all but one address", url, &callers.map(|name| (name, name != "friend-1")))?;
    }
    town.policy("block", &block.replace("endPort: 8100", "endPort: 8079"))?;
    town.settles("the range ends before the port", &urls[0], &all(false))?;
    town.run(&["delete", "networkpolicy", "block", "deny"])?;
    town.settles("open again", &urls[0], &all(true))?;

    // Egress: names, and one server.
    town.run(&["expose", "pod", "server-1", "--name=one", "--port=80", "--target-port=8080"])?;
    town.run(&["label", "pod", "server-1", "number=one"])?;
    town.run(&["patch", "service", "one", "-p", r#"{"spec":{"selector":{"number":"one","app":null}}}"#])?;
    town.policy(
        "out",
        "{podSelector: {matchLabels: {app: caller}}, policyTypes: [Egress], egress: [
           {to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}, podSelector: {matchLabels: {k8s-app: kube-dns}}}], ports: [{port: 53, protocol: UDP}]},
           {to: [{podSelector: {matchLabels: {number: one}}}], ports: [{port: http}]}]}",
    )?;
    town.settles("the other server is out of reach", &urls[1], &all(false))?;
    town.settles("the named Service is not", "http://one/", &all(true))?;
    town.settles("nor is its pod", &urls[0], &all(true))?;
    town.policy("out", "{podSelector: {matchLabels: {app: caller}}, policyTypes: [Egress]}")?;
    town.settles("nothing goes out", &urls[0], &all(false))
}

pub fn policies_cut_connections(cluster: &Cluster, namespace: &str) -> Result<()> {
    let town = Town { kubectl: cluster.kubectl(), cluster, namespace };
    town.pod("echo", 1, "app: echo", ECHO)?;
    let to = town.ready("echo")?;
    let mut talks = Vec::new();
    for (name, node) in [("kept", 1), ("cut", 2)] {
        town.pod(name, node, &format!("app: {name}"), SLEEP)?;
        town.ready(name)?;
        let script = format!("while true; do date +%s; sleep 0.2; done | nc {to} 9000");
        let mut talk = town.kubectl.background(&["-n", namespace, "exec", name, "--", "sh", "-c", &script])?;
        talk.line(CHANGE, |_| true).with_context(|| format!("{name} is answered"))?;
        talks.push(talk);
    }
    town.policy(
        "only-kept",
        "{podSelector: {matchLabels: {app: echo}}, ingress: [{from: [{podSelector: {matchLabels: {app: kept}}}]}]}",
    )?;
    let deadline = Instant::now() + CHANGE;
    while talks[1].line(Duration::from_secs(3), |_| true).is_ok() {
        ensure!(Instant::now() < deadline, "the connection that the policy denies is still answered");
    }
    // What came while the other one was waited for is passed over.
    while talks[0].line(Duration::from_millis(1), |_| true).is_ok() {}
    talks[0].line(Duration::from_secs(5), |_| true).context("the connection that the policy allows goes on")?;
    Ok(())
}

/// A pod that a policy denies is knocked at while it starts, and never answers: not even that nobody listens yet.
pub fn policies_hold_from_the_start(cluster: &Cluster, namespace: &str) -> Result<()> {
    let town = Town { kubectl: cluster.kubectl(), cluster, namespace };
    town.policy("deny", "{podSelector: {matchLabels: {app: late}}}")?;
    town.pod("knocker", 1, "app: knocker", SLEEP)?;
    town.ready("knocker")?;
    town.pod("before", 1, "app: open", HELLO)?;
    let before: Ipv4Addr = town.ready("before")?.parse()?;
    ensure!(town.reaches("knocker", &format!("http://{before}:8080/")), "the knocker reaches what is open");
    // Addresses are handed out in a circle.
    let next: Vec<Ipv4Addr> = (1..=8).map(|n| Ipv4Addr::from(u32::from(before) + n)).collect();
    let targets = next.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let script = format!(
        "for t in {targets}; do (while true; do said=$(timeout 1 wget -q -O - http://$t:8080/ 2>&1); case \"$said\" in *refused*|*pod=*) echo HIT $t $said;; esac; done) & done; echo KNOCKING; wait"
    );
    let mut knocks = town.kubectl.background(&["-n", namespace, "exec", "knocker", "--", "sh", "-c", &script])?;
    knocks.line(CHANGE, |line| line == "KNOCKING")?;
    let mut met = 0;
    for name in ["late-1", "late-2", "late-3"] {
        town.pod(name, 1, "app: late", HELLO)?;
        let ip: Ipv4Addr = town.ready(name)?.parse()?;
        met += usize::from(next.contains(&ip));
    }
    ensure!(met > 0, "no late pod got one of the addresses {targets}");
    if let Ok(hit) = knocks.line(Duration::from_secs(2), |line| line.starts_with("HIT")) {
        bail!("a connection got through: {hit}");
    }
    // The knocker does knock: once the policy is gone it gets in.
    town.run(&["delete", "networkpolicy", "deny"])?;
    knocks.line(CHANGE, |line| line.starts_with("HIT")).context("the knocker finds open doors")?;
    Ok(())
}

/// Datagrams a turn of the hammer and the pause between turns: ten thousand a second.
const BURST: usize = 10;
const PAUSE: Duration = Duration::from_millis(1);
/// A port where nobody listens.
const DISCARD: u16 = 9;

/// Sends datagrams from this machine, which is outside, to addresses that nobody may have yet; until it is dropped.
struct Hammer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Hammer {
    fn start(targets: Vec<IpAddr>) -> Result<Hammer> {
        let (v4, v6) = (UdpSocket::bind("0.0.0.0:0")?, UdpSocket::bind("[::]:0")?);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            for turn in targets.chunks(BURST).cycle() {
                for target in turn.iter().cycle().take(BURST) {
                    // An error is about an earlier one, to whom nobody was.
                    let _ = if target.is_ipv4() { &v4 } else { &v6 }.send_to(b"?", (*target, DISCARD));
                }
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                std::thread::park_timeout(PAUSE);
            }
        });
        Ok(Hammer { stop, thread: Some(thread) })
    }
}

impl Drop for Hammer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It only sends; what it could die of is no part of the test.
            let _ = thread.join();
        }
    }
}

/// Datagrams that came to a pod with a shell, whether anybody listened or not.
fn datagrams(town: &Town, pod: &str) -> Result<u64> {
    let text = town.run(&["exec", pod, "--", "cat", "/proc/net/snmp", "/proc/net/snmp6"])?;
    let mut rows = text.lines().filter_map(|line| line.strip_prefix("Udp: "));
    let (names, values) = (rows.next().context("names")?, rows.next().context("values")?);
    let v4 = names.split(' ').zip(values.split(' ')).filter(|(name, _)| matches!(*name, "InDatagrams" | "NoPorts"));
    let pairs = text.lines().filter_map(|line| line.split_once(char::is_whitespace));
    let v6 = pairs.filter(|(name, _)| matches!(*name, "Udp6InDatagrams" | "Udp6NoPorts"));
    v4.chain(v6).map(|(_, value)| Ok(value.trim().parse::<u64>()?)).sum()
}

/// Of ten thousand datagrams a second to the addresses of pods that are about to start, none comes in before or under their policy.
pub fn no_packet_comes_before_the_policy(cluster: &Cluster, namespace: &str) -> Result<()> {
    let town = Town { kubectl: cluster.kubectl(), cluster, namespace };
    town.policy("deny", "{podSelector: {matchLabels: {app: late}}}")?;
    town.pod("before", 1, "app: open", SLEEP)?;
    town.ready("before")?;
    let addresses = |pod: &str| -> Result<Vec<IpAddr>> {
        let pod = town.kubectl.json(&["-n", namespace, "get", "pod", pod])?;
        let listed = pod["status"]["podIPs"].as_array().into_iter().flatten();
        listed.map(|one| Ok(one["ip"].as_str().unwrap_or_default().parse()?)).collect()
    };
    let after = |ip: &IpAddr, n: u32| match ip {
        IpAddr::V4(ip) => IpAddr::V4(Ipv4Addr::from(u32::from(*ip) + n)),
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from(u128::from(*ip) + u128::from(n))),
    };
    // Addresses are handed out in a circle.
    let targets: Vec<IpAddr> = addresses("before")?.iter().flat_map(|ip| (1..=5).map(move |n| after(ip, n))).collect();
    let _hammer = Hammer::start(targets.clone())?;
    let mut met = Vec::new();
    for name in ["late-1", "late-2", "late-3"] {
        town.pod(name, 1, "app: late", SLEEP)?;
        town.ready(name)?;
        ensure!(datagrams(&town, name)? == 0, "{name} at {:?} was reached", addresses(name)?);
        if addresses(name)?.iter().all(|ip| targets.contains(ip)) {
            met.push(name);
        }
    }
    ensure!(!met.is_empty(), "no late pod got the addresses {targets:?}");
    for name in &met {
        ensure!(datagrams(&town, name)? == 0, "{name} was reached later");
    }
    // The hammer does hit: once the policy is gone it comes in.
    town.run(&["delete", "networkpolicy", "deny"])?;
    for name in met {
        eventually("the hammer comes in", || {
            ensure!(datagrams(&town, name)? > 0, "{name} got nothing");
            Ok(())
        })?;
    }
    Ok(())
}
