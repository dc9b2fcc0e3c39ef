//! Row 24: proxies to pods, Services and nodes.

use crate::{
    fixture::*,
    streams::{node, raw, serve},
};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const STRATEGIC: Option<&str> = Some("application/strategic-merge-patch+json");

/// Answers each request with its head, redirects `/redirect`, and echoes what comes over a websocket.
async fn echo(listener: tokio::net::TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let (mut head, mut buffer) = (Vec::new(), [0; 1024]);
            while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                match stream.read(&mut buffer).await {
                    Ok(0) | Err(_) => return,
                    Ok(n) => head.extend_from_slice(&buffer[..n]),
                }
            }
            let text = String::from_utf8_lossy(&head).to_lowercase();
            if text.contains("upgrade: websocket") {
                let answer = "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n";
                stream.write_all(answer.as_bytes()).await.unwrap();
                while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                    stream.write_all(&buffer[..length]).await.unwrap();
                }
                return;
            }
            let answer = if text.contains(" /redirect ") {
                "HTTP/1.1 302 Found\r\nlocation: /there\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned()
            } else {
                format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}", text.len())
            };
            let _ = stream.write_all(answer.as_bytes()).await;
        });
    }
}

#[tokio::test]
async fn row_24_proxy_to_pods_and_services() {
    let f = Fixture::new().await;
    let ip = std::net::Ipv4Addr::LOCALHOST;
    let listener = tokio::net::TcpListener::bind((ip, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(echo(listener));
    let mut wanted = pod("a");
    wanted["spec"]["containers"][0]["ports"] = json!([{"name": "web", "containerPort": port}]);
    f.post(PODS, wanted).await.ok();
    let (code, _, message) = f.get(&format!("{PODS}/a/proxy/")).await.refused();
    assert_eq!((code, message.as_str()), (400, "address not allowed"));
    let status = json!({"status": {"phase": "Running", "podIP": ip.to_string(), "podIPs": [{"ip": ip.to_string()}]}});
    f.call("PATCH", &format!("{PODS}/a/status"), STRATEGIC, status.to_string()).await.ok();
    for name in ["a".to_owned(), format!("a:{port}"), "http:a:web".to_owned()] {
        let answer = f.get(&format!("{PODS}/{name}/proxy/metrics/x?q=1")).await;
        assert_eq!(answer.code, 200, "{name} {}", answer.body);
        let head = answer.body.as_str().unwrap();
        assert!(head.starts_with("get /metrics/x?q=1 http/1.1"), "{head}");
        assert!(!head.contains("authorization") && head.contains("x-forwarded-uri"), "{head}");
    }
    let posted = f.post(&format!("{PODS}/a/proxy"), json!({"x": 1})).await;
    assert!(posted.body.as_str().unwrap().starts_with("post / http/1.1"), "{}", posted.body);
    let moved = f.get(&format!("{PODS}/a/proxy/redirect")).await;
    assert_eq!(moved.headers["location"], "/api/v1/namespaces/default/pods/a/proxy/there");

    f.post(SERVICES, json!({"metadata": {"name": "s"}, "spec": {"ports": [{"name": "http", "port": 80}]}})).await.ok();
    let (code, reason, message) = f.get(&format!("{SERVICES}/s/proxy/")).await.refused();
    assert_eq!((code, reason.as_str()), (503, "ServiceUnavailable"));
    assert_eq!(message, "no endpoints available for service \"s\"");
    let (_, _, message) = f.get(&format!("{SERVICES}/s:other/proxy/")).await.refused();
    assert_eq!(message, "no service port \"other\" found for service \"s\"");
    let slice = json!({
        "metadata": {"name": "s-1", "labels": {"kubernetes.io/service-name": "s"}}, "addressType": "IPv4",
        "endpoints": [{"addresses": [ip.to_string()], "conditions": {"ready": true}}], "ports": [{"name": "http", "port": port}],
    });
    f.post("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", slice).await.ok();
    for name in ["s", "s:http", "s:80", "http:s:http"] {
        let answer = f.get(&format!("{SERVICES}/{name}/proxy/x")).await;
        assert!(answer.body.as_str().unwrap_or_default().starts_with("get /x http/1.1"), "{name} {}", answer.body);
    }
    assert_eq!(f.get(&format!("{SERVICES}/ftp:s:http/proxy/")).await.code, 400);
}

/// A pod at a port of this machine.
async fn pod_at(f: &Fixture, port: u16) {
    let mut wanted = pod("a");
    wanted["spec"]["containers"][0]["ports"] = json!([{"name": "web", "containerPort": port}]);
    f.post(PODS, wanted).await.ok();
    let status = json!({"status": {"phase": "Running", "podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}]}});
    f.call("PATCH", &format!("{PODS}/a/status"), STRATEGIC, status.to_string()).await.ok();
}

#[tokio::test]
async fn row_24_the_control_planes_surroundings_are_not_proxied_to() {
    let f = Fixture::with(|config| config.may_proxy_to = apiserver::is_proxyable).await;
    pod_at(&f, 80).await;
    let (code, _, message) = f.get(&format!("{PODS}/a/proxy/")).await.refused();
    assert_eq!((code, message.as_str()), (400, "address not allowed"));
    for (ip, allowed) in
        [("169.254.169.254", false), ("::1", false), ("0.0.0.0", false), ("fe80::1", false), ("10.0.0.1", true)]
    {
        assert_eq!(apiserver::is_proxyable(ip.parse().unwrap()), allowed, "{ip}");
    }
}

#[tokio::test]
async fn row_24_upgrades_are_proxied() {
    let f = Fixture::new().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    pod_at(&f, listener.local_addr().unwrap().port()).await;
    tokio::spawn(echo(listener));
    let (url, shutdown, task) = serve(&f).await;
    let request = format!(
        "GET {PODS}/a/proxy/socket?x=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    let (mut stream, head) = raw(&f, &url, &request).await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    assert!(head.to_lowercase().contains("upgrade: websocket"), "{head}");
    stream.write_all(b"frames").await.unwrap();
    let mut back = [0; 6];
    stream.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"frames");
    shutdown.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn row_24_proxy_to_nodes() {
    let f = Fixture::new().await;
    let own_api = node(&f).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let other = listener.local_addr().unwrap().port();
    tokio::spawn(echo(listener));
    f.post("/api/v1/nodes", json!({"metadata": {"name": "n1"}})).await.ok();
    assert_eq!(f.get("/api/v1/nodes/n2/proxy/").await.refused().2, "nodes \"n2\" not found");
    let status = json!({"status": {
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": own_api.port()}},
    }});
    f.merge("/api/v1/nodes/n1/status", status).await.ok();
    // The node's own API, by whatever it is called, is shown the API server's certificate.
    for name in ["n1".to_owned(), format!("n1:{}", own_api.port()), format!("https:n1:{}", own_api.port())] {
        let answer = f.get(&format!("/api/v1/nodes/{name}/proxy/containerLogs/default/a/c?tailLines=3")).await;
        assert_eq!(answer.ok(), "/containerLogs/default/a/c?tailLines=3", "{name}");
    }
    // Another port is whatever listens there.
    let answer = f.get(&format!("/api/v1/nodes/n1:{other}/proxy/metrics")).await.ok();
    assert!(answer.as_str().unwrap().starts_with("get /metrics http/1.1"), "{answer}");
    assert_eq!(f.get("/api/v1/nodes/n1:web/proxy/").await.code, 400);
    let client = f.as_user("somebody", &[]);
    assert_eq!(call(&client, "GET", "/api/v1/nodes/n1/proxy/x", None, "").await.code, 403);
}
