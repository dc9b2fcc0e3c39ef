//! A node that only pretends: it keeps its lease, makes bound pods run, and removes deleted ones.

use client::{Client, DeleteParams, Patch};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::json;

use crate::rng::Rng;
use crate::world::now;

pub struct Kubelet {
    pub name: String,
    /// It does something, and is heard of.
    pub up: bool,
    index: usize,
    client: Client,
    addresses: usize,
}

impl Kubelet {
    /// Registers the node.
    pub fn new(index: usize, client: Client) -> Kubelet {
        let name = format!("node-{index}");
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}});
        now(client.create_value(&api::Gvr::new("", "v1", "nodes"), "", &node)).expect("a fresh name");
        let kubelet = Kubelet { name, up: true, index, client, addresses: 0 };
        kubelet.heartbeat();
        kubelet
    }

    /// Says that the node is well.
    pub fn heartbeat(&self) {
        if !self.up {
            return;
        }
        let time = api::time::format(process::now());
        let size = json!({"cpu": "4", "memory": "8Gi", "pods": "20"});
        let condition = json!({"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "",
            "lastHeartbeatTime": time, "lastTransitionTime": time});
        let status = json!({"status": {"capacity": size, "allocatable": size, "conditions": [condition]}});
        now(self.client.patch::<Node>("", &self.name, Some("status"), Patch::Strategic(status)))
            .expect("nobody refuses");
        let renewed =
            jiff::fmt::temporal::DateTimePrinter::new().precision(Some(6)).timestamp_to_string(&process::now());
        let spec = json!({"holderIdentity": self.name, "leaseDurationSeconds": 40, "renewTime": renewed});
        let patched = now(self.client.patch::<Lease>(NAMESPACE, &self.name, None, Patch::Merge(json!({"spec": spec}))));
        if patched.is_err() {
            let lease = json!({"metadata": {"name": self.name, "namespace": NAMESPACE}, "spec": spec});
            let leases = api::Gvr::new("coordination.k8s.io", "v1", "leases");
            now(self.client.create_value(&leases, NAMESPACE, &lease)).expect("nobody refuses");
        }
    }

    /// Moves one pod on, if one needs it. What was done, in words.
    pub fn step<'a>(&mut self, pods: impl Iterator<Item = &'a Pod>, rng: &mut Rng) -> Option<String> {
        if !self.up {
            return None;
        }
        let mut todo: Vec<&Pod> = pods.filter(|pod| needs_work(pod)).collect();
        todo.sort_by_key(|pod| (&pod.metadata.namespace, &pod.metadata.name));
        let pod = *rng.pick(&todo)?;
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        if pod.metadata.deletion_timestamp.is_some() {
            let params = DeleteParams { grace: Some(0), uid: pod.metadata.uid.clone(), ..Default::default() };
            let done = now(self.client.delete::<Pod>(namespace, name, &params));
            return Some(format!("{} removes {namespace}/{name}: {}", self.name, word(&done)));
        }
        self.addresses += 1;
        let time = api::time::format(process::now());
        let ip = format!("10.244.{}.{}", self.index, self.addresses % 250 + 2);
        let condition = |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": time});
        let status = json!({
            "metadata": {"uid": pod.metadata.uid},
            "status": {
                "phase": "Running", "startTime": time, "podIP": ip, "podIPs": [{"ip": ip}], "hostIP": "192.0.2.1",
                "conditions": [condition("Initialized"), condition("ContainersReady"), condition("Ready")],
            },
        });
        let done = now(self.client.patch::<Pod>(namespace, name, Some("status"), Patch::Strategic(status)));
        Some(format!("{} runs {namespace}/{name}: {}", self.name, word(&done)))
    }
}

const NAMESPACE: &str = "kube-node-lease";

/// To be started, to be said ready again, or to be removed.
pub fn needs_work(pod: &Pod) -> bool {
    if pod.metadata.deletion_timestamp.is_some() {
        return true;
    }
    let status = pod.status.as_ref();
    let phase = status.and_then(|status| status.phase.as_deref()).unwrap_or("Pending");
    match phase {
        "Succeeded" | "Failed" => false,
        "Running" => !is_ready(pod),
        _ => true,
    }
}

pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

pub fn word<T>(result: &Result<T, client::Error>) -> String {
    match result {
        Ok(_) => "done".to_owned(),
        Err(error) => error.to_string(),
    }
}
