//! Bodies of custom resources: what their definition says of requests before any verb sees them.

use crate::generic::{
    decode::{Decoded, media_type},
    write::{self, FieldValidation},
};
use crate::kinds::Kinds;
use api::{Schema, Status, schema};
use http::HeaderValue;
use registry::{Resource, custom::Version};
use serde_json::Value;

const PATCHES: [&str; 3] =
    ["application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml"];
const BODIES: [&str; 2] = ["application/json", "application/yaml"];

/// Makes a decoded body an object of the resource, built in or custom. See [`write::conform`].
pub(crate) fn conform(
    resource: &Resource,
    decoded: Decoded,
    validation: FieldValidation,
    warnings: &mut Vec<String>,
) -> Result<Value, Status> {
    let Some(version) = resource.strategy.custom() else {
        return write::conform(&resource.gvk(), decoded, validation, warnings);
    };
    let duplicates = decoded.duplicates.clone();
    let mut value = write::conform(&resource.gvk(), decoded, FieldValidation::Ignore, warnings)?;
    let cannot = |what: &dyn std::fmt::Display| {
        Status::bad_request(format!(
            "{} in version {:?} cannot be handled as a {}: {what}",
            resource.kind, resource.version, resource.kind
        ))
    };
    if let Some(metadata) = Schema::named("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta") {
        schema::type_check(&metadata, &value["metadata"]).map_err(|error| cannot(&error))?;
    }
    let unknown = version.prune(&mut value);
    let complaints: Vec<String> = duplicates
        .iter()
        .map(|path| format!("duplicate field {path:?}"))
        .chain(unknown.iter().map(|path| format!("unknown field {path:?}")))
        .collect();
    match validation {
        FieldValidation::Ignore => {}
        FieldValidation::Warn => warnings.extend(complaints),
        FieldValidation::Strict if complaints.is_empty() => {}
        FieldValidation::Strict => {
            return Err(cannot(&format_args!("strict decoding error: {}", complaints.join(", "))));
        }
    }
    Ok(value)
}

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
