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
    let signs = call.subresource == "status" && new["status"]["certificate"] != old["status"]["certificate"];
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
    let pem = request["spec"]["request"].as_str().and_then(api::base64::decode).unwrap_or_default();
    let Some(der) = x509_parser::pem::parse_x509_pem(&pem).ok().map(|(_, pem)| pem.contents) else { return Ok(()) };
    let organizations = {
        use x509_parser::prelude::FromDer;
        let Ok((_, parsed)) = x509_parser::certification_request::X509CertificationRequest::from_der(&der) else {
            return Ok(());
        };
        let subject = &parsed.certification_request_info.subject;
        subject.iter_organization().filter_map(|part| part.as_str().ok().map(str::to_owned)).collect::<Vec<_>>()
    };
    if !organizations.iter().any(|organization| organization == MASTERS) {
        return Ok(());
    }
    let what = format!("use of {API_CLIENT} signer with {MASTERS} group is not allowed");
    Err(Status::forbidden(&call.write.resource.gvr(), meta::name(request), &what))
}
