//! Bodies of custom resources: what their definition says of requests before any verb sees them.

use crate::{generic::decode::media_type, kinds::Kinds};
use api::Status;
use http::HeaderValue;
use registry::{Resource, custom::Version};

const PATCHES: [&str; 3] =
    ["application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml"];
const BODIES: [&str; 2] = ["application/json", "application/yaml"];

/// What is refused before a verb is called, and the warning of a deprecated version.
pub(crate) fn before(
    kinds: &Kinds,
    resource: &Resource,
    verb: &str,
    subresource: &str,
    content_type: Option<&HeaderValue>,
    warnings: &mut Vec<String>,
) -> Result<(), Status> {
    let Some(version) = resource.strategy.custom() else { return Ok(()) };
    warnings.extend(version.deprecation.clone());
    if verb == "create" && subresource.is_empty() && kinds.is_terminating(resource) {
        return Err(terminating(version));
    }
    match (verb, media_type(content_type)) {
        ("patch", "application/strategic-merge-patch+json") => Err(Status::unsupported_media_type(&PATCHES)),
        ("create" | "update", "application/vnd.kubernetes.protobuf") => Err(Status::unsupported_media_type(&BODIES)),
        _ => Ok(()),
    }
}

fn terminating(version: &Version) -> Status {
    let gvr = api::Gvr::new(&version.gvk.group, &version.gvk.version, "");
    Status {
        message: "create not allowed while custom resource definition is terminating".to_owned(),
        ..Status::method_not_allowed(&gvr, "create")
    }
}
