//! The response body both transports produce, and small constructors for it.

use crate::Error;
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Empty, Full, combinators::UnsyncBoxBody};
use serde::de::DeserializeOwned;

/// What a body read may fail with.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// A streaming body of bytes.
pub type Body = UnsyncBoxBody<Bytes, BodyError>;

/// Longest body that [`collect`] takes into memory; a longer one is [`Error::TooLarge`].
pub const COLLECT_LIMIT: usize = 512 << 20;

/// A body with these bytes.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A body with nothing in it.
pub fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// Reads an object. The one way for all typed objects: what reads a large type is large, and comes anew for every kind of
/// input and, inlined, for every place.
#[inline(never)]
pub(crate) fn decode<T: DeserializeOwned>(json: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(json).map_err(Error::Decode)
}

/// Reads a body to its end.
pub async fn collect(mut body: Body) -> Result<Bytes, Error> {
    let mut first = Bytes::new();
    let mut rest: Option<BytesMut> = None;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(Error::Body)?.into_data() else { continue };
        let length = rest.as_ref().map_or(first.len(), BytesMut::len) + data.len();
        if length > COLLECT_LIMIT {
            return Err(Error::TooLarge { limit: COLLECT_LIMIT });
        }
        match &mut rest {
            Some(buffer) => buffer.extend_from_slice(&data),
            None if first.is_empty() => first = data,
            None => {
                let mut buffer = BytesMut::with_capacity(length * 2);
                buffer.extend_from_slice(&first);
                buffer.extend_from_slice(&data);
                rest = Some(buffer);
            }
        }
    }
    Ok(rest.map_or(first, BytesMut::freeze))
}
