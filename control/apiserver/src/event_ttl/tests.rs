use super::*;
use crate::{Config, User};
use rcgen::{CertificateParams, KeyPair};
use serde_json::json;

#[tokio::test]
async fn old_events_go_and_counted_ones_stay() {
    let key = KeyPair::generate().unwrap();
    let ca_pem = CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap().pem().into_bytes();
    let server = Apiserver::new(Config {
        store: store::memory(),
        service_cidrs: vec!["10.96.0.0/24".parse().unwrap()],
        node_port_range: 30000..=30001,
        client_ca_pem: ca_pem.clone(),
        sa_key_pem: key.serialize_pem().into_bytes(),
        issuer: "i".to_owned(),
        kubelet_client: client::Identity::Anonymous,
        kubelet_ca_pem: ca_pem,
        extra: None,
        advertise: "127.0.0.1:6443".parse().unwrap(),
        goaway_chance: 0.0,
        event_ttl: crate::EVENT_TTL,
        may_proxy_to: crate::is_proxyable,
    })
    .await
    .unwrap();
    let client = server.transport(User::gannet());
    let gvr = api::Gvr::new("", "v1", "events");
    for (name, last) in [("old", "2020-01-01T00:00:00Z"), ("counted", "2020-01-01T02:00:00Z")] {
        let event = json!({
            "metadata": {"name": name}, "involvedObject": {"namespace": "default"}, "reason": "R", "message": "m",
            "firstTimestamp": "2020-01-01T00:00:00Z", "lastTimestamp": last,
        });
        client.create_value(&gvr, "default", &event).await.unwrap();
    }
    assert_eq!(sweep(&server, "2020-01-01T00:30:00Z".parse().unwrap()).await.unwrap(), 0);
    let later = process::now().checked_add(SignedDuration::from_mins(61)).unwrap();
    assert_eq!(sweep(&server, later).await.unwrap(), 2);
    assert!(client.list_value(&gvr, "default", &client::ListParams::all()).await.unwrap().items.is_empty());
}
