//! Answers.

use super::negotiate::Media;
use api::Status;
use bytes::Bytes;
use client::{Body, full};
use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;

/// The JSON media type.
pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Bytes of JSON with a code.
pub(crate) fn json_bytes(code: u16, bytes: Bytes) -> Response<Body> {
    bytes_of(code, JSON, bytes)
}

/// Bytes of any type.
pub(crate) fn bytes_of(code: u16, content_type: HeaderValue, bytes: Bytes) -> Response<Body> {
    let mut response = Response::new(full(bytes));
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, content_type);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

/// Anything that serializes.
pub(crate) fn json(code: u16, body: &impl Serialize) -> Response<Body> {
    match serde_json::to_vec(body) {
        Ok(bytes) => json_bytes(code, bytes.into()),
        Err(error) => status(&Status::internal(error)),
    }
}

/// JSON bytes in another medium. What has no protobuf form stays JSON.
pub(crate) fn in_media(code: u16, media: Media, json: Bytes) -> Result<Response<Body>, Status> {
    let value = || serde_json::from_slice::<serde_json::Value>(&json).map_err(Status::internal);
    let bytes = match media {
        Media::Json => return Ok(json_bytes(code, json)),
        Media::Yaml => serde_saphyr::to_string(&value()?).map_err(Status::internal)?.into_bytes(),
        Media::Protobuf => match api::protobuf::encode(&value()?) {
            Ok(bytes) => bytes,
            Err(api::protobuf::EncodeError::UnknownKind(_)) => return Ok(json_bytes(code, json)),
        },
    };
    Ok(bytes_of(code, HeaderValue::from_static(media.name()), bytes.into()))
}

/// A Status, with `Retry-After` where it says so.
pub(crate) fn status(status: &Status) -> Response<Body> {
    status_in(status, Media::Json)
}

/// A Status in a medium.
pub(crate) fn status_in(status: &Status, media: Media) -> Response<Body> {
    let bytes = Bytes::from(serde_json::to_vec(status).expect("a Status is plain JSON"));
    let written = in_media(status.code, media, bytes.clone());
    let mut response = written.unwrap_or_else(|_| json_bytes(status.code, bytes));
    if let Some(seconds) =
        status.details.as_ref().map(|details| details.retry_after_seconds).filter(|seconds| *seconds > 0)
    {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Plain text.
pub(crate) fn text(code: u16, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = bytes_of(code, HeaderValue::from_static("text/plain; charset=utf-8"), body.into());
    response.headers_mut().insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}
