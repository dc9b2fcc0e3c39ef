//! Row 38: HTTP.

use crate::{fixture::*, streams::serve};
use bytes::Bytes;
use client::Client;
use http::{Request, Version};
use serde_json::json;
use std::io::Read;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

async fn fetch(f: &Fixture, path: &str, encoding: &str) -> (http::HeaderMap, Bytes) {
    let request = Request::builder().uri(path).header("accept-encoding", encoding).body(Bytes::new()).unwrap();
    let (parts, body) = f.admin.raw(request).await.unwrap().into_parts();
    (parts.headers, client::collect(body).await.unwrap())
}

#[tokio::test]
async fn row_38_long_answers_are_packed() {
    let f = Fixture::new().await;
    let long = |name: &str| {
        let mut map = config_map(name, json!({}));
        map["data"]["long"] = "0123456789".repeat(9_000).into();
        map
    };
    f.post(MAPS, long("a")).await.ok();
    let (headers, body) = fetch(&f, MAPS, "gzip").await;
    assert!(!headers.contains_key("content-encoding") && body.len() < 128 << 10, "{}", body.len());
    assert_eq!(headers["cache-control"], "no-cache, private");
    f.post(MAPS, long("b")).await.ok();
    let (headers, packed) = fetch(&f, MAPS, "gzip").await;
    assert_eq!(
        (&headers["content-encoding"], &headers["content-type"]),
        (&"gzip".parse().unwrap(), &"application/json".parse().unwrap())
    );
    let mut text = String::new();
    flate2::read::GzDecoder::new(&packed[..]).read_to_string(&mut text).unwrap();
    let (headers, plain) = fetch(&f, MAPS, "identity").await;
    assert!(!headers.contains_key("content-encoding"));
    assert_eq!(text.as_bytes(), &plain[..]);
    assert!(packed.len() < plain.len() / 10);
}

#[tokio::test]
async fn row_38_a_hundred_streams_on_one_connection() {
    let f = Fixture::new().await;
    let (url, shutdown, task) = serve(&f).await;
    let admin =
        Client::https(&url, f.pki.ca_pem.as_bytes(), &f.pki.identity("kubernetes-admin", "system:masters")).unwrap();
    let mut watches = Vec::new();
    for _ in 0..120 {
        let request = Request::builder().uri(format!("{MAPS}?watch=1")).body(Bytes::new()).unwrap();
        let response = admin.raw(request).await.unwrap();
        assert_eq!((response.status().as_u16(), response.version()), (200, Version::HTTP_2));
        watches.push(response);
    }
    f.post(MAPS, config_map("a", json!({}))).await.ok();
    shutdown.cancel();
    for watch in watches {
        let bytes = client::collect(watch.into_body()).await.unwrap();
        assert!(String::from_utf8_lossy(&bytes).contains("\"ADDED\""));
    }
    task.await.unwrap();
}

/// What a server answers to raw bytes over TLS with HTTP/1.1.
pub async fn raw(f: &Fixture, url: &str, request: &[u8], half_closed: bool) -> String {
    let mut tls =
        client::client_config(f.pki.ca_pem.as_bytes(), &f.pki.identity("kubernetes-admin", "system:masters")).unwrap();
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let address = url.trim_start_matches("https://");
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("127.0.0.1").unwrap();
    let mut stream = tokio_rustls::TlsConnector::from(std::sync::Arc::new(tls)).connect(name, stream).await.unwrap();
    // The server may stop reading before all is written.
    let _ = stream.write_all(request).await;
    if half_closed {
        let _ = stream.shutdown().await;
    }
    let mut out = Vec::new();
    let read = async {
        let mut buffer = [0; 4096];
        while let Ok(n @ 1..) = stream.read(&mut buffer).await {
            out.extend_from_slice(&buffer[..n]);
            if out.windows(4).any(|four| four == b"\r\n\r\n") && out.ends_with(b"}") {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(std::time::Duration::from_secs(20), read).await;
    String::from_utf8_lossy(&out).into_owned()
}

#[tokio::test]
async fn row_38_requests_that_are_none() {
    let f = Fixture::new().await;
    let (url, shutdown, task) = serve(&f).await;
    let head = |method: &str, path: &str, rest: &str| {
        format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{rest}\r\n").into_bytes()
    };
    for (request, half_closed, want) in [
        (head("GET", "/api/v1/namespaces/default", ""), false, "200"),
        (head("GET", "/api/v1/namespaces/default", ""), true, ""),
        (head("GET", "/api/v1/namespaces/default%2f..%2fx", ""), false, "400"),
        (head("GET", "/api/v1/namespaces/../namespaces", ""), false, "400"),
        (head("GET", "/api/v1//namespaces", ""), false, "400"),
        (head("OPTIONS", "/api/v1/namespaces", "Origin: http://x\r\n"), false, "405"),
        (head("POST", MAPS, "Content-Type: application/json\r\nContent-Length: 10\r\n"), true, ""),
        (b"GARBAGE\r\n\r\n".to_vec(), false, "400"),
    ] {
        let answer = raw(&f, &url, &request, half_closed).await;
        let code = answer.split(' ').nth(1).unwrap_or_default();
        assert!(want.is_empty() || code == want, "{}: {answer}", String::from_utf8_lossy(&request));
        assert!(!code.starts_with('5'), "{answer}");
    }
    let mut long = head("POST", MAPS, "Content-Type: application/json\r\nContent-Length: 5000000\r\n");
    long.resize(long.len() + 5_000_000, b'x');
    let answer = raw(&f, &url, &long, false).await;
    assert!(
        answer.starts_with("HTTP/1.1 413") && answer.contains("Request entity too large: limit is 3145728"),
        "{answer}"
    );
    shutdown.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn row_38_clients_are_told_to_connect_anew() {
    let f = Fixture::with(|config| config.goaway_chance = 1.0).await;
    let (url, shutdown, task) = serve(&f).await;
    let mut tls =
        client::client_config(f.pki.ca_pem.as_bytes(), &f.pki.identity("kubernetes-admin", "system:masters")).unwrap();
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let stream = tokio::net::TcpStream::connect(url.trim_start_matches("https://")).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("127.0.0.1").unwrap();
    let stream = tokio_rustls::TlsConnector::from(std::sync::Arc::new(tls)).connect(name, stream).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(hyper_util::rt::TokioExecutor::new(), io).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = |path: &str| Request::get(format!("{url}{path}")).body(client::empty()).unwrap();
    // What is under way goes on.
    let watch = sender.send_request(request(&format!("{MAPS}?watch=1&timeoutSeconds=1"))).await.unwrap();
    assert_eq!(watch.status(), 200);
    assert!(tokio::time::timeout(std::time::Duration::from_secs(20), sender.ready()).await.is_ok());
    let body = http_body_util::BodyExt::collect(watch.into_body()).await.unwrap().to_bytes();
    assert!(body.is_empty() || body.ends_with(b"\n"));
    drop(sender);
    tokio::time::timeout(std::time::Duration::from_secs(20), connection).await.unwrap().unwrap().unwrap();
    // The pool of a client connects anew by itself.
    let admin =
        Client::https(&url, f.pki.ca_pem.as_bytes(), &f.pki.identity("kubernetes-admin", "system:masters")).unwrap();
    for _ in 0..5 {
        let request = Request::builder().uri(MAPS).body(Bytes::new()).unwrap();
        assert_eq!(admin.raw(request).await.unwrap().status(), 200);
    }
    shutdown.cancel();
    task.await.unwrap();
}
