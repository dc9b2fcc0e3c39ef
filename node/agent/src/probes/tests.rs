use http_body_util::Full;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::http::{Get, get};

/// A server that answers each connection once with this status.
async fn server(status: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    process::spawn("test server", async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let answer = hyper::service::service_fn(move |_| async move {
                let response = http::Response::builder().status(status).body(Full::new(Bytes::from_static(b"body")));
                Ok::<_, std::convert::Infallible>(response.unwrap())
            });
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        }
    });
    port
}

fn request(port: u16) -> Get<'static> {
    Get { host: "127.0.0.1", port, tls: false, path: "healthz", headers: &[] }
}

#[tokio::test]
async fn the_status_is_the_answer_also_when_the_server_closes_at_once() {
    let port = server(204).await;
    for _ in 0..200 {
        assert_eq!(get(request(port)).await, Ok(204));
    }
}

#[tokio::test]
async fn nobody_listening_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let error = get(request(port)).await.unwrap_err();
    assert!(error.contains("refused"), "{error}");
}
