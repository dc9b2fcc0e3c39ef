//! What load balancers ask a node, over real connections.
use std::io::{Read as _, Write as _};
use std::net::TcpStream as Client;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use agent::network::NetworkStatus;
use agent::network::health::serve;
use datapath::{HealthCheck, ServiceName};
use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// A port that nobody had a moment ago.
fn free_port() -> NonZeroU16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    NonZeroU16::new(listener.local_addr().unwrap().port()).unwrap()
}

fn ask(port: NonZeroU16, path: &str) -> std::io::Result<String> {
    let mut client = Client::connect(("127.0.0.1", port.get()))?;
    client.set_read_timeout(Some(Duration::from_secs(10)))?;
    client.write_all(format!("GET {path} HTTP/1.1\r\nhost: node\r\n\r\n").as_bytes())?;
    let mut text = String::new();
    client.read_to_string(&mut text)?;
    Ok(text)
}

/// Asks again until the answer has what is expected.
async fn expect(port: NonZeroU16, path: &'static str, parts: &[&str]) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        let answer = tokio::task::spawn_blocking(move || ask(port, path)).await.unwrap();
        let text = answer.unwrap_or_default();
        if parts.iter().all(|part| text.contains(part)) {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{parts:?} not in {text:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn check(count: usize) -> HealthCheck {
    let service = ServiceName { namespace: "default".into(), name: "web".into() };
    HealthCheck { service, local_endpoints: count }
}

#[tokio::test(flavor = "multi_thread")]
async fn balancers_are_told_where_endpoints_are() {
    let (publish, status) = watch::channel(NetworkStatus::default());
    let (proxy, port) = (free_port(), free_port());
    let shutdown = CancellationToken::new();
    let server = tokio::spawn(serve(status, proxy, shutdown.clone()));
    expect(proxy, "/healthz", &["HTTP/1.1 503", "\"nodeEligible\":true"]).await;
    expect(proxy, "/elsewhere", &["HTTP/1.1 404"]).await;

    let with = |count| NetworkStatus {
        epoch_applied: 7,
        updated: Some(Timestamp::UNIX_EPOCH),
        health_checks: Arc::new([(port, check(count))].into()),
        ..NetworkStatus::default()
    };
    publish.send_replace(with(2));
    expect(proxy, "/healthz", &["HTTP/1.1 200", "\"lastUpdated\":\"1970-01-01T00:00:00Z\""]).await;
    let body = r#"{"localEndpoints":2,"service":{"name":"web","namespace":"default"},"serviceProxyHealthy":true}"#;
    expect(port, "/", &["HTTP/1.1 200", "x-load-balancing-endpoint-weight: 2", body]).await;
    publish.send_replace(with(0));
    expect(port, "/", &["HTTP/1.1 503", "\"localEndpoints\":0"]).await;
    publish.send_replace(NetworkStatus { error: Some("tables".into()), ..with(2) });
    expect(port, "/", &["HTTP/1.1 503", "\"serviceProxyHealthy\":false"]).await;

    publish.send_replace(NetworkStatus::default());
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while tokio::task::spawn_blocking(move || ask(port, "/")).await.unwrap().is_ok() {
        assert!(tokio::time::Instant::now() < deadline, "the port is still open");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    shutdown.cancel();
    server.await.unwrap();
}
