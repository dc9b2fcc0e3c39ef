//! The thread that owns the data plane: the only writer of the tables, the leases and the fold of the fabric.
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use abi::ServiceKey;
use datapath::{Difference, Dns, Epoch, Local, Plan, Planner};
use ipnet::IpNet;
use kernel::{Datapath, Options, PodLink};
use tokio::sync::{mpsc, oneshot, watch};
use wire::agent::{AttachReply, AttachRequest, DetachRequest};
use wire::fabric::Delta;

use super::host_port::{self, HostPort};
use super::ipam::Pool;
use super::lease::{Lease, Leases};
use super::policy::{Guard, is_known};
use edges::Keeping;
pub use edges::Names;

use super::{Error, GATEWAYS, NetworkConfig, NetworkStatus, pin_dir};

/// Where a command's answer goes.
pub type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// What others ask of the data plane.
pub enum Command {
    /// Fold a delta in and make it live; answers the live epoch.
    Apply(Box<Delta>, Reply<Epoch>),
    /// Make the folded state live again after a failure.
    Retry(Reply<Epoch>),
    SetPodCidrs(Vec<IpNet>, Reply<()>),
    Attach(AttachRequest, Reply<AttachReply>),
    Detach(DetachRequest, Reply<()>),
    Check(AttachRequest, Reply<AttachReply>),
    Dump(Reply<String>),
    /// Compare the kernel's tables with what the folded state compiles to; `true` mends them.
    Verify(bool, Reply<Vec<Difference>>),
    /// Whose the frontends and this node's addresses are.
    Names(Vec<ServiceKey>, Reply<Names>),
    /// No program runs any more on what the tables had when the sweep began; from the plane to itself.
    GracePeriodOver(Result<(), kernel::bpf::Error>),
}

/// Everything the thread owns.
pub struct Plane {
    datapath: Datapath,
    planner: Planner,
    guard: Guard,
    /// A write failed half way: what the tables hold must be read again.
    doubtful: bool,
    /// The folded policy may not be live.
    policy_stale: bool,
    /// A grace period is waited for.
    sweeping: bool,
    /// At most one of each family, that of `podIP` first; none before the control plane has said them.
    pools: Vec<Pool>,
    leases: Leases,
    lease_file: PathBuf,
    dns: Arc<dns::Table>,
    status: Arc<watch::Sender<NetworkStatus>>,
    keeping: Keeping,
    /// Frontends that were told to have no place, or no ring.
    told: BTreeSet<ServiceKey>,
}

impl Plane {
    /// Opens the data plane and takes over what stands. Nothing is taken away before the first fabric state.
    pub fn open(
        config: &NetworkConfig,
        status: Arc<watch::Sender<NetworkStatus>>,
        dns: Arc<dns::Table>,
    ) -> Result<Plane, Error> {
        let datapath = Datapath::open(Options {
            pin_dir: pin_dir(&config.data_dir),
            cgroup: config.cgroup.clone(),
            netns: PathBuf::from("/proc/self/ns/net"),
            uplink: config.uplink.clone(),
            node_ips: config.node_ips.clone(),
            native: config.native,
            gateways: config.gateways(),
            load_balancing: config.load_balancing,
            flow_bits: config.flow_bits.unwrap_or_else(kernel::bpf::default_flow_bits),
        })?;
        let uplink = format!("{}, {}", datapath.uplink_path(), config.load_balancing.mode);
        tracing::info!(uplink, "load balancing from outside");
        status.send_modify(|status| status.uplink = uplink);
        let observed = datapath.observe()?;
        let lease_file = config.data_dir.join("network.json");
        let mut leases = Leases::load(&lease_file)?;
        leases.reconcile(&datapath.attached_pods()?);
        let guard = Guard::open(&datapath, &leases, &config.data_dir)?;
        let local = Local {
            node_name: config.node_name.clone(),
            native: config.native,
            addresses: config.node_ips.clone(),
            pod_cidrs: Vec::new(),
            service_cidrs: config.service_cidrs.clone(),
            host_ports: host_port::all(&leases),
            dns: dns_servers(config),
            config: datapath.config(),
        };
        let keeping = Keeping::new(datapath.edges()?);
        let mut plane = Plane {
            keeping,
            told: BTreeSet::new(),
            datapath,
            planner: Planner::new(local, observed),
            guard,
            doubtful: false,
            policy_stale: true,
            sweeping: false,
            pools: Vec::new(),
            leases,
            lease_file,
            dns,
            status,
        };
        let known = if config.pod_cidrs.is_empty() { plane.leases.pod_cidrs.clone() } else { config.pod_cidrs.clone() };
        if !known.is_empty() {
            plane.set_pod_cidrs(&known)?;
        }
        plane.commit()?;
        Ok(plane)
    }

    /// Serves commands until every sender is gone; `own` sends to `inbox`.
    pub fn run(mut self, mut inbox: mpsc::Receiver<Command>, own: &mpsc::WeakSender<Command>) {
        while let Some(command) = inbox.blocking_recv() {
            // An asker that went away does not need the answer.
            match command {
                Command::Apply(delta, reply) => drop(reply.send(self.apply(&delta))),
                Command::Retry(reply) => drop(reply.send(self.commit().map(|()| self.planner.state().epoch))),
                Command::SetPodCidrs(cidrs, reply) => {
                    let result = self.set_pod_cidrs(&cidrs).and_then(|()| self.commit());
                    drop(reply.send(result));
                }
                Command::Attach(request, reply) => drop(reply.send(self.attach(&request))),
                Command::Detach(request, reply) => drop(reply.send(self.detach(&request))),
                Command::Check(request, reply) => drop(reply.send(self.check(&request))),
                Command::Dump(reply) => drop(reply.send(self.dump())),
                Command::Verify(repair, reply) => drop(reply.send(self.verify(repair))),
                Command::Names(keys, reply) => drop(reply.send(self.names(&keys))),
                Command::GracePeriodOver(waited) => self.finish_sweep(waited),
            }
            self.begin_sweep(own);
            self.keep_edges();
            self.publish();
        }
    }

    fn apply(&mut self, delta: &Delta) -> Result<Epoch, Error> {
        let rejected = self.planner.apply(delta)?;
        for one in &rejected {
            tracing::warn!(epoch = delta.epoch, "fabric record refused: {one}");
        }
        self.status.send_modify(|status| status.epoch_received = delta.epoch);
        if delta.full {
            self.dns.replace(&delta.services);
        } else {
            for name in &delta.deleted_services {
                self.dns.remove(name);
            }
            for service in &delta.services {
                self.dns.upsert(service);
            }
        }
        self.policy_stale |= datapath::policy::concerns(delta);
        self.commit()?;
        Ok(self.planner.state().epoch)
    }

    /// Where the node's own DNS answers.
    fn dns_servers(&self) -> Vec<IpAddr> {
        self.planner.local().dns.iter().map(|dns| dns.server.ip()).collect()
    }

    /// Makes the folded policy live for the pods that stand or are about to.
    fn commit_policy(&mut self) -> Result<(), Error> {
        let dns = self.dns_servers();
        self.policy_stale = true;
        self.guard.commit(&self.datapath, self.planner.state(), &self.leases, &dns)?;
        self.policy_stale = false;
        Ok(())
    }

    /// Makes the folded state live: policy before Services, so that nobody is sent where he may not go. What is used no more is cleared
    /// later: nothing waits for that.
    fn commit(&mut self) -> Result<(), Error> {
        if self.policy_stale {
            self.commit_policy()?;
        }
        self.commit_services()?;
        let epoch = self.planner.state().epoch.0;
        self.status.send_modify(|status| {
            status.epoch_applied = epoch;
            status.updated = Some(process::now());
        });
        Ok(())
    }

    fn commit_services(&mut self) -> Result<(), Error> {
        if self.doubtful {
            // What was given up may be given away again then.
            kernel::bpf::grace_period()?;
            self.planner.reread(self.datapath.observe()?);
            self.doubtful = false;
        }
        let plan = self.planner.plan();
        for conflict in &plan.conflicts {
            tracing::warn!(service = %conflict.service, "address and port are taken by another Service");
        }
        self.tell_of_full_tables(&plan);
        self.execute(&plan)?;
        if let Some(checks) = self.planner.take_health_checks() {
            self.status.send_modify(|status| status.health_checks = Arc::new(checks));
        }
        Ok(())
    }

    fn execute(&mut self, plan: &Plan) -> Result<(), Error> {
        if !plan.is_empty() {
            self.doubtful = true;
            self.datapath.apply(plan)?;
            self.doubtful = false;
            tracing::debug!(epoch = self.planner.state().epoch.0, steps = plan.steps.len(), "tables written");
        }
        Ok(())
    }

    fn set_pod_cidrs(&mut self, cidrs: &[IpNet]) -> Result<(), Error> {
        // Without an address of its own the node can neither masquerade nor answer for pods of that family.
        let served =
            |cidr: &IpNet| self.planner.local().addresses.iter().any(|ip| ip.is_ipv4() == cidr.addr().is_ipv4());
        let (cidrs, others): (Vec<IpNet>, Vec<IpNet>) = cidrs.iter().map(IpNet::trunc).partition(served);
        if let ([], [other, ..]) = (cidrs.as_slice(), others.as_slice()) {
            return Err(Error::NoNodeAddress(*other));
        }
        if self.pools.iter().map(Pool::range).eq(cidrs.iter().copied()) {
            return Ok(());
        }
        let leased = self.leases.pods.values().flat_map(|lease| &lease.ips);
        let outside = leased.filter(|ip| !cidrs.iter().any(|cidr| cidr.contains(*ip))).count();
        if outside > 0 && !self.leases.pod_cidrs.is_empty() {
            return Err(Error::PodCidrChange { old: self.leases.pod_cidrs.clone(), new: cidrs });
        }
        self.pools = cidrs.iter().map(|cidr| Pool::new(*cidr, &self.leases.last)).collect::<Result<_, _>>()?;
        self.planner.set_local(Local { pod_cidrs: cidrs.clone(), ..self.planner.local().clone() });
        tracing::info!(cidrs = super::list(&cidrs), "pod addresses");
        for other in others {
            tracing::warn!("{}", Error::NoNodeAddress(other));
        }
        self.leases.pod_cidrs = cidrs;
        Ok(self.leases.save(&self.lease_file)?)
    }

    /// The lease is on disk before the address is in use.
    fn attach(&mut self, request: &AttachRequest) -> Result<AttachReply, Error> {
        let name = host_ifname(&request.container_id, &request.ifname)?;
        if request.netns.is_empty() {
            return Err(Error::Missing("network namespace"));
        }
        let host_ports = request.port_mappings.iter().map(HostPort::parse).collect::<Result<Vec<_>, _>>()?;
        if self.pools.is_empty() {
            return Err(Error::NoPodCidr);
        }
        let lease = match self.leases.pods.get(&name) {
            Some(lease) => lease.clone(),
            None => {
                let pod = format!("{}/{}", request.pod_namespace, request.pod_name);
                if !is_known(self.planner.state(), &pod, &request.pod_uid) {
                    return Err(Error::PolicyUnknown(pod));
                }
                let leases = &self.leases;
                let seat = leases.free_seat().ok_or(Error::Seats)?;
                let taken = self.pools.iter_mut().map(|pool| pool.take(|ip| leases.uses(ip)));
                let ips = taken.collect::<Result<_, _>>()?;
                let lease = Lease {
                    ips,
                    container_id: request.container_id.clone(),
                    pod,
                    host_ports,
                    seat,
                    ingress_bits: request.ingress_bits,
                    egress_bits: request.egress_bits,
                };
                self.leases.last = self.pools.iter().filter_map(Pool::last).collect();
                self.leases.pods.insert(name.clone(), lease.clone());
                self.leases.save(&self.lease_file)?;
                lease
            }
        };
        let link = pod_link(&name, request, &lease);
        // Without a policy in the tables there is no interface, and without an interface no packet.
        let result = self.commit_policy().and_then(|()| self.attach_link(&link));
        match result {
            Ok(attached) => {
                tracing::info!(pod = lease.pod, ips = ?lease.ips, interface = name, "pod attached");
                Ok(reply(&link, &attached))
            }
            Err(e) => {
                self.leases.pods.remove(&name);
                self.leases.save(&self.lease_file)?;
                Err(e)
            }
        }
    }

    /// The pod's interface first, then the ports of the node that lead to it.
    fn attach_link(&mut self, link: &PodLink) -> Result<kernel::Attached, Error> {
        let attached = self.datapath.attach_pod(link)?;
        if let Err(e) = self.commit_host_ports() {
            // The address is given back by who asked.
            self.datapath.detach_pod(&link.host_ifname)?;
            return Err(e);
        }
        Ok(attached)
    }

    /// Makes the leases' host ports live.
    fn commit_host_ports(&mut self) -> Result<(), Error> {
        let wanted = host_port::all(&self.leases);
        if wanted == self.planner.local().host_ports && !self.doubtful {
            return Ok(());
        }
        self.planner.set_local(Local { host_ports: wanted, ..self.planner.local().clone() });
        self.commit()
    }

    fn detach(&mut self, request: &DetachRequest) -> Result<(), Error> {
        let name = host_ifname(&request.container_id, &request.ifname)?;
        self.datapath.detach_pod(&name)?;
        if let Some(lease) = self.leases.pods.remove(&name) {
            self.leases.save(&self.lease_file)?;
            self.commit_policy()?;
            self.rest_edges(&lease.ips);
            tracing::info!(pod = lease.pod, ips = ?lease.ips, interface = name, "pod detached");
        }
        self.commit_host_ports()
    }

    fn check(&self, request: &AttachRequest) -> Result<AttachReply, Error> {
        let name = host_ifname(&request.container_id, &request.ifname)?;
        let gone = || Error::NotAttached(request.container_id.clone());
        let lease = self.leases.pods.get(&name).ok_or_else(gone)?;
        let link = pod_link(&name, request, lease);
        let attached = self.datapath.check_pod(&link)?.ok_or_else(gone)?;
        Ok(reply(&link, &attached))
    }

    fn dump(&self) -> Result<String, Error> {
        Ok(datapath::dump(&self.datapath.observe()?))
    }

    fn publish(&self) {
        self.status.send_modify(|status| {
            status.services = self.planner.observed().services.len() as u32;
            status.backends = self.planner.observed().backends.len() as u32;
            status.pods = self.leases.pods.len() as u32;
            status.error = match (self.pools.as_slice(), self.doubtful) {
                ([], _) => Some(Error::NoPodCidr.to_string()),
                ([..], true) => Some("the data plane's tables could not be written".to_owned()),
                ([..], false) => None,
            };
        });
    }
}

/// Each family's Service address of the cluster's DNS, answered by the node itself.
fn dns_servers(config: &NetworkConfig) -> Vec<Dns> {
    let server = |ip: &IpAddr| config.gateways().into_iter().find(|own| own.is_ipv4() == ip.is_ipv4());
    let both = config.dns_ips.iter().filter_map(|ip| Some((*ip, server(ip)?)));
    both.map(|(ip, server)| Dns { service: SocketAddr::new(ip, 53), server: SocketAddr::new(server, 53) }).collect()
}

fn pod_link(name: &str, request: &AttachRequest, lease: &Lease) -> PodLink {
    let ifname = if request.ifname.is_empty() { "eth0" } else { &request.ifname };
    PodLink {
        host_ifname: name.to_owned(),
        netns: PathBuf::from(&request.netns),
        ifname: ifname.to_owned(),
        addresses: lease.ips.clone(),
        seat: lease.seat,
        bandwidth: lease.bandwidth(),
    }
}

fn reply(link: &PodLink, attached: &kernel::Attached) -> AttachReply {
    let has = |gateway: &&IpAddr| link.addresses.iter().any(|ip| ip.is_ipv4() == gateway.is_ipv4());
    let gateways = GATEWAYS.iter().filter(has);
    AttachReply {
        addresses: link.addresses.iter().map(|ip| IpNet::from(*ip).to_string()).collect(),
        gateways: gateways.map(ToString::to_string).collect(),
        host_ifname: link.host_ifname.clone(),
        mac: attached.pod_mac.to_string(),
        mtu: attached.mtu,
    }
}

/// `gn` and 11 hex digits of FNV-1a over container and interface: within the kernel's 15 bytes, the same for ADD,
/// CHECK and DEL.
fn host_ifname(container_id: &str, ifname: &str) -> Result<String, Error> {
    if container_id.is_empty() {
        return Err(Error::Missing("container id"));
    }
    let ifname = if ifname.is_empty() { "eth0" } else { ifname };
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in container_id.bytes().chain([b' ']).chain(ifname.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    Ok(format!("gn{:011x}", hash >> 20))
}

mod edges;
mod full;
mod sweep;
#[cfg(test)]
mod tests;
mod verify;
