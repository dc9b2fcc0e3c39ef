//! The client over a real unix socket, against a small server.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;
use std::time::Duration;

use cri::v1::runtime_service_server::RuntimeServiceServer;
use cri::{Runtime, RuntimeApi as _};
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::body::Body;
use tonic::codegen::{Service, http};

/// Answers every call with status 12 (unimplemented), as a runtime that knows none of them.
#[derive(Clone)]
struct Nothing;

impl Service<http::Request<Body>> for Nothing {
    type Response = http::Response<Body>;
    type Error = std::convert::Infallible;
    type Future = std::future::Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Self::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Request<Body>) -> Self::Future {
        std::future::ready(Ok(tonic::Status::unimplemented("nothing here").into_http()))
    }
}

impl tonic::server::NamedService for Nothing {
    const NAME: &'static str = <RuntimeServiceServer<()> as tonic::server::NamedService>::NAME;
}

fn serve(socket: &Path) -> tokio::task::JoinHandle<()> {
    let listener = UnixListener::bind(socket).unwrap();
    tokio::task::spawn(async move {
        let stream = UnixListenerStream::new(listener);
        tonic::transport::Server::builder().add_service(Nothing).serve_with_incoming(stream).await.unwrap();
    })
}

#[tokio::test]
async fn the_runtime_may_come_later_and_again() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("cri.sock");
    let runtime = Runtime::connect(&socket).unwrap();
    let error = runtime.version().await.unwrap_err();
    assert!(error.is_unavailable(), "{error}");
    for _ in 0..2 {
        let server = serve(&socket);
        let error = tokio::time::timeout(Duration::from_secs(20), async {
            loop {
                match runtime.version().await.unwrap_err() {
                    error if error.is_unavailable() => tokio::task::yield_now().await,
                    other => return other,
                }
            }
        });
        let error = error.await.unwrap();
        assert!(error.is_unimplemented(), "{error}");
        assert_eq!(error.to_string(), "Version: nothing here");
        server.abort();
        let _ = server.await;
        std::fs::remove_file(&socket).unwrap();
    }
}
