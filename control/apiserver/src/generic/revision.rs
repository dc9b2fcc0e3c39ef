//! The `resourceVersion` of reads.

use super::Context;
use crate::storage;
use api::{Revision, Status};
use std::time::Duration;
use store::{Backend, Snapshot};

/// How long a read waits for a revision that is still to come. Kubernetes' watch cache does the same.
const WAIT: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(20);

/// The query's resourceVersion; `None` if it has none, 400 if it is no number.
pub(crate) fn wanted(context: &Context<'_>) -> Result<Option<Revision>, Status> {
    context.query.get("resourceVersion").map(parse).transpose()
}

pub(crate) fn parse(text: &str) -> Result<Revision, Status> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let problem = if digits { "value out of range" } else { "invalid syntax" };
    text.parse().ok().filter(|_| digits).ok_or_else(|| {
        Status::bad_request(format!(
            "resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: {problem}"
        ))
    })
}

/// Waits for a revision; 504 if it does not come.
pub(crate) async fn reach(store: &dyn Backend, wanted: Revision) -> Result<(), Status> {
    if wanted <= store.revision() {
        return Ok(());
    }
    let deadline = process::instant() + WAIT;
    while process::instant() < deadline {
        tokio::time::sleep(POLL).await;
        if wanted <= store.revision() {
            return Ok(());
        }
    }
    Err(Status::too_large_resource_version(wanted.0, store.revision().0))
}

/// A collection now, not older than a revision.
pub(crate) async fn snapshot(store: &dyn Backend, prefix: &str, least: Revision) -> Result<Snapshot, Status> {
    reach(store, least).await?;
    store.snapshot(prefix, None).await.map_err(storage::unavailable)
}
