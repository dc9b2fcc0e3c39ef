//! CertificateApproval, CertificateSigning and CertificateSubjectRestriction: who may decide for a signer.

use super::Call;
use crate::{
    auth::authorize::{Attributes, Object, may},
    http::path::Target,
};
use api::{Status, meta};
use serde_json::Value;

const GROUP: &str = "certificates.k8s.io";
const API_CLIENT: &str = "kubernetes.io/kube-apiserver-client";
const MASTERS: &str = "system:masters";

/// A decision about a request, or its certificate: the user needs the signer's verb.
pub(super) async fn check(call: &Call<'_>, new: &Value, old: &Value) -> Result<(), Status> {
    let conditions = |request: &Value| request["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let signs = call.subresource == "status"
        && (new["status"]["certificate"] != old["status"]["certificate"] || conditions(new) != conditions(old));
    let verb = match call.subresource {
        "approval" => "approve",
        "status" if signs => "sign",
        _ => return Ok(()),
    };
    let signer = old["spec"]["signerName"].as_str().unwrap_or_default();
    let domain = signer.split('/').next().unwrap_or_default();
    for name in [signer.to_owned(), format!("{domain}/*")] {
        let target = Target {
            group: GROUP.to_owned(),
            version: "v1".to_owned(),
            resource: "signers".to_owned(),
            name,
            ..Target::default()
        };
        let object = Object::Resource { target: &target, field_selector: "" };
        if may(call.write.server, call.write.user, &Attributes { verb, object }).await?.is_allowed() {
            return Ok(());
        }
    }
    let what = format!("user not permitted to {verb} requests with signerName {signer:?}");
    Err(Status::forbidden(&call.write.resource.gvr(), meta::name(old), &what))
}

/// Nobody becomes an administrator by a certificate that the cluster signs for clients.
pub(super) fn check_subject(call: &Call<'_>, request: &Value) -> Result<(), Status> {
    if request["spec"]["signerName"] != API_CLIENT {
        return Ok(());
    }
    let refuse = |what: String| Status::forbidden(&call.write.resource.gvr(), meta::name(request), &what);
    let pem = request["spec"]["request"].as_str().and_then(api::base64::decode).unwrap_or_default();
    let organizations = organizations(&pem).map_err(|error| refuse(format!("failed to parse CSR: {error}")))?;
    if !organizations.iter().any(|organization| organization == MASTERS) {
        return Ok(());
    }
    Err(refuse(format!("use of {API_CLIENT} signer with {MASTERS} group is not allowed")))
}

/// The groups that a request in PEM asks for.
fn organizations(pem: &[u8]) -> Result<Vec<String>, String> {
    use x509_parser::prelude::FromDer;
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem).map_err(|error| error.to_string())?;
    let parsed = x509_parser::certification_request::X509CertificationRequest::from_der(&pem.contents);
    let (_, parsed) = parsed.map_err(|error| error.to_string())?;
    let subject = &parsed.certification_request_info.subject;
    subject
        .iter_organization()
        // One that cannot be read is no reason to let the others pass.
        .map(|part| part.as_str().map(str::to_owned).map_err(|error| error.to_string()))
        .collect()
}
