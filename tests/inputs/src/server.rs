//! An API server in memory that takes requests as an administrator's.

use std::cell::RefCell;
use std::sync::Arc;

use apiserver::{Apiserver, Config, User};
use bytes::Bytes;
use client::{Client, Identity};
use http::Request;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use tokio::runtime::Runtime;

/// Requests a server answers before a fresh one takes over: what they leave behind stays small.
const REQUESTS: usize = 20_000;

struct Server {
    runtime: Runtime,
    admin: Client,
    left: usize,
    _server: Arc<Apiserver>,
}

thread_local! {
    static SERVER: RefCell<Option<Server>> = const { RefCell::new(None) };
}

/// What patches are made to, and requests find.
const OBJECTS: &[(&str, &str)] = &[
    ("/api/v1/namespaces/default/serviceaccounts", r#"{"metadata":{"name":"default"}}"#),
    (
        "/api/v1/namespaces/default/configmaps",
        r#"{"metadata":{"name":"a","labels":{"x":"y"}},"data":{"k":"v","l":"w"}}"#,
    ),
    (
        "/apis/apps/v1/namespaces/default/deployments",
        r#"{"metadata":{"name":"d"},"spec":{"replicas":2,"selector":{"matchLabels":{"app":"d"}},"template":{"metadata":{"labels":{"app":"d"}},"spec":{"containers":[{"name":"one","image":"i:1","ports":[{"containerPort":80}],"env":[{"name":"A","value":"1"}]},{"name":"two","image":"i:2"}]}}}}"#,
    ),
];

impl Server {
    fn new() -> Server {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (server, admin) = runtime.block_on(async {
            let key = KeyPair::generate().expect("a key");
            let mut params = CertificateParams::new(Vec::new()).expect("no names");
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let ca_pem = params.self_signed(&key).expect("self-signed").pem();
            let server = Apiserver::new(Config {
                store: store::memory(),
                service_cidrs: vec!["10.96.0.0/24".parse().expect("a range")],
                node_port_range: 30000..=30015,
                client_ca_pem: ca_pem.clone().into_bytes(),
                sa_key_pem: KeyPair::generate().expect("a key").serialize_pem().into_bytes(),
                issuer: "https://kubernetes.default.svc.cluster.local".to_owned(),
                kubelet_client: Identity::certificate(ca_pem.clone(), key.serialize_pem()),
                kubelet_ca_pem: ca_pem.into_bytes(),
                extra: None,
                advertise: "192.0.2.1:6443".parse().expect("an address"),
                goaway_chance: 0.0,
                event_ttl: apiserver::EVENT_TTL,
                may_proxy_to: apiserver::is_proxyable,
            });
            let server = server.await.expect("the server starts");
            let admin = server.transport(User::new("admin", ["system:masters"]));
            (server, admin)
        });
        let made = Server { runtime, admin, left: REQUESTS, _server: server };
        for (path, body) in OBJECTS {
            let code = made.call("POST", path, "application/json", body.as_bytes());
            assert!(matches!(code, Some(201 | 409)), "{path}: {code:?}");
        }
        made
    }

    fn call(&self, method: &str, path: &str, content_type: &str, body: &[u8]) -> Option<u16> {
        self.send(method, path, &[("content-type", content_type.as_bytes())], body)
    }

    /// The answer's code; `None` when no request can be made of the parts.
    fn send(&self, method: &str, path: &str, headers: &[(&str, &[u8])], body: &[u8]) -> Option<u16> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Bytes::copy_from_slice(body)).ok()?;
        // A watch has no end of its own.
        let endless = path.contains("watch") || path.contains("follow");
        self.runtime.block_on(async {
            let response = self.admin.raw(request).await.ok()?;
            let code = response.status().as_u16();
            let body = if endless { Bytes::new() } else { client::collect(response.into_body()).await.ok()? };
            let text = String::from_utf8_lossy(&body);
            assert!(code != 500, "{method} {path}: {text}");
            Some(code)
        })
    }
}

/// Makes a request; a panic when the answer is 500.
pub(crate) fn call(method: &str, path: &str, content_type: &str, body: &[u8]) -> Option<u16> {
    send(method, path, &[("content-type", content_type.as_bytes())], body)
}

/// [`call`] with these headers.
pub(crate) fn send(method: &str, path: &str, headers: &[(&str, &[u8])], body: &[u8]) -> Option<u16> {
    SERVER.with_borrow_mut(|slot| {
        let server = slot.get_or_insert_with(Server::new);
        let code = server.send(method, path, headers, body);
        server.left -= 1;
        if server.left == 0 {
            *slot = None;
        }
        code
    })
}
