//! Row 27: who a request is from: certificates, service account tokens of both kinds, websocket tokens, nobody.

use crate::fixture::*;
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use http::Request;
use serde_json::{Value, json};

const ACCOUNTS: &str = "/api/v1/namespaces/default/serviceaccounts";
const SECRETS: &str = "/api/v1/namespaces/default/secrets";
const WHO: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";

/// A request of nobody known, but for its headers.
pub async fn send(f: &Fixture, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    answer(f.server.handle(request.body(client::full(body.to_owned())).unwrap()).await).await
}

/// Who the server says the token is; none if it is nobody's.
async fn whose(f: &Fixture, token: &str) -> Option<Value> {
    let answer = send(f, "POST", WHO, &[("authorization", &format!("Bearer {token}"))], "{}").await;
    if answer.code == 401 {
        assert_eq!(answer.body["reason"], "Unauthorized");
        return None;
    }
    Some(answer.ok()["status"]["userInfo"].clone())
}

async fn token(f: &Fixture, spec: Value) -> String {
    let made = f.post(&format!("{ACCOUNTS}/default/token"), json!({"spec": spec})).await.ok();
    made["status"]["token"].as_str().unwrap().to_owned()
}

fn claims(token: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

#[tokio::test]
async fn row_27_bound_tokens() {
    let f = Fixture::new().await;
    let account = f.get(&format!("{ACCOUNTS}/default")).await.ok();
    let plain = token(&f, json!({"expirationSeconds": 7200})).await;
    let said = claims(&plain);
    assert_eq!(said["sub"], "system:serviceaccount:default:default");
    assert_eq!(said["aud"], json!(["https://kubernetes.default.svc.cluster.local"]));
    assert_eq!(said["exp"].as_i64().unwrap() - said["iat"].as_i64().unwrap(), 7200);
    assert_eq!(said["nbf"], said["iat"]);
    let private =
        json!({"namespace": "default", "serviceaccount": {"name": "default", "uid": account["metadata"]["uid"]}});
    assert_eq!(said["kubernetes.io"], private);
    let who = whose(&f, &plain).await.unwrap();
    assert_eq!(who["username"], "system:serviceaccount:default:default");
    assert_eq!(who["uid"], account["metadata"]["uid"]);
    assert_eq!(
        who["groups"],
        json!(["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"])
    );
    let id = json!([format!("JTI={}", said["jti"].as_str().unwrap())]);
    assert_eq!(who["extra"], json!({"authentication.kubernetes.io/credential-id": id}));

    // For another audience it is worth nothing here.
    assert_eq!(whose(&f, &token(&f, json!({"audiences": ["vault"]})).await).await, None);

    // A pod's token names the pod and its node, and dies with the pod.
    let node = f.post("/api/v1/nodes", json!({"metadata": {"name": "n1"}})).await.ok();
    let made = f.post(PODS, pod("a")).await.ok();
    let target = json!({"metadata": {"name": "a"}, "target": {"kind": "Node", "name": "n1"}});
    f.post(&format!("{PODS}/a/binding"), target).await.ok();
    let reference = json!({"apiVersion": "v1", "kind": "Pod", "name": "a", "uid": made["metadata"]["uid"]});
    let bound = token(&f, json!({"boundObjectRef": reference})).await;
    let who = whose(&f, &bound).await.unwrap();
    for (key, want) in [
        ("pod-name", json!(["a"])),
        ("pod-uid", json!([made["metadata"]["uid"]])),
        ("node-name", json!(["n1"])),
        ("node-uid", json!([node["metadata"]["uid"]])),
    ] {
        assert_eq!(who["extra"][format!("authentication.kubernetes.io/{key}")], want, "{key}");
    }
    let warned = token(&f, json!({"boundObjectRef": reference, "expirationSeconds": 3607})).await;
    let said = claims(&warned);
    assert_eq!(said["kubernetes.io"]["warnafter"].as_i64().unwrap() - said["iat"].as_i64().unwrap(), 3607);
    assert_eq!(said["exp"].as_i64().unwrap() - said["iat"].as_i64().unwrap(), 365 * 24 * 3600);
    f.delete(&format!("{PODS}/a"), json!({"gracePeriodSeconds": 0})).await.ok();
    assert_eq!(whose(&f, &bound).await, None);
    // Another pod of that name is another pod.
    f.post(PODS, pod("a")).await.ok();
    assert_eq!(whose(&f, &bound).await, None);

    // A Secret's, and a node's.
    f.post(SECRETS, json!({"metadata": {"name": "s"}})).await.ok();
    let of_secret = token(&f, json!({"boundObjectRef": {"apiVersion": "v1", "kind": "Secret", "name": "s"}})).await;
    let of_node = token(&f, json!({"boundObjectRef": {"apiVersion": "v1", "kind": "Node", "name": "n1"}})).await;
    assert!(whose(&f, &of_secret).await.is_some());
    assert_eq!(whose(&f, &of_node).await.unwrap()["extra"]["authentication.kubernetes.io/node-name"], json!(["n1"]));
    f.delete(&format!("{SECRETS}/s"), json!({})).await.ok();
    f.delete("/api/v1/nodes/n1", json!({})).await.ok();
    assert_eq!((whose(&f, &of_secret).await, whose(&f, &of_node).await), (None, None));

    // The account's own end is the end of all its tokens.
    f.delete(&format!("{ACCOUNTS}/default"), json!({})).await.ok();
    assert_eq!(whose(&f, &plain).await, None);
    f.post(ACCOUNTS, json!({"metadata": {"name": "default"}})).await.ok();
    assert_eq!(whose(&f, &plain).await, None);
}

#[tokio::test]
async fn row_27_token_requests_that_are_refused() {
    let f = Fixture::new().await;
    let made = f.post(PODS, pod("a")).await.ok();
    f.post(ACCOUNTS, json!({"metadata": {"name": "other"}})).await.ok();
    let uid = made["metadata"]["uid"].as_str().unwrap();
    let reference = |kind: &str, name: &str, uid: &str| json!({"boundObjectRef": {"apiVersion": "v1", "kind": kind, "name": name, "uid": uid}});
    for (account, spec, code, message) in [
        (
            "default",
            json!({"expirationSeconds": 599}),
            422,
            "spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 10 minutes",
        ),
        (
            "default",
            json!({"expirationSeconds": 4_294_967_297_i64}),
            422,
            "may not specify a duration larger than 2^32 seconds",
        ),
        ("default", reference("Pod", "gone", uid), 404, "pods \"gone\" not found"),
        (
            "default",
            reference("Pod", "a", "other"),
            409,
            "the UID in the bound object reference (other) does not match the UID in record",
        ),
        ("default", reference("ConfigMap", "a", uid), 400, "cannot bind token for object of type"),
        (
            "other",
            reference("Pod", "a", uid),
            400,
            "cannot bind token for serviceaccount \"other\" to pod running with different serviceaccount name.",
        ),
        ("nobody", json!({}), 404, "serviceaccounts \"nobody\" not found"),
    ] {
        let (got, _, text) = f.post(&format!("{ACCOUNTS}/{account}/token"), json!({"spec": spec})).await.refused();
        assert_eq!(got, code, "{text}");
        assert!(text.contains(message), "{text}");
    }
}

#[tokio::test]
async fn row_27_headers() {
    let f = Fixture::new().await;
    let good = token(&f, json!({})).await;
    for bad in ["Bearer", "Bearer ", "Bearer x", "Basic eDp5", "x", "Bearer a.b.c", "Bearer é"] {
        let answer = send(&f, "GET", "/version", &[("authorization", bad)], "").await;
        assert_eq!(answer.code, 401, "{bad}");
    }
    assert_eq!(send(&f, "GET", "/version", &[("authorization", &format!("bearer  {good}"))], "").await.code, 200);
    // A damaged token is nobody's: any part of it.
    for part in 0..3 {
        let mut parts: Vec<String> = good.split('.').map(str::to_owned).collect();
        let flipped = if parts[part].starts_with('A') { "B" } else { "A" };
        parts[part].replace_range(0..1, flipped);
        assert_eq!(whose(&f, &parts.join(".")).await, None);
    }
    // By websocket subprotocol, and only beside another one.
    let encoded = URL_SAFE_NO_PAD.encode(&good);
    let offer = format!("base64url.bearer.authorization.k8s.io.{encoded}");
    let path = format!("{PODS}/x/exec?command=sh");
    let with = async |protocols: &str| {
        let headers = [("upgrade", "websocket"), ("connection", "upgrade"), ("sec-websocket-protocol", protocols)];
        send(&f, "GET", &path, &headers, "").await
    };
    let (code, _, text) = with(&format!("{offer}, v5.channel.k8s.io")).await.refused();
    assert_eq!(code, 403);
    assert!(
        text.contains("User \"system:serviceaccount:default:default\" cannot get resource \"pods/exec\""),
        "{text}"
    );
    assert_eq!(with(&offer).await.code, 401);
    assert_eq!(with(&format!("{offer}x, v5.channel.k8s.io")).await.code, 401);
    // Nobody.
    let (code, _, text) = send(&f, "GET", &format!("{PODS}/x"), &[], "").await.refused();
    assert_eq!(code, 403);
    assert!(text.contains("User \"system:anonymous\" cannot get resource \"pods\""), "{text}");
    assert_eq!(send(&f, "GET", "/version", &[], "").await.code, 200);
}

#[tokio::test]
async fn row_27_tokens_in_secrets() {
    let f = Fixture::new().await;
    let shutdown = process::Shutdown::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (cert, key) = f.pki.issue("localhost", "x");
    let tls = apiserver::server_config(cert.as_bytes(), key.as_bytes(), f.pki.ca_pem.as_bytes()).unwrap();
    let serving = tokio::spawn(f.server.clone().serve(listener, tls, shutdown.clone()));
    let mut events = Events::open(&f, &format!("{SECRETS}?watch=1&fieldSelector=metadata.name%3Dt")).await;
    let secret = json!({"metadata": {"name": "t", "annotations": {"kubernetes.io/service-account.name": "default"}}, "type": "kubernetes.io/service-account-token"});
    f.post(SECRETS, secret).await.ok();
    let filled = loop {
        let event = events.next().await.unwrap();
        if event["object"]["data"]["token"].is_string() {
            break event["object"].clone();
        }
    };
    let data =
        |field: &str| String::from_utf8(STANDARD.decode(filled["data"][field].as_str().unwrap()).unwrap()).unwrap();
    assert_eq!((data("namespace").as_str(), data("ca.crt")), ("default", f.pki.ca_pem.clone()));
    let account = f.get(&format!("{ACCOUNTS}/default")).await.ok();
    assert_eq!(filled["metadata"]["annotations"]["kubernetes.io/service-account.uid"], account["metadata"]["uid"]);
    let who = whose(&f, &data("token")).await.unwrap();
    assert_eq!(who["username"], "system:serviceaccount:default:default");
    // With the account its Secrets go.
    f.delete(&format!("{ACCOUNTS}/default"), json!({})).await.ok();
    while events.next().await.unwrap()["type"] != "DELETED" {}
    assert_eq!(whose(&f, &data("token")).await, None);

    // A certificate over the same listener: CN and O.
    let identity = f.pki.identity("alice", "devs");
    let client = client::Client::https(&format!("https://{address}"), f.pki.ca_pem.as_bytes(), &identity).unwrap();
    {
        let who = call(&client, "POST", WHO, Some("application/json"), "{}").await.ok()["status"]["userInfo"].clone();
        assert_eq!((&who["username"], &who["groups"]), (&json!("alice"), &json!(["devs", "system:authenticated"])));
        let credential = who["extra"]["authentication.kubernetes.io/credential-id"][0].as_str().unwrap().to_owned();
        assert!(credential.starts_with("X509SHA256="), "{credential}");
    }
    shutdown.cancel();
    serving.await.unwrap();
}
