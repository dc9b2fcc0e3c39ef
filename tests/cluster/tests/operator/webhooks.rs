//! The webhooks an operator brings along: conversion, mutation and validation of Widgets, over TLS.

use std::convert::Infallible;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// A running server; it ends with the test's runtime.
pub struct Webhooks {
    pub url: String,
    /// PEM of the certificate clients are to trust.
    pub ca: String,
}

impl Webhooks {
    pub async fn start() -> Result<Self> {
        let certified = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()])?;
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certified.cert.der().clone()], key.into())?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("https://127.0.0.1:{}", listener.local_addr()?.port());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    // A caller that goes away ends its own connection only.
                    let _ = server.serve_connection(TokioIo::new(stream), service_fn(answer)).await;
                });
            }
        });
        Ok(Self { url, ca: STANDARD.encode(certified.cert.pem()) })
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let answered = match request.into_body().collect().await {
        Ok(body) => review(&path, &body.to_bytes()),
        Err(error) => Err(error.into()),
    };
    Ok(match answered {
        Ok(value) => Response::new(Full::new(value.to_string().into())),
        Err(error) => {
            let mut response = Response::new(Full::new(error.to_string().into()));
            *response.status_mut() = hyper::StatusCode::INTERNAL_SERVER_ERROR;
            response
        }
    })
}

fn review(path: &str, body: &[u8]) -> Result<Value> {
    let mut review: Value = serde_json::from_slice(body)?;
    let request = review["request"].take();
    let uid = request["uid"].clone();
    let response = match path {
        "/convert" => {
            let desired = request["desiredAPIVersion"].as_str().context("no desiredAPIVersion")?;
            let objects = request["objects"].as_array().context("no objects")?;
            let converted: Vec<Value> = objects.iter().map(|object| convert(object, desired)).collect();
            json!({"uid": uid, "convertedObjects": converted, "result": {"status": "Success"}})
        }
        "/mutate" => {
            let patch =
                json!([{"op": "add", "path": "/metadata/annotations", "value": {"widgets.example.com/seen": "yes"}}]);
            let patch = STANDARD.encode(patch.to_string());
            json!({"uid": uid, "allowed": true, "patchType": "JSONPatch", "patch": patch, "warnings": ["widgets are new"]})
        }
        "/validate" => {
            let wanted = request["object"]["spec"]["replicas"].as_i64().unwrap_or_default();
            let message = format!("{wanted} widgets are too many");
            json!({"uid": uid, "allowed": wanted <= 10, "status": {"message": message, "code": 422}})
        }
        other => anyhow::bail!("no webhook at {other}"),
    };
    review["response"] = response;
    Ok(review)
}

/// `v1` says `spec.size`, `v2` says `spec.replicas`.
fn convert(object: &Value, desired: &str) -> Value {
    let mut object = object.clone();
    let (from, to) = if desired.ends_with("/v2") { ("size", "replicas") } else { ("replicas", "size") };
    if let Some(spec) = object["spec"].as_object_mut()
        && let Some(value) = spec.remove(from)
    {
        spec.insert(to.to_owned(), value);
    }
    object["apiVersion"] = desired.into();
    object
}
