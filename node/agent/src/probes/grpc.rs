//! The gRPC health protocol's `Check`, with its two messages written out by hand: a string in, an enum out.

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};

/// `SERVING` in `grpc.health.v1.HealthCheckResponse`.
const SERVING: u8 = 1;

/// Asks the health service at the address; `Ok` means that it serves.
pub(super) async fn check(host: &str, port: u16, service: &str) -> Result<(), String> {
    let stream = super::connect(host, port).await?;
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| error.to_string())?;
    let request = http::Request::builder()
        .method("POST")
        .uri(format!("http://{}:{port}/grpc.health.v1.Health/Check", super::in_url(host)))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", "kube-probe/1.36")
        .body(Full::new(request(service)?))
        .map_err(|error| error.to_string())?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let failed = |headers: &http::HeaderMap| {
            let status = headers.get("grpc-status").and_then(|v| v.to_str().ok());
            status.filter(|status| *status != "0").map(|status| format!("health check failed with gRPC code {status}"))
        };
        if let Some(message) = failed(response.headers()) {
            return Err(message);
        }
        let body = response.into_body().collect().await.map_err(|error| error.to_string())?;
        if let Some(message) = body.trailers().and_then(failed) {
            return Err(message);
        }
        // Frame header of 5 bytes, then field 1 (varint).
        match body.to_bytes().get(5..) {
            Some([0x08, SERVING]) => Ok(()),
            Some(_) | None => Err("service unhealthy".to_owned()),
        }
    };
    tokio::pin!(answer);
    tokio::select! {
        answer = &mut answer => answer,
        _ = connection => answer.await,
    }
}

/// A length-prefixed frame with the message `{1: service}`.
fn request(service: &str) -> Result<Bytes, String> {
    let name = service.as_bytes();
    let length = u8::try_from(name.len()).ok().filter(|l| *l < 0x80).ok_or("the service name is too long")?;
    let message = if name.is_empty() { Vec::new() } else { [&[0x0a, length], name].concat() };
    let mut frame = vec![0];
    frame.extend(u32::try_from(message.len()).map_err(|e| e.to_string())?.to_be_bytes());
    frame.extend(message);
    Ok(Bytes::from(frame))
}
