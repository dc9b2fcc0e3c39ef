//! A server over a store in memory, and ways to call it.

use apiserver::{Apiserver, Config, User};
use bytes::Bytes;
use client::{Body, Client, Identity};
use http::{Request, Response};
use http_body_util::BodyExt;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use std::sync::Arc;

pub struct Fixture {
    pub server: Arc<Apiserver>,
    pub store: Arc<dyn store::Backend>,
    pub admin: Client,
    pub pki: Pki,
}

pub struct Pki {
    pub ca_pem: String,
    ca: Issuer<'static, KeyPair>,
}

impl Pki {
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "ca");
        let ca_pem = params.self_signed(&key).unwrap().pem();
        Self { ca_pem, ca: Issuer::new(params, key) }
    }

    /// A certificate for 127.0.0.1 with this CN and O, and its key.
    pub fn issue(&self, name: &str, organization: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.distinguished_name.push(DnType::OrganizationName, organization);
        (params.signed_by(&key, &self.ca).unwrap().pem(), key.serialize_pem())
    }

    pub fn identity(&self, name: &str, organization: &str) -> Identity {
        let (cert, key) = self.issue(name, organization);
        Identity::certificate(cert, key)
    }
}

/// A code and a JSON answer.
pub struct Answer {
    pub code: u16,
    pub body: Value,
    pub headers: http::HeaderMap,
}

impl Answer {
    pub fn ok(self) -> Value {
        assert!((200..300).contains(&self.code), "{} {}", self.code, self.body);
        self.body
    }

    /// Code, reason and message.
    pub fn refused(self) -> (u16, String, String) {
        assert_eq!(self.body["kind"], "Status", "{}", self.body);
        assert_eq!(self.body["code"], self.code);
        let text = |field: &str| self.body[field].as_str().unwrap_or_default().to_owned();
        (self.code, text("reason"), text("message"))
    }
}

impl Fixture {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let pki = Pki::new();
        let store = store::memory();
        let mut config = Config {
            store: store.clone(),
            service_cidrs: vec!["10.96.0.0/24".parse().unwrap()],
            node_port_range: 30000..=30015,
            client_ca_pem: pki.ca_pem.clone().into_bytes(),
            sa_key_pem: KeyPair::generate().unwrap().serialize_pem().into_bytes(),
            issuer: "https://kubernetes.default.svc.cluster.local".to_owned(),
            kubelet_client: pki.identity("kube-apiserver-kubelet-client", "system:masters"),
            kubelet_ca_pem: pki.ca_pem.clone().into_bytes(),
            extra: None,
            advertise: "192.0.2.1:6443".parse().unwrap(),
            goaway_chance: 0.0,
            event_ttl: apiserver::EVENT_TTL,
            may_proxy_to: |_| true,
        };
        change(&mut config);
        let server = Apiserver::new(config).await.unwrap();
        let admin = server.transport(User::new("admin", ["system:masters"]));
        let fixture = Self { server, store, admin, pki };
        let account =
            fixture.post("/api/v1/namespaces/default/serviceaccounts", json!({"metadata": {"name": "default"}})).await;
        assert!(matches!(account.code, 201 | 409), "{}", account.body);
        fixture
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, None, Bytes::new()).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.call("POST", path, Some("application/json"), body.to_string()).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.call("PUT", path, Some("application/json"), body.to_string()).await
    }

    pub async fn merge(&self, path: &str, body: Value) -> Answer {
        self.call("PATCH", path, Some("application/merge-patch+json"), body.to_string()).await
    }

    pub async fn delete(&self, path: &str, body: Value) -> Answer {
        self.call("DELETE", path, Some("application/json"), body.to_string()).await
    }

    pub async fn call(&self, method: &str, path: &str, content_type: Option<&str>, body: impl Into<Bytes>) -> Answer {
        call(&self.admin, method, path, content_type, body).await
    }

    pub fn as_user(&self, name: &str, groups: &[&str]) -> Client {
        self.server.transport(User::new(name, groups.iter().copied()))
    }

    pub fn anonymous(&self) -> Client {
        self.server.transport(User::anonymous())
    }

    /// The raw response to a GET, with an Accept header.
    pub async fn fetch(&self, path: &str, accept: &str) -> Response<Body> {
        let request = Request::builder().uri(path).header("accept", accept).body(Bytes::new()).unwrap();
        self.admin.raw(request).await.unwrap()
    }
}

pub async fn call(
    client: &Client,
    method: &str,
    path: &str,
    content_type: Option<&str>,
    body: impl Into<Bytes>,
) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(content_type) = content_type {
        request = request.header("content-type", content_type);
    }
    answer(client.raw(request.body(body.into()).unwrap()).await.unwrap()).await
}

pub async fn answer(response: Response<Body>) -> Answer {
    let (parts, body) = response.into_parts();
    let bytes = client::collect(body).await.unwrap();
    let body = serde_json::from_slice(&bytes).unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into_owned().into());
    Answer { code: parts.status.as_u16(), body, headers: parts.headers }
}

/// The lines of a watch, one after another.
pub struct Events {
    body: Body,
    buffer: Vec<u8>,
}

impl Events {
    pub async fn open(fixture: &Fixture, path: &str) -> Self {
        Self::accepting(fixture, path, "application/json").await
    }

    pub async fn accepting(fixture: &Fixture, path: &str, accept: &str) -> Self {
        let response = fixture.fetch(path, accept).await;
        assert_eq!(response.status(), 200, "{path}");
        Self { body: response.into_body(), buffer: Vec::new() }
    }

    /// `None` at the end of the stream.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = self.body.frame().await?.unwrap();
            self.buffer.extend_from_slice(&frame.into_data().unwrap());
        }
    }

    /// The next event as `TYPE name`.
    pub async fn told(&mut self) -> String {
        let event = self.next().await.expect("another event");
        format!("{} {}", event["type"].as_str().unwrap(), event["object"]["metadata"]["name"].as_str().unwrap_or(""))
    }
}

pub fn config_map(name: &str, labels: Value) -> Value {
    json!({"metadata": {"name": name, "labels": labels}, "data": {"k": "v"}})
}

pub fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"app": name}}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
}

pub const MAPS: &str = "/api/v1/namespaces/default/configmaps";
pub const PODS: &str = "/api/v1/namespaces/default/pods";
pub const SERVICES: &str = "/api/v1/namespaces/default/services";
pub const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

pub fn deployment(name: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "c", "image": "i"}]},
            },
        },
    })
}
