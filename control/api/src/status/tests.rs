use expect_test::expect;
use serde_json::json;

use super::*;

#[test]
fn messages_clients_match() {
    let pods = Gvr::new("", "v1", "pods");
    let deployments = Gvr::new("apps", "v1", "deployments");
    let deployment = Gvk::new("apps", "v1", "Deployment");
    let too_small = FieldError::invalid("spec.replicas", -1, "must be greater than or equal to 0");
    let missing = FieldError::required("spec.selector", "");
    let all = [
        Status::not_found(&pods, "x"),
        Status::already_exists(&deployments, "x"),
        Status::modified(&deployments, "x"),
        Status::invalid(&deployment, "x", vec![too_small.clone()]),
        Status::invalid(&deployment, "x", vec![too_small.clone(), missing, too_small]),
        Status::forbidden(&pods, "x", "no"),
        Status::forbidden(&pods, "", "no"),
        Status::method_not_allowed(&pods, "delete"),
        Status::too_large_resource_version(9, 3),
        Status::not_acceptable(&["application/json"]),
        Status::internal("boom"),
    ];
    let text: String = all.iter().map(|s| format!("{} {} {}\n", s.code, s.reason, s.message)).collect();
    expect![[r#"
        404 NotFound pods "x" not found
        409 AlreadyExists deployments.apps "x" already exists
        409 Conflict Operation cannot be fulfilled on deployments.apps "x": the object has been modified; please apply your changes to the latest version and try again
        422 Invalid Deployment.apps "x" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0
        422 Invalid Deployment.apps "x" is invalid: [spec.replicas: Invalid value: -1: must be greater than or equal to 0, spec.selector: Required value]
        403 Forbidden pods "x" is forbidden: no
        403 Forbidden pods is forbidden: no
        405 MethodNotAllowed the server does not allow this method on the requested resource
        504 Timeout Timeout: Too large resource version: 9, current: 3
        406 NotAcceptable only the following media types are accepted: application/json
        500 InternalError Internal error occurred: boom
    "#]]
    .assert_eq(&text);
}

#[test]
fn wire_form_round_trips() {
    let status = Status::invalid(
        &Gvk::new("apps", "v1", "Deployment"),
        "x",
        vec![FieldError::not_supported("spec.strategy.type", "Foo", &["RollingUpdate", "Recreate"])],
    );
    let wire = serde_json::to_value(&status).expect("serialises");
    assert_eq!(
        wire,
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": "Deployment.apps \"x\" is invalid: spec.strategy.type: Unsupported value: \"Foo\": supported values: \"Recreate\", \"RollingUpdate\"",
            "reason": "Invalid", "code": 422,
            "details": {"name": "x", "group": "apps", "kind": "Deployment", "causes": [{
                "reason": "FieldValueNotSupported", "field": "spec.strategy.type",
                "message": "Unsupported value: \"Foo\": supported values: \"Recreate\", \"RollingUpdate\""}]}
        })
    );
    assert_eq!(serde_json::from_value::<Status>(wire).expect("parses"), status);
}

#[test]
fn unknown_reason_is_read() {
    let status: Status =
        serde_json::from_value(json!({"kind": "Status", "reason": "Teapot", "code": 418})).expect("parses");
    assert_eq!((status.reason, status.code), (Reason::Unknown, 418));
}
