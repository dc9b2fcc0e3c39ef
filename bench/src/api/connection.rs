//! One TLS connection that speaks HTTP/1.1: what one client of the API has.

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use process::JoinHandle;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::target::Target;

/// A connection. One request at a time.
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    authority: String,
    token: Option<String>,
    driver: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Connection {
    /// Connects and shakes hands.
    ///
    /// # Errors
    /// When nobody listens, or is not who the kubeconfig says.
    pub async fn open(target: &Target) -> anyhow::Result<Connection> {
        let stream = TcpStream::connect(&target.authority).await.context("cannot connect")?;
        stream.set_nodelay(true)?;
        let stream = TlsConnector::from(target.tls.clone()).connect(target.name.clone(), stream).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let driver = process::spawn("bench-connection", async move {
            // Its end shows in the next request.
            let _ = connection.await;
        });
        Ok(Connection { sender, authority: target.authority.clone(), token: target.token.clone(), driver })
    }

    /// Sends a request and returns the answer's head and its body as it comes.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn stream(&mut self, method: Method, path: &str, body: Bytes) -> anyhow::Result<(StatusCode, Incoming)> {
        self.sender.ready().await?;
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, &self.authority);
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let response = self.sender.send_request(request.body(Full::new(body))?).await?;
        Ok((response.status(), response.into_body()))
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn call(&mut self, method: Method, path: &str, body: Bytes) -> anyhow::Result<(StatusCode, Bytes)> {
        let (status, body) = self.stream(method, path, body).await?;
        Ok((status, body.collect().await?.to_bytes()))
    }

    /// As [`Connection::call`]; anything but success is an error.
    ///
    /// # Errors
    /// When the connection breaks or the server refuses.
    pub async fn must(&mut self, method: Method, path: &str, body: Bytes) -> anyhow::Result<Bytes> {
        let (status, answer) = self.call(method.clone(), path, body).await?;
        if !status.is_success() {
            bail!("{method} {path}: {status}: {}", String::from_utf8_lossy(&answer[..answer.len().min(300)]));
        }
        Ok(answer)
    }

    /// Reads a whole answer and only counts its bytes.
    ///
    /// # Errors
    /// When the connection breaks or the server refuses.
    pub async fn drain(&mut self, path: &str) -> anyhow::Result<u64> {
        let (status, mut body) = self.stream(Method::GET, path, Bytes::new()).await?;
        if !status.is_success() {
            bail!("GET {path}: {status}");
        }
        let mut bytes = 0;
        while let Some(frame) = body.frame().await {
            bytes += frame?.data_ref().map_or(0, |data| data.len() as u64);
        }
        Ok(bytes)
    }
}
