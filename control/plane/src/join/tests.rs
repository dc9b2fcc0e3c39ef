use super::*;
use crate::pki::Names;

fn now() -> jiff::Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn service(dir: &Path) -> (JoinService, String) {
    let pki = Arc::new(Pki::open(dir, &Names::default(), now()).unwrap());
    let token = open_token(&dir.join("join-token"), &pki).unwrap();
    let facts = ClusterFacts {
        cluster_cidr: "10.244.0.0/16".parse().unwrap(),
        service_cidr: "10.96.0.0/16".parse().unwrap(),
        cluster_dns: "10.96.0.10".parse().unwrap(),
        cluster_domain: "cluster.local".to_owned(),
        fabric_url: "https://10.0.0.1:6444".to_owned(),
    };
    (JoinService::new(pki, &token, facts), token)
}

fn ask(secret: &str, node: &str) -> Request<Bytes> {
    let request = || {
        let key = rcgen::KeyPair::generate().unwrap();
        rcgen::CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap()
    };
    let body = JoinRequest {
        secret: secret.to_owned(),
        node: node.to_owned(),
        addresses: vec!["10.0.0.2".parse().unwrap()],
        client_request: request(),
        serving_request: request(),
    };
    Request::post(PATH).body(serde_json::to_vec(&body).unwrap().into()).unwrap()
}

#[test]
fn the_token_opens_the_door_and_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (_, first) = service(dir.path());
    let (service, token) = service(dir.path());
    assert_eq!(first, token);
    let (fingerprint, secret) = token.split_once('.').unwrap();
    assert_eq!(fingerprint.len(), 64);
    let response = service.answer(&ask(secret, "n2"), now());
    assert_eq!(response.status(), StatusCode::OK);
    let reply: JoinReply = serde_json::from_slice(response.body()).unwrap();
    assert!(reply.client_certificate.starts_with("-----BEGIN CERTIFICATE"));
    assert_eq!(reply.facts.cluster_domain, "cluster.local");
}

#[test]
fn nothing_else_opens_it() {
    let dir = tempfile::tempdir().unwrap();
    let (service, token) = service(dir.path());
    let secret = token.split_once('.').unwrap().1;
    for wrong in ["", "x", &secret[1..], token.as_str()] {
        assert_eq!(service.answer(&ask(wrong, "n2"), now()).status(), StatusCode::FORBIDDEN, "{wrong:?}");
    }
}

#[test]
fn what_is_asked_wrongly_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let (service, token) = service(dir.path());
    let secret = token.split_once('.').unwrap().1;
    for name in ["", "N2", "a..b", "-a", "a/b", "system:admin", &"a".repeat(64)] {
        assert_eq!(service.answer(&ask(secret, name), now()).status(), StatusCode::BAD_REQUEST, "{name:?}");
    }
    let garbage = Request::post(PATH).body(Bytes::from_static(b"{")).unwrap();
    assert_eq!(service.answer(&garbage, now()).status(), StatusCode::BAD_REQUEST);
    let get = Request::get(PATH).body(Bytes::new()).unwrap();
    assert_eq!(service.answer(&get, now()).status(), StatusCode::METHOD_NOT_ALLOWED);
}
