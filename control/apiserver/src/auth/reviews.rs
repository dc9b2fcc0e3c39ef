//! Reviews: questions about users and rights, answered in the object that was posted. Nothing is stored.

use super::{
    User,
    authorize::{self, Attributes, Decision, Object},
    token,
};
use crate::{Apiserver, http::path::Target};
use api::Status;
use serde_json::{Value, json};

/// A kind that only answers: where it is served.
pub(crate) struct Review {
    pub(crate) group: &'static str,
    pub(crate) version: &'static str,
    pub(crate) resource: &'static str,
    pub(crate) singular: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) namespaced: bool,
}

const fn review(group: &'static str, resource: &'static str, singular: &'static str, kind: &'static str) -> Review {
    Review { group, version: "v1", resource, singular, kind, namespaced: false }
}

const AUTHENTICATION: &str = "authentication.k8s.io";
const AUTHORIZATION: &str = "authorization.k8s.io";

/// All of them.
pub(crate) const REVIEWS: [Review; 6] = [
    review(AUTHENTICATION, "selfsubjectreviews", "selfsubjectreview", "SelfSubjectReview"),
    review(AUTHENTICATION, "tokenreviews", "tokenreview", "TokenReview"),
    Review {
        namespaced: true,
        ..review(AUTHORIZATION, "localsubjectaccessreviews", "localsubjectaccessreview", "LocalSubjectAccessReview")
    },
    review(AUTHORIZATION, "selfsubjectaccessreviews", "selfsubjectaccessreview", "SelfSubjectAccessReview"),
    review(AUTHORIZATION, "selfsubjectrulesreviews", "selfsubjectrulesreview", "SelfSubjectRulesReview"),
    review(AUTHORIZATION, "subjectaccessreviews", "subjectaccessreview", "SubjectAccessReview"),
];

/// The review served at a path, if any.
pub(crate) fn find(target: &Target) -> Option<&'static Review> {
    REVIEWS.iter().find(|review| {
        (review.group, review.version, review.resource)
            == (target.group.as_str(), target.version.as_str(), target.resource.as_str())
    })
}

/// Answers a posted review.
pub(crate) async fn answer(
    server: &Apiserver,
    user: &User,
    review: &Review,
    mut object: Value,
) -> Result<Value, Status> {
    if !object.is_object() {
        return Err(Status::bad_request(format!("a {} is a JSON object", review.kind)));
    }
    object["apiVersion"] = json!(format!("{}/{}", review.group, review.version));
    object["kind"] = json!(review.kind);
    let spec = object["spec"].clone();
    object["status"] = match review.resource {
        "selfsubjectreviews" => json!({"userInfo": describe(user)}),
        "selfsubjectaccessreviews" => access(server, user, &spec).await?,
        "subjectaccessreviews" | "localsubjectaccessreviews" => {
            let groups = spec["groups"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let subject = User {
                name: spec["user"].as_str().unwrap_or_default().to_owned(),
                groups: groups.map(str::to_owned).collect(),
                ..User::default()
            };
            access(server, &subject, &spec).await?
        }
        "selfsubjectrulesreviews" => rules(user),
        _ => token_review(server, &spec).await,
    };
    if !object["metadata"].is_object() {
        object["metadata"] = json!({});
    }
    Ok(object)
}

fn describe(user: &User) -> Value {
    let mut described = json!({"username": user.name, "groups": user.groups});
    if !user.uid.is_empty() {
        described["uid"] = json!(user.uid);
    }
    if !user.extra.is_empty() {
        described["extra"] = json!(user.extra);
    }
    described
}

async fn access(server: &Apiserver, user: &User, spec: &Value) -> Result<Value, Status> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let decision = if let Some(attributes) = spec.get("resourceAttributes").filter(|value| value.is_object()) {
        let target = Target {
            group: text(&attributes["group"]),
            version: text(&attributes["version"]),
            namespace: text(&attributes["namespace"]),
            resource: text(&attributes["resource"]),
            name: text(&attributes["name"]),
            subresource: text(&attributes["subresource"]),
        };
        let verb = text(&attributes["verb"]);
        let object = Object::Resource { target: &target, field_selector: "" };
        authorize::decide(server, user, &Attributes { verb: &verb, object }).await
    } else if let Some(attributes) = spec.get("nonResourceAttributes").filter(|value| value.is_object()) {
        let (path, verb) = (text(&attributes["path"]), text(&attributes["verb"]));
        authorize::decide(server, user, &Attributes { verb: &verb, object: Object::Path(&path) }).await
    } else {
        return Err(Status::bad_request(
            "exactly one of nonResourceAttributes or resourceAttributes must be specified",
        ));
    };
    Ok(match decision {
        Decision::Allow => json!({"allowed": true}),
        Decision::Deny(reason) if reason.is_empty() => json!({"allowed": false}),
        Decision::Deny(reason) => json!({"allowed": false, "reason": reason}),
    })
}

fn rules(user: &User) -> Value {
    let (resource, path) = if user.is_in(super::MASTERS) {
        (
            json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]),
            json!([{"verbs": ["*"], "nonResourceURLs": ["*"]}]),
        )
    } else {
        (
            json!([
                {"verbs": ["create"], "apiGroups": [AUTHORIZATION],
                    "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews"]},
                {"verbs": ["create"], "apiGroups": [AUTHENTICATION], "resources": ["selfsubjectreviews"]},
            ]),
            json!([{"verbs": ["get"], "nonResourceURLs":
                ["/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi", "/openapi/*", "/readyz",
                 "/version", "/version/"]}]),
        )
    };
    json!({"resourceRules": resource, "nonResourceRules": path, "incomplete": user.node().is_some()})
}

async fn token_review(server: &Apiserver, spec: &Value) -> Value {
    let wanted: Vec<&str> = spec["audiences"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let own = [server.config.issuer.as_str()];
    let wanted = if wanted.is_empty() { &own[..] } else { &wanted[..] };
    let refused = |error: &str| json!({"authenticated": false, "user": {}, "error": error});
    let token = spec["token"].as_str().unwrap_or_default();
    let Ok(claims) = token::verify(&server.signer, token, process::now()) else {
        return refused("the token is not valid");
    };
    let shared: Vec<&str> =
        wanted.iter().copied().filter(|audience| claims.audiences.iter().any(|own| own == audience)).collect();
    if shared.is_empty() {
        return refused("the token is for another audience");
    }
    match super::account(server, &claims).await {
        Ok(user) => json!({"authenticated": true, "user": describe(&user), "audiences": shared}),
        Err(_) => refused("the service account or what the token is bound to is gone"),
    }
}
