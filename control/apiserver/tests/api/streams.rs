//! Over real connections: TLS, client certificates and tokens, HTTP/2, streams to a node.

use crate::fixture::*;
use apiserver::server_config;
use bytes::Bytes;
use client::{Client, Identity};
use http::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use process::Shutdown;
use serde_json::json;
use std::{convert::Infallible, net::SocketAddr, sync::Arc};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

pub async fn serve(f: &Fixture) -> (String, Shutdown, process::JoinHandle<()>) {
    let (cert, key) = f.pki.issue("kube-apiserver", "gannet");
    let tls = server_config(cert.as_bytes(), key.as_bytes(), f.pki.ca_pem.as_bytes()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let shutdown = Shutdown::new();
    let task = process::spawn("test-server", f.server.clone().serve(listener, tls, shutdown.clone()));
    (url, shutdown, task)
}

fn client(f: &Fixture, url: &str, identity: &Identity) -> Client {
    Client::https(url, f.pki.ca_pem.as_bytes(), identity).unwrap()
}

#[tokio::test]
async fn certificates_and_tokens_are_who_they_say() {
    let f = Fixture::new().await;
    let (url, shutdown, task) = serve(&f).await;
    let who = async |identity: Identity| {
        let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
        let answer = call(&client(&f, &url, &identity), "POST", path, None, "{}").await;
        (answer.code, answer.body["status"]["userInfo"]["username"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(who(f.pki.identity("kubernetes-admin", "system:masters")).await, (201, "kubernetes-admin".into()));
    assert_eq!(who(f.pki.identity("system:node:n1", "system:nodes")).await, (201, "system:node:n1".into()));
    assert_eq!(who(Identity::Anonymous).await.0, 403);
    assert_eq!(who(Identity::Token("nonsense".into())).await.0, 401);
    let token = f.post("/api/v1/namespaces/default/serviceaccounts/default/token", json!({"spec": {}})).await.ok();
    let token = token["status"]["token"].as_str().unwrap().to_owned();
    assert_eq!(who(Identity::Token(token)).await, (201, "system:serviceaccount:default:default".into()));
    let stranger = client(&f, &url, &Pki::new().identity("kubernetes-admin", "system:masters"));
    assert!(stranger.get_bytes("/api").await.is_err());
    shutdown.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn a_watch_over_http2_ends_with_the_server() {
    let f = Fixture::new().await;
    let (url, shutdown, task) = serve(&f).await;
    let admin = client(&f, &url, &f.pki.identity("kubernetes-admin", "system:masters"));
    let request = Request::builder().uri(format!("{MAPS}?watch=1")).body(Bytes::new()).unwrap();
    let response = admin.raw(request).await.unwrap();
    assert_eq!(response.version(), http::Version::HTTP_2);
    f.post(MAPS, config_map("a", json!({}))).await.ok();
    shutdown.cancel();
    task.await.unwrap();
    let bytes = client::collect(response.into_body()).await.unwrap();
    assert!(String::from_utf8_lossy(&bytes).contains("\"ADDED\""));
}

/// A node's API that answers logs with text, and echoes what comes over an upgraded connection. Returns its address.
pub async fn node(f: &Fixture) -> SocketAddr {
    let (cert, key) = f.pki.issue("system:node:n1", "system:nodes");
    let mut tls = server_config(cert.as_bytes(), key.as_bytes(), f.pki.ca_pem.as_bytes()).unwrap();
    tls.alpn_protocols.clear();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    process::spawn("test-node", async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            process::spawn("test-node-connection", async move {
                let stream = acceptor.accept(stream).await.unwrap();
                assert!(stream.get_ref().1.peer_certificates().is_some(), "the API server shows its certificate");
                let service = hyper::service::service_fn(node_answer);
                let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                let _ = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
            });
        }
    });
    address
}

async fn node_answer(mut request: Request<hyper::body::Incoming>) -> Result<Response<client::Body>, Infallible> {
    let path = request.uri().to_string();
    if path.starts_with("/containerLogs") || request.headers().get("upgrade").is_some_and(|to| to == "websocket") {
        let code = if path.starts_with("/containerLogs") { 200 } else { 403 };
        return Ok(Response::builder().status(code).body(client::full(path)).unwrap());
    }
    assert!(request.headers().get("authorization").is_none(), "credentials stay at the API server");
    let upgrade = hyper::upgrade::on(&mut request);
    process::spawn("test-node-echo", async move {
        let mut stream = TokioIo::new(upgrade.await.unwrap());
        let mut buffer = [0; 64];
        while let Ok(length @ 1..) = stream.read(&mut buffer).await {
            stream.write_all(&buffer[..length]).await.unwrap();
        }
    });
    let response = Response::builder()
        .status(101)
        .header("connection", "Upgrade")
        .header("upgrade", "SPDY/3.1")
        .header("x-path", path);
    Ok(response.body(client::empty()).unwrap())
}

/// Sends a raw HTTP/1.1 request as admin over TLS; returns the stream and the head of the answer.
pub async fn raw(f: &Fixture, url: &str, head: &str) -> (tokio_rustls::client::TlsStream<TcpStream>, String) {
    let identity = f.pki.identity("kubernetes-admin", "system:masters");
    let config = client::client_config(f.pki.ca_pem.as_bytes(), &identity).unwrap();
    let address: SocketAddr = url.strip_prefix("https://").unwrap().parse().unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let mut stream = connector.connect(address.ip().into(), stream).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.unwrap());
    }
    (stream, String::from_utf8(answer).unwrap())
}

#[tokio::test]
async fn exec_and_logs_reach_the_node() {
    let f = Fixture::new().await;
    let node = node(&f).await;
    f.post("/api/v1/nodes", json!({"metadata": {"name": "n1"}})).await.ok();
    let status = json!({"status": {
        "addresses": [{"type": "Hostname", "address": "n1"}, {"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": node.port()}},
    }});
    f.merge("/api/v1/nodes/n1/status", status).await.ok();
    f.post(PODS, pod("a")).await.ok();
    f.post(&format!("{PODS}/a/binding"), json!({"metadata": {"name": "a"}, "target": {"kind": "Node", "name": "n1"}}))
        .await
        .ok();
    assert_eq!(f.get(&format!("{PODS}/a/log?tailLines=3")).await.ok(), "/containerLogs/default/a/c?tailLines=3");

    let (url, shutdown, task) = serve(&f).await;
    let request = |upgrade: &str| {
        format!(
            "POST {PODS}/a/exec?command=ls&stdout=true HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: {upgrade}\r\n\
             X-Stream-Protocol-Version: v4.channel.k8s.io\r\nContent-Length: 0\r\n\r\n"
        )
    };
    let (mut stream, head) = raw(&f, &url, &request("SPDY/3.1")).await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    assert!(head.contains("x-path: /exec/default/a/c?command=ls&stdout=true"), "{head}");
    stream.write_all(b"hello").await.unwrap();
    let mut echo = [0; 5];
    stream.read_exact(&mut echo).await.unwrap();
    assert_eq!(&echo, b"hello");
    let (_, head) = raw(&f, &url, &request("websocket")).await;
    assert!(head.starts_with("HTTP/1.1 403"), "{head}");
    let nobody = f.anonymous();
    assert_eq!(call(&nobody, "POST", &format!("{PODS}/a/exec?command=ls"), None, "").await.code, 403);
    shutdown.cancel();
    task.await.unwrap();
}
