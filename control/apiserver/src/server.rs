//! The server as a whole: the road every request takes.

use crate::{
    Config, Error,
    admission::{self, Hooks, Origin, Quotas},
    allocate::{Allocators, addresses},
    auth::{
        self, Knowledge, User,
        authorize::{Attributes, Object, authorize, authorize_request},
        impersonate::impersonate,
        issuer, legacy_token, reviews,
        token::Signer,
    },
    bootstrap, custom, discovery, event_ttl,
    generic::{
        self, Context,
        write::{FieldValidation, Via, Write},
        writer::has_protobuf,
    },
    health,
    http::{
        body, gzip, listener,
        negotiate::{self, Media, Offer},
        path::{self, Path, Target},
        query::Query,
        respond,
        websocket::Socket,
    },
    informed::Informed,
    kinds::Kinds,
    metrics, openapi, storage, subresource,
    webhook::Webhooks,
};
use api::{Gvk, Gvr, Status};
use bytes::Bytes;
use client::{Body, Client, Transport};
use futures::future::BoxFuture;
use http::{HeaderValue, Method, Request, Response, request::Parts};
use process::Shutdown;
use registry::Resource;
use std::sync::{Arc, OnceLock};
use tokio::net::TcpListener;

/// The API server. Made once, shared by the listener and in-process clients.
pub struct Apiserver {
    pub(crate) config: Config,
    pub(crate) signer: Signer,
    pub(crate) auth: Knowledge,
    pub(crate) allocators: Allocators,
    pub(crate) nodes: subresource::node_proxy::NodeDialer,
    /// What decisions about requests read.
    pub(crate) informed: Informed,
    pub(crate) webhooks: Webhooks,
    pub(crate) admission: Hooks,
    pub(crate) quotas: Quotas,
    /// What is served.
    pub(crate) kinds: Kinds,
    /// What events became, shared by all watches.
    pub(crate) recent: generic::watch::Recent,
    pub(crate) busy: Arc<generic::watch::Busy>,
    pub(crate) discovery: discovery::Documents,
    pub(crate) openapi: openapi::Documents,
    /// Set by `serve`: long answers (watches, logs) end with it.
    shutdown: OnceLock<Shutdown>,
}

impl Apiserver {
    /// Reads what the store holds, creates the objects every cluster has, and is ready to answer.
    pub async fn new(config: Config) -> Result<Arc<Self>, Error> {
        let signer = Signer::new(&config.sa_key_pem, &config.issuer).ok_or(Error::SigningKey)?;
        let allocators =
            Allocators::restore(config.store.as_ref(), &config.service_cidrs, config.node_port_range.clone()).await?;
        let nodes = subresource::node_proxy::NodeDialer::new(&config.kubelet_ca_pem, &config.kubelet_client)?;
        let informed = Informed::start(config.store.clone()).await?;
        let webhooks = Webhooks::new(config.store.clone());
        let advertise = config.advertise;
        let server = Arc::new(Self {
            config,
            informed,
            webhooks,
            admission: Hooks::default(),
            quotas: Quotas::default(),
            signer,
            auth: Knowledge::new(),
            allocators,
            nodes,
            kinds: Kinds::new(),
            recent: generic::watch::Recent::new(),
            busy: Arc::default(),
            discovery: discovery::Documents::new(advertise),
            openapi: openapi::Documents::new(),
            shutdown: OnceLock::new(),
        });
        custom::start(&server).await?;
        bootstrap::create(&server).await?;
        auth::rbac::bootstrap::reconcile(&server).await?;
        Ok(server)
    }

    /// Every resource that is served now, built in or custom.
    pub fn resources(&self) -> Vec<Arc<Resource>> {
        self.kinds.snapshot().resources.clone()
    }

    /// A client that calls this server in process as `user`.
    pub fn transport(self: &Arc<Self>, user: User) -> Client {
        Client::new(Arc::new(InProcess { server: self.clone(), user: Arc::new(user) }))
    }

    /// Brings back what was removed or changed of the objects every cluster has; `serve` does so every 10 s.
    pub async fn repair(self: &Arc<Self>) {
        bootstrap::repair(self).await;
    }

    /// Serves HTTPS until the token is cancelled and open requests have ended (or had 5 s to).
    pub async fn serve(self: Arc<Self>, listener: TcpListener, tls: rustls::ServerConfig, shutdown: Shutdown) {
        let _ = self.shutdown.set(shutdown.clone());
        process::spawn("api-addresses", addresses::run(self.clone(), shutdown.clone()));
        process::spawn("api-quotas", admission::quota::recount::run(self.clone(), shutdown.clone()));
        process::spawn("api-bootstrap", bootstrap::run(self.clone(), shutdown.clone()));
        process::spawn("api-events", event_ttl::run(self.clone(), shutdown.clone()));
        process::spawn("api-account-tokens", legacy_token::run(self.clone(), shutdown.clone()));
        process::spawn("api-node-graph", auth::follow_nodes(self.clone(), shutdown.clone()));
        listener::serve(self, listener, tls, shutdown).await;
    }

    /// Whether the server takes no new work.
    pub(crate) fn is_ending(&self) -> bool {
        self.shutdown.get().is_some_and(Shutdown::is_cancelled)
    }

    /// Resolves when the server ends; long answers select on it.
    pub(crate) async fn ending(&self) {
        match self.shutdown.get() {
            Some(shutdown) => shutdown.cancelled().await,
            None => std::future::pending().await,
        }
    }

    /// Answers a request, from wherever it comes.
    pub async fn handle(self: &Arc<Self>, request: Request<Body>) -> Response<Body> {
        if request.uri().path().starts_with(EXTRA) {
            return self.extra(request).await.unwrap_or_else(|status| respond::status(&status));
        }
        let head = request.method() == Method::HEAD;
        let packed = gzip::accepted(request.headers());
        let media = negotiate::error_media(request.headers());
        let mut warnings = Vec::new();
        let answered = match self.answer(request, &mut warnings).await {
            Ok(response) => gzip::wrap(response, packed).await,
            refused => refused,
        };
        let mut response = answered.unwrap_or_else(|status| {
            // Whoever cannot be answered as asked is told so in JSON.
            respond::status_in(&status, if status.code == 406 { Media::Json } else { media })
        });
        for warning in generic::warnings::headers(&warnings) {
            response.headers_mut().append(http::header::WARNING, warning);
        }
        if head {
            *response.body_mut() = client::empty();
        }
        response
    }

    /// Paths that are not the API's own. Authorized like any other; who asks is in the request's extensions.
    async fn extra(&self, request: Request<Body>) -> Result<Response<Body>, Status> {
        let (mut parts, body) = request.into_parts();
        let Path::Other(segments) = path::parse(parts.uri.path())? else { return Err(Status::no_such_resource()) };
        let user = self.identify(&mut parts).await?;
        let (path, verb) = (format!("/{}", segments.join("/")), parts.method.as_str().to_ascii_lowercase());
        authorize(self, &user, &Attributes { verb: &verb, object: Object::Path(&path) }).await?;
        parts.extensions.insert(user);
        match self.config.extra.as_ref().and_then(|extra| extra.handle(Request::from_parts(parts, body))) {
            Some(response) => Ok(response.await),
            None => Err(Status::no_such_resource()),
        }
    }

    /// Who asks, or whom that one acts as.
    async fn identify(&self, request: &mut Parts) -> Result<User, Status> {
        let user = auth::authenticate(self, request).await?;
        let other = impersonate(self, &user, &request.headers).await?;
        Ok(other.unwrap_or(user))
    }

    async fn answer(
        self: &Arc<Self>,
        request: Request<Body>,
        warnings: &mut Vec<String>,
    ) -> Result<Response<Body>, Status> {
        let without_watch = path::without_watch(request.uri().path());
        let parsed = path::parse(without_watch.as_deref().unwrap_or(request.uri().path()))?;
        let query = Query::parse(request.uri().query())?;
        let (mut parts, request_body) = request.into_parts();
        let user = self.identify(&mut parts).await?;
        match parsed {
            Path::Other(segments) => {
                let path = format!("/{}", segments.join("/"));
                let verb = parts.method.as_str().to_ascii_lowercase();
                authorize(self, &user, &Attributes { verb: &verb, object: Object::Path(&path) }).await?;
                self.document(&parts, &path, &segments, &query).await
            }
            Path::Resource(target) => {
                let verb = path::verb(&parts.method, &target, without_watch.is_some() || query.flag("watch"))
                    .ok_or_else(|| {
                        let gvr = Gvr::new(&target.group, &target.version, &target.resource);
                        Status::method_not_allowed(&gvr, parts.method.as_str())
                    })?;
                authorize_request(self, &user, verb, &target, &query).await?;
                if verb == "get" && subresource::is_upgrade(&target.subresource) {
                    // A websocket begins with a GET, and is no less than the POST it stands for.
                    authorize_request(self, &user, "create", &target, &query).await?;
                }
                let request = Request::from_parts(parts, request_body);
                self.resource(request, user, target, verb, query, warnings).await
            }
        }
    }

    /// Paths that are no resources.
    async fn document(
        &self,
        request: &Parts,
        path: &str,
        segments: &[String],
        query: &Query,
    ) -> Result<Response<Body>, Status> {
        if !matches!(request.method, Method::GET | Method::HEAD) {
            return Err(Status::no_such_resource());
        }
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match segments[..] {
            [] => Ok(self.discovery.paths(&self.kinds)),
            ["api" | "apis", ..] => self.discovery.answer(&self.kinds, &segments, &request.headers),
            ["version"] => Ok(health::version()),
            ["healthz" | "livez" | "readyz", ..] => Ok(health::check(self, path, query).await),
            ["metrics"] => Ok(health::metrics(&request.headers)),
            ["openapi", ..] => self.openapi.answer(&self.kinds, &segments, &request.headers, query),
            [".well-known", "openid-configuration"] => Ok(issuer::configuration(&self.config.issuer)),
            ["openid", "v1", "jwks"] => Ok(issuer::keys(&self.signer)),
            _ => Err(Status::no_such_resource()),
        }
    }

    async fn resource(
        self: &Arc<Self>,
        request: Request<Body>,
        user: User,
        target: Target,
        verb: &'static str,
        query: Query,
        warnings: &mut Vec<String>,
    ) -> Result<Response<Body>, Status> {
        if let Some(review) = reviews::find(&target) {
            if verb != "create" {
                return Err(Status::method_not_allowed(
                    &Gvr::new(&target.group, &target.version, &target.resource),
                    verb,
                ));
            }
            let offer = Offer { protobuf: true, forms: false, stream: false, text: false };
            let accept = negotiate::choose(request.headers(), offer)?;
            let content_type = request.headers().get(http::header::CONTENT_TYPE).cloned();
            let validation = FieldValidation::of(query.get("fieldValidation"))?;
            let bytes = body::read(request.into_body()).await?;
            let decoded = generic::decode::decode(&bytes, content_type.as_ref())?;
            let gvk = Gvk::new(review.group, review.version, review.kind);
            let posted = generic::write::conform(&gvk, decoded, validation, warnings)?;
            let answer = reviews::answer(self, &user, review, &target.namespace, posted).await?;
            return respond::in_media(201, accept.media, storage::write(&serde_json::json!(answer)));
        }
        let resource =
            self.kinds.find(&target.group, &target.version, &target.resource).ok_or_else(Status::no_such_resource)?;
        if resource.namespaced == target.namespace.is_empty() && (!resource.namespaced || !target.name.is_empty()) {
            // A namespace on a cluster-scoped kind, or an object of a namespaced kind without one.
            return Err(Status::no_such_resource());
        }
        let asked = metrics::Asked::new(verb, &resource, &target, query.get("dryRun").is_some());
        let answer = self.verb(request, user, target, resource, verb, query, warnings).await;
        let code = match &answer {
            Ok(response) => response.status().as_u16(),
            Err(status) => status.code,
        };
        asked.answered(code);
        answer
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one request, on their way into a Context")]
    async fn verb(
        self: &Arc<Self>,
        request: Request<Body>,
        user: User,
        target: Target,
        resource: Arc<Resource>,
        verb: &'static str,
        query: Query,
        warnings: &mut Vec<String>,
    ) -> Result<Response<Body>, Status> {
        if subresource::is_stream(&target.subresource) {
            let origin = Origin::new(&query);
            let at = (target.namespace.as_str(), target.name.as_str());
            let write = Write::own(self, &user, &resource, at, Via::Server, &origin);
            admission::connect(&write, &target.subresource, &query).await?;
            return subresource::stream(self, &resource, &target, &query, request).await;
        }
        custom::conform::before(
            &self.kinds,
            &resource,
            verb,
            &target.subresource,
            request.headers().get(http::header::CONTENT_TYPE),
            warnings,
        )?;
        let accept = negotiate::choose(
            request.headers(),
            Offer {
                protobuf: has_protobuf(&resource),
                forms: true,
                stream: verb == "watch",
                text: !target.subresource.is_empty(),
            },
        )?;
        let gzip = gzip::accepted(request.headers());
        let (mut parts, request_body) = request.into_parts();
        let socket = if verb == "watch" { Socket::of(&mut parts)? } else { None };
        let body = match verb {
            "get" | "list" | "watch" => Bytes::new(),
            _ => body::read(request_body).await?,
        };
        let origin = Origin::new(&query);
        if let Some(notice) = resource.strategy.deprecation() {
            warnings.push(notice.to_owned());
        }
        let manager = generic::options::manager(&query, &parts.headers);
        let mut context = Context {
            server: self,
            user,
            resource,
            target,
            verb,
            query,
            accept,
            gzip,
            content_type: parts.headers.get(http::header::CONTENT_TYPE).cloned(),
            manager,
            warnings,
            origin: &origin,
        };
        let answer = generic::dispatch(&mut context, body).await;
        let answer = match socket {
            Some(socket) => answer.map(|watch| socket.answer(watch)),
            None => answer,
        };
        warnings.append(&mut origin.take_warnings());
        answer
    }
}

/// Below this, [`crate::Extra`] answers.
const EXTRA: &str = "/gannet/";
struct InProcess {
    server: Arc<Apiserver>,
    user: Arc<User>,
}

impl Transport for InProcess {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'static, Result<Response<Body>, client::Error>> {
        let server = self.server.clone();
        let mut request = request.map(client::full);
        // What a component in this process sets belongs to the user it is.
        if let Ok(agent) = HeaderValue::from_str(self.user.name.rsplit(':').next().unwrap_or_default()) {
            request.headers_mut().entry(http::header::USER_AGENT).or_insert(agent);
        }
        request.extensions_mut().insert(self.user.clone());
        Box::pin(async move { Ok(server.handle(request).await) })
    }
}
