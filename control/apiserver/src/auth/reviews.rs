//! Reviews: questions about users and rights, answered in the object that was posted. Nothing is stored.

use super::{
    User,
    authorize::{self, Attributes, Object},
    token,
};
use crate::{Apiserver, http::path::Target};
use api::{FieldError, Gvk, Status, meta};
use serde_json::{Map, Value, json};

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

/// Answers a posted review: an object of its kind, as [`crate::generic::write::conform`] leaves it.
pub(crate) async fn answer(
    server: &Apiserver,
    user: &User,
    review: &Review,
    namespace: &str,
    mut object: Value,
) -> Result<Value, Status> {
    let gvk = Gvk::new(review.group, review.version, review.kind);
    let spec = object["spec"].clone();
    if review.group == AUTHORIZATION && review.resource != "selfsubjectrulesreviews" {
        check(review, namespace, &object, &gvk)?;
    }
    let status = match review.resource {
        "selfsubjectreviews" => json!({"userInfo": describe(user)}),
        "selfsubjectaccessreviews" => access(server, user, &spec).await?,
        "subjectaccessreviews" | "localsubjectaccessreviews" => access(server, &subject(&spec), &spec).await?,
        "selfsubjectrulesreviews" => match spec["namespace"].as_str().unwrap_or_default() {
            "" => return Err(Status::bad_request("no namespace on request")),
            namespace => rules(server, user, namespace).await?,
        },
        _ => token_review(server, &spec).await?,
    };
    let mut answered = Map::new();
    answered.insert("kind".to_owned(), json!(review.kind));
    answered.insert("apiVersion".to_owned(), json!(gvk.api_version()));
    let mut metadata = object["metadata"].take();
    if !metadata.is_object() {
        metadata = json!({});
    }
    answered.insert("metadata".to_owned(), metadata);
    match review.resource {
        "selfsubjectreviews" => {}
        "selfsubjectrulesreviews" => drop(answered.insert("spec".to_owned(), json!({}))),
        _ => drop(answered.insert("spec".to_owned(), spec)),
    }
    answered.insert("status".to_owned(), status);
    Ok(Value::Object(answered))
}

/// Validates an access review.
fn check(review: &Review, namespace: &str, object: &Value, gvk: &Gvk) -> Result<(), Status> {
    let (spec, mut errors) = (&object["spec"], Vec::new());
    let (resource, path) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    let local = review.namespaced;
    if local {
        if meta::namespace(object) != "" && meta::namespace(object) != namespace {
            return Err(Status::bad_request(format!(
                "the namespace of the provided object does not match the namespace sent on the request: {namespace}"
            )));
        }
        if resource["namespace"].as_str().unwrap_or_default() != namespace {
            let asked = resource["namespace"].as_str().unwrap_or_default();
            let what = "must match metadata.namespace";
            errors.push(FieldError::invalid("spec.resourceAttributes.namespace", asked, what));
        }
        if !path.is_null() {
            errors.push(FieldError::invalid(
                "spec.nonResourceAttributes",
                path.clone(),
                "disallowed on this kind of request",
            ));
        }
    }
    match (resource.is_object(), path.is_object()) {
        (true, true) => errors.push(FieldError::invalid(
            "spec.nonResourceAttributes",
            path.clone(),
            "cannot be specified in combination with resourceAttributes",
        )),
        (false, false) => errors.push(FieldError::invalid(
            "spec.resourceAttributes",
            Value::Null,
            "exactly one of nonResourceAttributes or resourceAttributes must be specified",
        )),
        _ => {}
    }
    if review.resource != "selfsubjectaccessreviews"
        && spec["user"].as_str().unwrap_or_default().is_empty()
        && spec["groups"].as_array().is_none_or(Vec::is_empty)
    {
        errors.push(FieldError::invalid("spec.user", "", "at least one of user or group must be specified"));
    }
    for field in ["fieldSelector", "labelSelector"] {
        let selector = &resource[field];
        let (raw, terms) = (selector["rawSelector"].as_str().unwrap_or_default(), &selector["requirements"]);
        let at = format!("spec.resourceAttributes.{field}");
        match (selector.is_object(), raw.is_empty(), terms.as_array().is_none_or(Vec::is_empty)) {
            (true, false, false) => {
                let at = format!("{at}.rawSelector");
                errors.push(FieldError::invalid(at, raw, "may not specified at the same time as requirements"));
            }
            (true, true, true) => {
                errors.push(FieldError::required(
                    format!("{at}.requirements"),
                    format!("when {at} is specified, requirements or rawSelector is required"),
                ));
            }
            _ => {}
        }
    }
    let named = meta::name(object);
    if !named.is_empty() {
        errors.push(FieldError::invalid(
            "metadata",
            object["metadata"].clone(),
            if local { "must be empty except for namespace" } else { "must be empty" },
        ));
    }
    if errors.is_empty() { Ok(()) } else { Err(Status::invalid(gvk, named, errors)) }
}

/// Whom a SubjectAccessReview asks about.
fn subject(spec: &Value) -> User {
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let text = |field: &str| spec[field].as_str().unwrap_or_default().to_owned();
    let extra = spec["extra"].as_object().into_iter().flatten();
    User {
        name: text("user"),
        groups: texts(&spec["groups"]),
        uid: text("uid"),
        extra: extra.map(|(key, values)| (key.clone(), texts(values))).collect(),
    }
}

fn describe(user: &User) -> Value {
    let mut described = json!({"username": user.name});
    if !user.uid.is_empty() {
        described["uid"] = json!(user.uid);
    }
    if !user.groups.is_empty() {
        described["groups"] = json!(user.groups);
    }
    if !user.extra.is_empty() {
        described["extra"] = json!(user.extra);
    }
    described
}

async fn access(server: &Apiserver, user: &User, spec: &Value) -> Result<Value, Status> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (attributes, mut trouble) = (&spec["resourceAttributes"], String::new());
    let decision = if attributes.is_object() {
        let target = Target {
            group: text(&attributes["group"]),
            version: text(&attributes["version"]),
            namespace: text(&attributes["namespace"]),
            resource: text(&attributes["resource"]),
            name: text(&attributes["name"]),
            subresource: text(&attributes["subresource"]),
            tail: String::new(),
        };
        let verb = text(&attributes["verb"]);
        let selector = &attributes["fieldSelector"];
        let field_selector = match selector["rawSelector"].as_str().filter(|raw| !raw.is_empty()) {
            Some(raw) => raw.to_owned(),
            None => terms(&selector["requirements"]),
        };
        if let Err(error) = api::FieldSelector::parse(&field_selector) {
            trouble = format!("spec.resourceAttributes.fieldSelector ignored due to parse error: {error}");
        }
        let raw = text(&attributes["labelSelector"]["rawSelector"]);
        if let Err(error) = api::LabelSelector::parse(&raw) {
            trouble = format!("spec.resourceAttributes.labelSelector ignored due to parse error: {error}");
        }
        let object = Object::Resource { target: &target, field_selector: &field_selector };
        authorize::may(server, user, &Attributes { verb: &verb, object }).await?
    } else {
        let attributes = &spec["nonResourceAttributes"];
        let (path, verb) = (text(&attributes["path"]), text(&attributes["verb"]));
        authorize::may(server, user, &Attributes { verb: &verb, object: Object::Path(&path) }).await?
    };
    let mut status = json!({"allowed": decision.is_allowed()});
    let reason = decision.reason();
    if !reason.is_empty() {
        status["reason"] = json!(reason);
    }
    if !trouble.is_empty() {
        status["evaluationError"] = json!(trouble);
    }
    Ok(status)
}

/// The equalities of field selector requirements; the others only narrow.
fn terms(requirements: &Value) -> String {
    let equal = requirements.as_array().into_iter().flatten().filter_map(|term| {
        let value = match term["values"].as_array()?.as_slice() {
            [one] => one.as_str()?,
            _ => return None,
        };
        let value = value.replace('\\', "\\\\").replace(',', "\\,").replace('=', "\\=");
        (term["operator"] == "In").then(|| format!("{}={value}", term["key"].as_str().unwrap_or_default()))
    });
    equal.collect::<Vec<_>>().join(",")
}

async fn rules(server: &Apiserver, user: &User, namespace: &str) -> Result<Value, Status> {
    let (rules, mut errors) = server.auth.roles(server).await?.rules(user, namespace);
    let (mut resources, mut paths) = (Vec::new(), Vec::new());
    for rule in rules {
        let mut written = rule.write();
        if !rule.resources.is_empty() {
            let mut resource = written.clone();
            meta::object_mut(&mut resource).remove("nonResourceURLs");
            resources.push(resource);
        }
        if !rule.urls.is_empty() {
            meta::object_mut(&mut written).retain(|field, _| field == "verbs" || field == "nonResourceURLs");
            paths.push(written);
        }
    }
    let is_node = user.node().is_some();
    if is_node {
        errors.push("node authorizer does not support user rule resolution".to_owned());
    }
    let mut status =
        json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": is_node || !errors.is_empty()});
    if !errors.is_empty() {
        status["evaluationError"] = json!(errors.join(", "));
    }
    Ok(status)
}

async fn token_review(server: &Apiserver, spec: &Value) -> Result<Value, Status> {
    let token = spec["token"].as_str().unwrap_or_default();
    if token.is_empty() {
        return Err(Status::bad_request("token is required for TokenReview in authentication"));
    }
    let wanted: Vec<&str> = spec["audiences"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let own = [server.config.issuer.as_str()];
    let wanted = if wanted.is_empty() { &own[..] } else { &wanted[..] };
    let refused = |error: &str| Ok(json!({"user": {}, "error": error}));
    let Ok(claims) = token::verify(&server.signer, token, process::now()) else {
        return refused("invalid bearer token");
    };
    let shared: Vec<&str> =
        wanted.iter().copied().filter(|audience| claims.audiences.iter().any(|own| own == audience)).collect();
    if shared.is_empty() {
        return refused(&format!(
            "[invalid bearer token, token audiences {:?} is invalid for the target audiences {wanted:?}]",
            claims.audiences
        ));
    }
    match super::account(server, &claims).await {
        Ok(user) => Ok(json!({"authenticated": true, "user": describe(&user), "audiences": shared})),
        Err(status) if status.code == 401 => {
            refused("[invalid bearer token, the service account or what the token is bound to is gone]")
        }
        Err(status) => Err(status),
    }
}
