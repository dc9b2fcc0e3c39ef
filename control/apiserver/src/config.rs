//! What the server is given, and why it may not start.

use client::{Body, Identity};
use futures::future::BoxFuture;
use http::{Request, Response};
use ipnet::IpNet;
use std::{
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    sync::Arc,
    time::Duration,
};

/// Everything the server needs from outside.
pub struct Config {
    /// Where objects live.
    pub store: Arc<dyn store::Backend>,
    /// ClusterIPs come from here: one range, or one of each family. The first is that of the `kubernetes` Service, so it is of the family of
    /// [`Config::advertise`], and of Services that name no family.
    pub service_cidrs: Vec<IpNet>,
    /// nodePorts come from here (Kubernetes: 30000-32767).
    pub node_port_range: RangeInclusive<u16>,
    /// Client certificates signed by one of these CAs are believed.
    pub client_ca_pem: Vec<u8>,
    /// ES256 key (PKCS#8 PEM) that signs service account tokens.
    pub sa_key_pem: Vec<u8>,
    /// `iss` of service account tokens, and their default audience.
    pub issuer: String,
    /// Who the server is to a node's API (log, exec, attach, port-forward).
    pub kubelet_client: Identity,
    /// Signs the nodes' serving certificates.
    pub kubelet_ca_pem: Vec<u8>,
    /// Paths beside the API.
    pub extra: Option<Arc<dyn Extra>>,
    /// The address of the `kubernetes` Service's endpoint.
    pub advertise: SocketAddr,
    /// How many of the requests over HTTP/2 make their client connect anew (0: none, 1: all), so that clients spread
    /// over several servers behind one address. Requests under way end undisturbed.
    pub goaway_chance: f64,
    /// How long an event is kept after it last happened; [`EVENT_TTL`].
    pub event_ttl: Duration,
    /// Which addresses `proxy` may call; [`crate::is_proxyable`].
    pub may_proxy_to: fn(IpAddr) -> bool,
}

/// Kubernetes' `--event-ttl`.
pub const EVENT_TTL: Duration = Duration::from_hours(1);

/// Serves paths below `/gannet/` (a node's join). The request is authorized (as a path, by RBAC): who asks
/// ([`crate::User`], anonymous if nobody) is in its extensions. The body has no limit yet.
pub trait Extra: Send + Sync {
    /// `None` if the path is not one of its own; the server then answers 404.
    fn handle(&self, request: Request<Body>) -> Option<BoxFuture<'static, Response<Body>>>;
}

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store fails.
    #[error("the store failed: {0}")]
    Store(#[from] store::Error),
    /// The service account key is none.
    #[error("the service account key is not an ES256 key in PKCS#8 PEM")]
    SigningKey,
    /// The client for the nodes' API cannot be built.
    #[error("the kubelet client's certificates are not usable: {0}")]
    KubeletClient(#[from] client::TlsError),
    /// An object that the cluster needs cannot be written.
    #[error("cannot create {what}: {status}")]
    Bootstrap {
        /// Which.
        what: String,
        /// Why.
        status: api::Status,
    },
    /// The service range is too small to hold an address.
    #[error("the service range {0} is too small")]
    ServiceCidr(IpNet),
    /// There is no service range.
    #[error("there is no service range")]
    NoServiceCidr,
}
