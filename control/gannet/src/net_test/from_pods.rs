//! Calls from a pod on each node, by the Service's name; the pod's log carries the answers.

use std::time::Duration;

use anyhow::{Context as _, bail};
use client::{Client, DeleteParams};
use serde_json::json;

use super::{Answers, Node, Target, core};
use crate::cli::NetTestArguments;

/// How long a calling pod may take from creation to its end.
const POD_TIMEOUT: Duration = Duration::from_secs(90);
/// How often its phase is read.
const POLL: Duration = Duration::from_millis(300);
/// Marks a failed call in the log.
const FAULT: &str = "FAULT ";

/// Runs one pod a node, all at once.
pub async fn call(
    client: &Client,
    target: &Target,
    nodes: &[Node],
    arguments: &NetTestArguments,
) -> anyhow::Result<Vec<(String, Answers)>> {
    let calls = nodes.iter().map(|node| async move {
        let name = format!("gannet-net-test-{}", process::random_suffix(5));
        let answers = call_from(client, target, node, &name, arguments).await;
        // The pod served its purpose however it went; if it is gone already, so much the better.
        let _ = client.delete_value(&core("pods"), &target.namespace, &name, &DeleteParams::now()).await;
        Ok((node.name.clone(), answers?))
    });
    futures::future::join_all(calls).await.into_iter().collect()
}

async fn call_from(
    client: &Client,
    target: &Target,
    node: &Node,
    name: &str,
    arguments: &NetTestArguments,
) -> anyhow::Result<Answers> {
    let Target { namespace, name: service, port, .. } = target;
    let url = format!("http://{service}.{namespace}.svc:{port}/");
    let script = format!(
        "for i in $(seq {}); do timeout 5 wget -q -O - {url} 2>/tmp/fault || echo {FAULT}$(head -n 1 /tmp/fault); done",
        arguments.calls
    );
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app.kubernetes.io/name": "gannet-net-test"}},
        "spec": {
            "nodeName": node.name,
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "tolerations": [{"operator": "Exists"}],
            "containers": [{
                "name": "call",
                "image": arguments.image,
                "imagePullPolicy": "IfNotPresent",
                "command": ["sh", "-c", script],
            }],
        },
    });
    client.create_value(&core("pods"), namespace, &pod).await.context("cannot create the calling pod")?;
    let deadline = process::instant() + POD_TIMEOUT;
    loop {
        let pod = client.get_value(&core("pods"), namespace, name).await?;
        let phase = pod["status"]["phase"].as_str().unwrap_or("Pending");
        if phase == "Succeeded" || phase == "Failed" {
            break;
        }
        if process::instant() > deadline {
            let waiting = &pod["status"]["containerStatuses"][0]["state"]["waiting"];
            bail!(
                "the calling pod {namespace}/{name} on {} is {phase} after {} s: {} {}",
                node.name,
                POD_TIMEOUT.as_secs(),
                waiting["reason"].as_str().unwrap_or_default(),
                waiting["message"].as_str().unwrap_or_default()
            );
        }
        tokio::time::sleep(POLL).await;
    }
    let log = client.get_bytes(&format!("/api/v1/namespaces/{namespace}/pods/{name}/log")).await?;
    let mut answers = Answers::default();
    for line in String::from_utf8_lossy(&log).lines() {
        match line.strip_prefix(FAULT) {
            Some(fault) => answers.add(Err(fault.to_owned())),
            None => answers.add(Ok(line)),
        }
    }
    Ok(answers)
}
