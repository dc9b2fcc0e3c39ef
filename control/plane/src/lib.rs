//! The control plane, wired: one store, the API server before it, and controllers, scheduler and fabric beside it,
//! which meet only in the store.
//!
//! Tasks: `apiserver`, `garbage`, `namespaces`, and `loops` (by [`run`]), each until the shutdown token is cancelled;
//! their own crates and modules list what they spawn in turn. `loops` reads the store into [`views`], then starts
//! `scheduler`, `fabric` and the controllers, which read those; the API answers before. Channels: none here.

pub mod complaints;
pub mod execute;
mod extra;
pub mod families;
pub mod identities;
pub mod join;
pub mod kubeconfig;
pub mod pki;
pub mod run_controllers;
pub mod run_fabric;
pub mod run_garbage;
pub mod run_namespaces;
pub mod run_scheduler;
mod system;
pub mod views;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;

use apiserver::{Apiserver, User};
use ipnet::IpNet;
use process::Shutdown;
use tokio::net::TcpListener;

pub use extra::STATUS_PATH;
pub use store::{EtcdConfig, EtcdTls};

use crate::families::Families;
use crate::identities::Identities;
use crate::join::{ClusterFacts, JoinService};
use crate::pki::{Names, Pki};

/// Who service account tokens say they are from.
pub const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
/// Of the Services' range, the address of the cluster's DNS.
const DNS_OFFSET: u128 = 10;

/// What the control plane is told at its start.
#[derive(Clone, Debug)]
pub struct Config {
    /// State directory.
    pub data_dir: PathBuf,
    /// Where the API listens.
    pub api: SocketAddr,
    /// Where the fabric listens.
    pub fabric: SocketAddr,
    /// The address under which nodes and clients reach both.
    pub advertise: IpAddr,
    /// More names and addresses for the serving certificate.
    pub names: Names,
    /// Pod addresses of the whole cluster.
    pub cluster_cidr: Families<IpNet>,
    /// Service addresses.
    pub service_cidr: Families<IpNet>,
    /// Ports of NodePort Services.
    pub node_ports: RangeInclusive<u16>,
    /// `cluster.local`.
    pub cluster_domain: String,
    /// Name of cluster and context in the kubeconfig.
    pub name: String,
    /// Where the objects are kept.
    pub store: StorePlace,
    /// See [`apiserver::Config::goaway_chance`].
    pub goaway_chance: f64,
}

/// Where the objects are kept.
#[derive(Clone, Debug)]
pub enum StorePlace {
    /// In a file in the state directory.
    Embedded,
    /// In an etcd cluster.
    Etcd(EtcdConfig),
}

/// Why the control plane cannot run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Keys and certificates.
    #[error(transparent)]
    Pki(#[from] pki::Error),
    /// The store.
    #[error("cannot open the store {path}: {source}")]
    Store { path: PathBuf, source: store::OpenError },
    /// The store on other machines.
    #[error("{source}; check that the servers run, and --store, --store-ca, --store-cert and --store-key")]
    Etcd { source: store::OpenError },
    /// The API server.
    #[error("cannot start the API server: {0}")]
    Apiserver(#[from] apiserver::Error),
    /// Certificates that rustls does not take.
    #[error("serving certificate: {0}")]
    Tls(#[from] apiserver::TlsError),
    /// A port is taken, or the address is not ours.
    #[error("cannot listen on {address} for {what}: {source}; {}", listen_fix(source))]
    Listen { what: &'static str, address: SocketAddr, source: std::io::Error },
    /// An object that the cluster needs.
    #[error("cannot create {what}: {source}")]
    System { what: &'static str, source: client::Error },
    /// The Services' range is too small.
    #[error("the Service range {0} has no address for the cluster's DNS; use a larger one, such as 10.96.0.0/16")]
    ServiceRange(Families<IpNet>),
    /// Pods could not reach the API by its Service.
    #[error(
        "the API is at {advertise}, but Services have addresses of {range} first: the first range of Services is of the family of the first --node-ip"
    )]
    AdvertiseFamily { advertise: IpAddr, range: IpNet },
}

fn listen_fix(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            "another process has the port: `ss -ltnp` names it; stop it, or give another port"
        }
        std::io::ErrorKind::AddrNotAvailable => "no interface of this machine has the address",
        std::io::ErrorKind::PermissionDenied => "run as root",
        _ => "check the address",
    }
}

/// Runs the control plane until `shutdown`. `ready` is called once everything listens.
///
/// # Errors
/// When it cannot start; once it runs, it goes on until it is told to stop.
pub async fn run(config: Config, shutdown: Shutdown, ready: impl FnOnce()) -> Result<(), Error> {
    let facts = facts(&config)?;
    let pki = Arc::new(Pki::open(&config.data_dir.join("pki"), &serving_names(&config), process::now())?);
    let token = join::open_token(&config.data_dir.join("join-token"), &pki)?;
    let api = listen("the API", config.api).await?;
    let fabric = listen("the fabric", config.fabric).await?;

    let store = open_store(&config).await?;
    let ledger = Arc::new(run_fabric::Ledger::default());
    let extra =
        extra::Paths { join: Arc::new(JoinService::new(pki.clone(), &token, facts.clone())), ledger: ledger.clone() };
    let server = Apiserver::new(apiserver::Config {
        store: store.clone(),
        service_cidrs: config.service_cidr.list(),
        node_port_range: config.node_ports.clone(),
        client_ca_pem: pki.ca_pem.clone().into_bytes(),
        sa_key_pem: pki.sa_key_pem.clone().into_bytes(),
        issuer: ISSUER.to_owned(),
        kubelet_client: client_identity(&pki.kubelet_client),
        kubelet_ca_pem: pki.ca_pem.clone().into_bytes(),
        extra: Some(Arc::new(extra)),
        advertise: SocketAddr::new(config.advertise, config.api.port()),
        goaway_chance: config.goaway_chance,
        event_ttl: apiserver::EVENT_TTL,
        may_proxy_to: apiserver::is_proxyable,
    })
    .await?;
    system::create(&server.transport(User::gannet()), facts.cluster_dns).await?;
    let identities = Identities::new(server.clone());

    let tls = apiserver::server_config(
        pki.serving.cert_pem.as_bytes(),
        pki.serving.key_pem.as_bytes(),
        pki.ca_pem.as_bytes(),
    )?;
    let controllers =
        run_controllers::ControllersConfig { cluster_cidrs: config.cluster_cidr.list(), ca_pem: pki.ca_pem.clone() };
    let url = format!("https://{}", SocketAddr::new(config.advertise, config.api.port()));
    pki::write_private(&config.data_dir.join("kubeconfig"), &kubeconfig::render(&config.name, &url, &pki))?;
    // What answers requests reads the store itself, so the API serves before anything has read the whole of it.
    let api = process::spawn("apiserver", server.clone().serve(api, tls, shutdown.clone()));
    let tasks = [
        api,
        process::spawn(
            "garbage",
            run_garbage::run_garbage(
                server.clone(),
                store.clone(),
                identities.client("garbage-collector-controller"),
                shutdown.clone(),
            ),
        ),
        process::spawn(
            "namespaces",
            run_namespaces::run_namespaces(
                server,
                store.clone(),
                identities.client("namespace-controller"),
                shutdown.clone(),
            ),
        ),
        process::spawn("loops", async move {
            let views = tokio::select! {
                views = views::start(store, shutdown.clone()) => views,
                () = shutdown.cancelled() => return,
            };
            tracing::info!("control loops have read the store");
            let (tls, stop) = (fabric_tls(&pki), shutdown.clone());
            let scheduler = run_scheduler::run_scheduler(identities.scheduler(), views.clone(), shutdown.clone());
            let complaints = complaints::Complaints::new(identities.fabric());
            let controllers = run_controllers::run_controllers(identities, views.clone(), controllers, shutdown);
            // Tasks of their own, so that one that computes holds up no other.
            let _ = tokio::join!(
                process::spawn("controllers", controllers),
                process::spawn("scheduler", scheduler),
                process::spawn("fabric", run_fabric::run_fabric(views, fabric, tls, ledger, complaints, stop)),
            );
        }),
    ];
    tracing::info!(url, "control plane is up");
    ready();
    for task in tasks {
        if let Err(error) = task.await {
            tracing::error!(%error, "a task of the control plane died");
        }
    }
    Ok(())
}

async fn open_store(config: &Config) -> Result<Arc<dyn store::Backend>, Error> {
    match &config.store {
        StorePlace::Embedded => {
            let path = config.data_dir.join("store.redb");
            store::embedded(&path).map_err(|source| Error::Store { path, source })
        }
        StorePlace::Etcd(place) => {
            store::etcd(place.clone(), store::Config::default()).await.map_err(|source| Error::Etcd { source })
        }
    }
}

async fn listen(what: &'static str, address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|source| Error::Listen { what, address, source })
}

fn facts(config: &Config) -> Result<ClusterFacts, Error> {
    let (first, advertise) = (config.service_cidr.first(), config.advertise);
    if first.addr().is_ipv4() != advertise.is_ipv4() {
        return Err(Error::AdvertiseFamily { advertise, range: first });
    }
    let of_dns = config.service_cidr.map(|range| nth(range, DNS_OFFSET));
    let cluster_dns = of_dns.ok_or(Error::ServiceRange(config.service_cidr))?;
    Ok(ClusterFacts {
        cluster_cidr: config.cluster_cidr,
        service_cidr: config.service_cidr,
        cluster_dns,
        cluster_domain: config.cluster_domain.clone(),
        fabric_url: format!("https://{}", SocketAddr::new(config.advertise, config.fabric.port())),
    })
}

fn serving_names(config: &Config) -> Names {
    let domain = &config.cluster_domain;
    let mut names = config.names.clone();
    names.dns.extend(BTreeSet::from([
        "localhost".to_owned(),
        "kubernetes".to_owned(),
        "kubernetes.default".to_owned(),
        "kubernetes.default.svc".to_owned(),
        format!("kubernetes.default.svc.{domain}"),
    ]));
    names.addresses.extend([config.advertise, Ipv4Addr::LOCALHOST.into()]);
    names.addresses.extend(nth(config.service_cidr.first(), 1));
    names
}

/// The address `offset` after the range's first, if the range has it.
fn nth(range: IpNet, offset: u128) -> Option<IpAddr> {
    let address: IpAddr = match range.network() {
        IpAddr::V4(first) => IpAddr::V4(u32::from(first).checked_add(u32::try_from(offset).ok()?)?.into()),
        IpAddr::V6(first) => IpAddr::V6(u128::from(first).checked_add(offset)?.into()),
    };
    range.contains(&address).then_some(address)
}

fn client_identity(identity: &pki::Identity) -> client::Identity {
    client::Identity::certificate(identity.cert_pem.clone(), identity.key_pem.clone())
}

fn fabric_tls(pki: &Pki) -> tonic::transport::ServerTlsConfig {
    tonic::transport::ServerTlsConfig::new()
        .identity(tonic::transport::Identity::from_pem(&pki.serving.cert_pem, &pki.serving.key_pem))
        .client_ca_root(tonic::transport::Certificate::from_pem(&pki.ca_pem))
}
