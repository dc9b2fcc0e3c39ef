//! The same questions to rule sets of the same size, shaped like those that kube-proxy writes: a client's and a server's namespace with a
//! node's in between, whose packet filter translates.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use kernel::netlink::{Netlink, PeerPlace, Route, Veth};
use kernel::{netns, sysctl};
use serde::Serialize;

use nix::sys::socket::SockType;

use super::client::{Maker, ask, connect, reset};
use super::server::Server;
use super::{PORT, micros};

/// Services in the rules.
const SIZES: [u32; 3] = [10, 1_000, 10_000];
/// Connections and datagrams a figure.
const CALLS: usize = 1_000;
const CLIENT: &str = "10.245.1.2";
const SERVER: &str = "10.245.2.2";

/// What translates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// `iptables-legacy`: a chain of one rule a port, walked from the start.
    Iptables,
    /// `nft`: a verdict map by address, protocol and port.
    Nftables,
}

/// The figures of one kind and size.
#[derive(Clone, Debug, Serialize)]
pub struct Rules {
    pub kind: Kind,
    pub services: u32,
    pub load_ms: f64,
    /// One changed endpoint.
    pub change_ms: f64,
    /// The pod's own address, without and with the rules, and the Service's: TCP connect and a new UDP flow.
    pub bare_connect_us: f64,
    pub bare_udp_us: f64,
    pub pod_connect_us: f64,
    pub pod_udp_us: f64,
    pub service_connect_us: f64,
    pub service_udp_us: f64,
}

/// Measures every kind and size.
pub(super) fn run() -> Result<Vec<Rules>> {
    let mut all = Vec::new();
    for kind in [Kind::Iptables, Kind::Nftables] {
        for services in SIZES {
            // Other namespaces for each: what is left of a large set costs its successor.
            all.push(Hop::new()?.measure(kind, services)?);
        }
    }
    Ok(all)
}

/// As a table.
pub(super) fn table(all: &[Rules]) -> String {
    let mut text = "\n| rule set | Services | load ms | one endpoint ms | pod connect, UDP / without rules | Service connect, UDP / \
                    without rules |\n|---|---|---|---|---|---|\n"
        .to_owned();
    for r in all {
        let kind = match r.kind {
            Kind::Iptables => "iptables",
            Kind::Nftables => "nftables",
        };
        text += &format!(
            "| {kind} | {} | {:.0} | {:.1} | {:.2}, {:.2} | {:.2}, {:.2} |\n",
            r.services,
            r.load_ms,
            r.change_ms,
            r.pod_connect_us / r.bare_connect_us,
            r.pod_udp_us / r.bare_udp_us,
            r.service_connect_us / r.bare_connect_us,
            r.service_udp_us / r.bare_udp_us
        );
    }
    text
}

/// Client, node and server, gone when dropped.
struct Hop {
    names: Vec<String>,
    client: PathBuf,
    node: PathBuf,
    server: PathBuf,
}

impl Hop {
    fn new() -> Result<Hop> {
        let mut names = Vec::new();
        let mut namespace = |name: &str| -> Result<PathBuf> {
            let name = format!("gnr{}-{name}", std::process::id());
            let path = netns::create(&name)?;
            names.push(name);
            Netlink::in_netns(&path)?.set_up("lo")?;
            Ok(path)
        };
        let made = [namespace("client"), namespace("node"), namespace("server")];
        let [client, node, server] = made;
        let hop = Hop { names, client: client?, node: node?, server: server? };
        sysctl::write_in(&hop.node, &[("ipv4/ip_forward".to_owned(), "1")])?;
        let here = Netlink::in_netns(&hop.node)?;
        for (name, far, gateway, ip) in
            [("client", &hop.client, "10.245.1.1", CLIENT), ("server", &hop.server, "10.245.2.1", SERVER)]
        {
            let peer = PeerPlace::Netns(far);
            here.add_veth(&Veth { name, mac: None, peer_name: "eth0", peer_mac: None, peer, mtu: None })?;
            here.add_address(name, format!("{gateway}/24").parse()?)?;
            here.set_up(name)?;
            let there = Netlink::in_netns(far)?;
            there.add_address("eth0", format!("{ip}/24").parse()?)?;
            there.set_up("eth0")?;
            there.replace_route(&Route::through("0.0.0.0/0".parse()?, gateway.parse()?, "eth0"))?;
        }
        Ok(hop)
    }

    fn measure(&self, kind: Kind, services: u32) -> Result<Rules> {
        let server: IpAddr = SERVER.parse()?;
        let served = Server::start(&self.server, server)?;
        let direct = SocketAddr::new(server, PORT);
        // In the middle of the rules.
        let service = SocketAddr::new(vip(services / 2).parse()?, 80);
        let [bare_connect_us, bare_udp_us] = self.ask(&served, direct)?;
        let begin = process::instant();
        feed(&self.node, kind, &whole(kind, services))?;
        let load_ms = begin.elapsed().as_secs_f64() * 1e3;
        let mut changes = Vec::new();
        for turn in 0..5 {
            let text = change(kind, services, 8_000 + turn);
            let begin = process::instant();
            feed(&self.node, kind, &text)?;
            changes.push(begin.elapsed());
        }
        let [pod_connect_us, pod_udp_us] = self.ask(&served, direct)?;
        let [service_connect_us, service_udp_us] = self.ask(&served, service)?;
        let change_ms = micros(&mut changes, 50) / 1e3;
        Ok(Rules {
            kind,
            services,
            load_ms,
            change_ms,
            bare_connect_us,
            bare_udp_us,
            pod_connect_us,
            pod_udp_us,
            service_connect_us,
            service_udp_us,
        })
    }

    /// Medians of a connect and of a new UDP flow, in microseconds.
    fn ask(&self, server: &Server, to: SocketAddr) -> Result<[f64; 2]> {
        let (mut connects, mut asks) = (Vec::new(), Vec::new());
        let maker = Maker::start(&self.client, None)?;
        for _ in 0..CALLS {
            let (spent, stream) = connect(maker.make(SockType::Stream, 0)?, to)?;
            connects.push(spent);
            reset(stream)?;
            server.settle()?;
            asks.push(ask(maker.make(SockType::Datagram, 0)?, to)?);
        }
        Ok([micros(&mut connects, 50), micros(&mut asks, 50)])
    }
}

impl Drop for Hop {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = netns::delete(name);
        }
    }
}

fn vip(number: u32) -> String {
    format!("10.97.{}.{}", number >> 8, number & 0xff)
}

const PROTOCOLS: [&str; 2] = ["tcp", "udp"];

/// The whole set. Every string takes what is written to it.
fn whole(kind: Kind, services: u32) -> String {
    let mut text = String::new();
    let ports = || (0..services).flat_map(|number| PROTOCOLS.map(|protocol| (number, protocol)));
    match kind {
        Kind::Iptables => {
            text += "*nat\n:KUBE-SERVICES - [0:0]\n:KUBE-POSTROUTING - [0:0]\n";
            for (number, protocol) in ports() {
                let _ = writeln!(text, ":KUBE-SVC-{number}-{protocol} - [0:0]\n:KUBE-SEP-{number}-{protocol} - [0:0]");
            }
            text += "-A PREROUTING -m comment --comment \"service portals\" -j KUBE-SERVICES\n-A OUTPUT -j KUBE-SERVICES\n\
                     -A POSTROUTING -j KUBE-POSTROUTING\n-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN\n\
                     -A KUBE-POSTROUTING -j MASQUERADE --random-fully\n";
            portals(&mut text, services);
            for (number, protocol) in ports() {
                endpoint(&mut text, number, protocol, PORT);
            }
            text += "COMMIT\n";
        }
        Kind::Nftables => {
            text += "table ip kube-proxy {\nmap service-ips { type ipv4_addr . inet_proto . inet_service : verdict; }\n\
                     chain services { ip daddr . meta l4proto . th dport vmap @service-ips; }\n\
                     chain nat-prerouting { type nat hook prerouting priority -100; jump services; }\n\
                     chain nat-output { type nat hook output priority -100; jump services; }\n}\n";
            for (number, protocol) in ports() {
                let name = format!("{number}-{protocol}");
                let _ = writeln!(
                    text,
                    "add chain ip kube-proxy endpoint-{name}\n\
                     add rule ip kube-proxy endpoint-{name} meta l4proto {protocol} dnat to {SERVER}:{PORT}\n\
                     add chain ip kube-proxy service-{name}\n\
                     add rule ip kube-proxy service-{name} numgen random mod 1 vmap {{ 0 : goto endpoint-{name} }}\n\
                     add element ip kube-proxy service-ips {{ {} . {protocol} . 80 : goto service-{name} }}",
                    vip(number)
                );
            }
        }
    }
    text
}

/// One endpoint of the first Service gets another port.
fn change(kind: Kind, services: u32, port: u16) -> String {
    let mut text = String::new();
    match kind {
        // The chain of all Services is written anew at each change, and what it leads to where it changed.
        Kind::Iptables => {
            text += "*nat\n:KUBE-SERVICES - [0:0]\n:KUBE-SVC-0-tcp - [0:0]\n:KUBE-SEP-0-tcp - [0:0]\n";
            portals(&mut text, services);
            endpoint(&mut text, 0, "tcp", port);
            text += "COMMIT\n";
        }
        Kind::Nftables => {
            let _ = writeln!(
                text,
                "flush chain ip kube-proxy endpoint-0-tcp\n\
                 add rule ip kube-proxy endpoint-0-tcp meta l4proto tcp dnat to {SERVER}:{port}"
            );
        }
    }
    text
}

fn portals(text: &mut String, services: u32) {
    for number in 0..services {
        for protocol in PROTOCOLS {
            let _ = writeln!(
                text,
                "-A KUBE-SERVICES -d {}/32 -p {protocol} -m {protocol} --dport 80 -j KUBE-SVC-{number}-{protocol}",
                vip(number)
            );
        }
    }
}

fn endpoint(text: &mut String, number: u32, protocol: &str, port: u16) {
    let _ = writeln!(
        text,
        "-A KUBE-SVC-{number}-{protocol} -j KUBE-SEP-{number}-{protocol}\n\
         -A KUBE-SEP-{number}-{protocol} -p {protocol} -m {protocol} -j DNAT --to-destination {SERVER}:{port}"
    );
}

/// Gives a text to the tool, in the node's namespace.
fn feed(node: &Path, kind: Kind, text: &str) -> Result<()> {
    let (program, arguments): (&str, &[&str]) = match kind {
        Kind::Iptables => ("iptables-legacy-restore", &["--noflush"]),
        Kind::Nftables => ("nft", &["-f", "-"]),
    };
    let output = netns::run_in(node, || -> Result<_> {
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("{program}: `cargo xtask setup` installs it"))?;
        child.stdin.take().context("a pipe was asked for")?.write_all(text.as_bytes())?;
        Ok(child.wait_with_output()?)
    })??;
    ensure!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
