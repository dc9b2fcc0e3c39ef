//! The daemon: brings the tables to what the file says, and keeps them there.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use abi::balance::{self, MAX_FLOWS, MAX_SLOTS, SLOTS_AN_ELEMENT};
use abi::{Addr, Be16, IPPROTO_ICMP, IPPROTO_ICMPV6};
use datapath::balancer::{Desired, Plan, Server, Service, Standing, VipKey};
use datapath::maglev;
use kernel::bpf::{self, Balancer, Room, XdpMode};
use kernel::netlink::{self, Link, Netlink};
use process::Shutdown;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time;

use crate::check::{Checks, Target};
use crate::config::{self, Affinity, Config};
use crate::report::{ServiceState, State};
use crate::{metrics, next_hop};

/// How often the file, the gateway and what is to be forgotten are looked at.
const TICK: Duration = Duration::from_secs(1);
/// How long the gateway may take to answer at the start.
const GATEWAY_PATIENCE: Duration = Duration::from_secs(5);
const GATEWAY_POLL: Duration = Duration::from_millis(100);
/// Records that a CPU makes in a second at most: what a flood of new flows may evict.
const GATE_PER_S: u32 = 50_000;

/// How to run.
#[derive(Clone, Debug)]
pub struct Options {
    pub config: PathBuf,
    /// Where pins and state lie; one balancer a directory.
    pub dir: PathBuf,
    pub mode: XdpMode,
    /// At the end the program stays attached and the tables stay.
    pub keep: bool,
}

/// Why the balancer cannot run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("read {path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path}: {source}")]
    Config { path: PathBuf, source: config::Error },
    #[error("{interface} has no {family} address for the outer headers of {backend}; give `source`")]
    NoSource { interface: String, family: &'static str, backend: IpAddr },
    #[error("mtu {mtu} is more than the {have} of {interface}")]
    Mtu { interface: String, mtu: u32, have: u32 },
    #[error("{interface} is not an Ethernet interface")]
    NotEthernet { interface: String },
    #[error("another interface, or address of metrics, needs a new start (with --keep no packet is lost)")]
    Restart,
    #[error("serve metrics on {address}: {source}")]
    Metrics { address: std::net::SocketAddr, source: io::Error },
    #[error("install the handler of SIGHUP: {0}")]
    Signal(#[source] io::Error),
    #[error("write the state below {path}: {source}")]
    State { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Gateway(#[from] next_hop::Error),
    #[error(transparent)]
    Netlink(#[from] netlink::Error),
    #[error(transparent)]
    Kernel(#[from] bpf::Error),
}

/// Where the BPF file system of a directory is.
pub fn pins(dir: &Path) -> PathBuf {
    dir.join("bpf")
}

/// Detaches what runs, or was left, in a directory.
///
/// # Errors
/// Those of the file system.
pub fn remove(dir: &Path) -> Result<(), Error> {
    bpf::remove_balancer(&pins(dir))?;
    State::remove(dir);
    Ok(())
}

/// Runs in the calling thread's network namespace until `shutdown`.
///
/// # Errors
/// If it cannot start. Later mistakes in the file are logged, and what stands stays.
pub async fn run(options: Options, shutdown: Shutdown) -> Result<(), Error> {
    let mut hangup = signal(SignalKind::hangup()).map_err(Error::Signal)?;
    let (mut text, config) = load(&options.config)?;
    let (checks, mut verdicts) = Checks::new();
    let mut daemon = Daemon::start(&options, config, checks).await?;
    let exporter = daemon.export().await?;
    let mut tick = time::interval(TICK);
    loop {
        let forced = tokio::select! {
            () = shutdown.cancelled() => break,
            _ = hangup.recv() => true,
            Some(verdict) = verdicts.recv() => {
                if daemon.checks.take(&verdict) {
                    daemon.logged(Daemon::converge);
                }
                continue;
            }
            _ = tick.tick() => false,
        };
        match load(&options.config) {
            Ok((fresh, _)) if fresh == text && !forced => daemon.logged(Daemon::converge),
            Ok((fresh, config)) => {
                text = fresh;
                daemon.logged(|daemon| daemon.reload(config));
            }
            // A file that is being written, or is wrong: said once, until it changes again.
            Err(error) => {
                if forced || daemon.complaint.as_ref() != Some(&error.to_string()) {
                    tracing::error!(%error, "the configuration stays as it was");
                    daemon.complaint = Some(error.to_string());
                }
                daemon.logged(Daemon::converge);
            }
        }
    }
    if let Some(exporter) = exporter {
        exporter.abort();
    }
    if !options.keep {
        remove(&options.dir)?;
    }
    Ok(())
}

fn load(path: &Path) -> Result<(String, Config), Error> {
    let text = fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let config = Config::parse(&text).map_err(|source| Error::Config { path: path.to_owned(), source })?;
    Ok((text, config))
}

struct Daemon {
    dir: PathBuf,
    config: Config,
    netlink: Netlink,
    balancer: Balancer,
    standing: Standing,
    checks: Checks,
    /// What was last complained of.
    complaint: Option<String>,
}

impl Daemon {
    async fn start(options: &Options, config: Config, checks: Checks) -> Result<Daemon, Error> {
        let netlink = Netlink::here()?;
        wait_for_gateway(&netlink, &config).await;
        let settings = settings(&netlink, &config)?;
        let index = netlink.link(&config.interface)?.index;
        let dir = options.dir.clone();
        fs::create_dir_all(&dir).map_err(|source| Error::State { path: dir.clone(), source })?;
        let balancer = Balancer::open(&pins(&dir), room(&config))?;
        let standing = Standing::recover(&balancer.tables.content());
        let mut daemon = Daemon { dir, config, netlink, balancer, standing, checks, complaint: None };
        let before = State::load(&daemon.dir).unwrap_or_default();
        daemon.checks.set(targets(&daemon.config, &before));
        daemon.write(&settings)?;
        let attached = daemon.balancer.attach(index, options.mode)?;
        tracing::info!(interface = daemon.config.interface, ?attached, "balancing");
        Ok(daemon)
    }

    async fn export(&self) -> Result<Option<process::JoinHandle<()>>, Error> {
        let Some(address) = self.config.metrics else { return Ok(None) };
        let listener = TcpListener::bind(address).await.map_err(|source| Error::Metrics { address, source })?;
        Ok(Some(process::spawn("lb-metrics", metrics::serve(listener, self.dir.clone()))))
    }

    /// Does something of which a failure is told once.
    fn logged(&mut self, work: impl FnOnce(&mut Daemon) -> Result<(), Error>) {
        match work(self) {
            Ok(()) => self.complaint = None,
            Err(error) => {
                let text = error.to_string();
                if self.complaint.as_ref() != Some(&text) {
                    tracing::error!(%error, "what stands stays as it was");
                    self.complaint = Some(text);
                }
            }
        }
    }

    fn reload(&mut self, config: Config) -> Result<(), Error> {
        if config.interface != self.config.interface || config.metrics != self.config.metrics {
            return Err(Error::Restart);
        }
        let settings = settings(&self.netlink, &config)?;
        self.config = config;
        // Who is new is healthy until found otherwise.
        self.checks.set(targets(&self.config, &State::default()));
        self.write(&settings)?;
        tracing::info!(services = self.config.services.len(), "reloaded");
        Ok(())
    }

    /// Also finds what may change without the file: the gateway's address, health, and what is to be forgotten.
    fn converge(&mut self) -> Result<(), Error> {
        let settings = settings(&self.netlink, &self.config)?;
        self.write(&settings)
    }

    /// Brings the tables to the configuration, the health of backends and the settings.
    fn write(&mut self, settings: &balance::Config) -> Result<(), Error> {
        let state = State {
            interface: self.config.interface.clone(),
            services: self.config.services.iter().map(|service| self.state(service)).collect(),
        };
        let desired = self.desired(settings);
        let drain_s = u32::try_from(self.config.drain.0.as_secs()).unwrap_or(u32::MAX);
        let plan = self.standing.plan(&desired, bpf::balancer_now_s(), drain_s);
        self.apply(&plan)?;
        // What was freed may be room for what found none.
        let plan = if plan.faults.is_empty() {
            plan
        } else {
            let again = self.standing.plan(&desired, bpf::balancer_now_s(), drain_s);
            self.apply(&again)?;
            again
        };
        self.balancer.tables.set_config(settings)?;
        state.save(&self.dir).map_err(|source| Error::State { path: self.dir.clone(), source })?;
        for (key, fault) in &plan.faults {
            tracing::error!(address = %datapath::ip(key.addr), port = key.port.get(), %fault, "no room for a service");
        }
        Ok(())
    }

    fn apply(&mut self, plan: &Plan) -> Result<(), Error> {
        if !plan.writes.is_empty() {
            self.balancer.tables.apply(&plan.writes)?;
            tracing::info!(stores = plan.writes.len(), "tables written");
        }
        Ok(())
    }

    fn state(&self, service: &config::Service) -> ServiceState {
        ServiceState::new(service, |address| self.is_healthy(service, address))
    }

    fn is_healthy(&self, service: &config::Service, address: IpAddr) -> bool {
        target(&self.config, service, address).is_none_or(|target| self.checks.is_healthy(&target))
    }

    fn desired(&self, settings: &balance::Config) -> Desired {
        let server = |service: &config::Service, backend: &config::Backend| Server {
            addr: datapath::addr(backend.address),
            weight: backend.weight,
            healthy: self.is_healthy(service, backend.address),
        };
        let service = |service: &config::Service| Service {
            by_client: service.affinity == Affinity::ClientIp,
            servers: service.backends.iter().map(|backend| server(service, backend)).collect(),
        };
        let echoes = self.config.services.iter().map(|s| (echo_key(s.address), Service::default()));
        let services = self.config.services.iter().map(|s| (s.key(), service(s))).chain(echoes).collect();
        Desired { source4: settings.source4, services }
    }
}

/// The row by which an address answers echo requests: without port and servers.
fn echo_key(address: IpAddr) -> VipKey {
    let proto = if address.is_ipv4() { IPPROTO_ICMP } else { IPPROTO_ICMPV6 };
    VipKey { addr: datapath::addr(address), port: Be16(0), proto }
}

/// Who is asked for one backend of a service.
fn target(config: &Config, service: &config::Service, address: IpAddr) -> Option<Target> {
    let check = service.health_check.as_ref().or(config.health_check.as_ref())?;
    Some(Target { address, check: check.clone() })
}

/// Whom to ask, and whether they were well before.
fn targets(config: &Config, before: &State) -> Vec<(Target, bool)> {
    let mut targets = Vec::new();
    for service in &config.services {
        for backend in &service.backends {
            let target = target(config, service, backend.address);
            targets.extend(target.map(|target| (target, before.is_healthy(service, backend.address))));
        }
    }
    targets
}

/// Room for twice what the file needs now, because a ring that grows stands twice for a moment.
fn room(config: &Config) -> Room {
    let slots: u32 = config.services.iter().map(|service| maglev::size(service.backends.len(), 0)).sum();
    Room { slots: slots.saturating_mul(2).max(MAX_SLOTS * SLOTS_AN_ELEMENT), flows: MAX_FLOWS }
}

/// At the start nobody may have spoken to the gateway yet. What is missing after that is the error of what follows.
async fn wait_for_gateway(netlink: &Netlink, config: &Config) {
    let polls = GATEWAY_PATIENCE.as_millis() / GATEWAY_POLL.as_millis();
    for _ in 0..polls {
        match next_hop::resolve(netlink, &config.interface, config.gateway) {
            Err(next_hop::Error::Silent { .. }) => time::sleep(GATEWAY_POLL).await,
            Ok(_) | Err(_) => return,
        }
    }
}

/// What the program needs to know besides addresses.
fn settings(netlink: &Netlink, config: &Config) -> Result<balance::Config, Error> {
    let interface = || config.interface.clone();
    let link: Link = netlink.link(&config.interface)?;
    if link.mac == netlink::Mac::default() {
        return Err(Error::NotEthernet { interface: interface() });
    }
    let mtu = config.mtu.unwrap_or(link.mtu);
    if mtu > link.mtu {
        return Err(Error::Mtu { interface: interface(), mtu, have: link.mtu });
    }
    let own: Vec<IpAddr> = match config.source.as_slice() {
        [] => netlink.addresses(&config.interface)?.iter().map(ipnet::IpNet::addr).filter(is_global).collect(),
        given => given.to_vec(),
    };
    let source = |v4: bool| own.iter().copied().find(|ip| ip.is_ipv4() == v4);
    for backend in config.services.iter().flat_map(|service| &service.backends) {
        if source(backend.address.is_ipv4()).is_none() {
            let family = if backend.address.is_ipv4() { "IPv4" } else { "IPv6" };
            return Err(Error::NoSource { interface: interface(), family, backend: backend.address });
        }
    }
    let table = |v4| source(v4).map_or(Addr::ANY, datapath::addr);
    Ok(balance::Config {
        source4: table(true),
        source6: table(false),
        gateway_mac: next_hop::resolve(netlink, &config.interface, config.gateway)?.0,
        own_mac: link.mac.0,
        // An IP header has 16 bits for the length.
        mtu: mtu.min(u32::from(u16::MAX)),
        seed: config.seed,
        ready: 1,
        test_now_s: 0,
        gate_per_s: GATE_PER_S,
    })
}

/// Not of one link alone.
fn is_global(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !ip.is_link_local() && !ip.is_loopback(),
        IpAddr::V6(ip) => !ip.is_unicast_link_local() && !ip.is_loopback(),
    }
}
