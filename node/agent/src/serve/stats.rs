//! `/stats/summary`: what the containers of this node use, as far as the runtime measures it.

use cri::convert::labels;
use cri::v1;
use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::{Body, Server, full, text};

/// Answers with the summary.
pub(super) async fn summary(server: &Server) -> Response<Body> {
    let all = match server.runtime.list_container_stats(v1::ContainerStatsFilter::default()).await {
        Ok(all) => all,
        Err(error) => return text(StatusCode::INTERNAL_SERVER_ERROR, &error.message()),
    };
    let node = server.pods.pods().first().and_then(|pod| pod.spec.as_ref()?.node_name.clone());
    let body = json!({"node": {"nodeName": node.unwrap_or_default()}, "pods": by_pod(&all)});
    let mut response = Response::new(full(body.to_string()));
    let kind = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    response
}

fn by_pod(all: &[v1::ContainerStats]) -> Vec<Value> {
    let mut pods = std::collections::BTreeMap::<(&str, &str, &str), Vec<Value>>::new();
    for stats in all {
        let Some(attributes) = &stats.attributes else { continue };
        let label = |name: &str| attributes.labels.get(name).map_or("", String::as_str);
        let key = (label(labels::POD_NAMESPACE), label(labels::POD_NAME), label(labels::POD_UID));
        pods.entry(key).or_default().push(container(label(labels::CONTAINER_NAME), stats));
    }
    let pod = |((namespace, name, uid), containers)| json!({"podRef": {"namespace": namespace, "name": name, "uid": uid}, "containers": containers});
    pods.into_iter().map(pod).collect()
}

fn container(name: &str, stats: &v1::ContainerStats) -> Value {
    let value = |wrapped: &Option<v1::UInt64Value>| wrapped.as_ref().map(|v| v.value);
    let time = |ns: i64| jiff::Timestamp::from_nanosecond(i128::from(ns)).unwrap_or_default().to_string();
    let cpu = stats.cpu.as_ref().map(|cpu| {
        json!({
            "time": time(cpu.timestamp),
            "usageCoreNanoSeconds": value(&cpu.usage_core_nano_seconds),
            "usageNanoCores": value(&cpu.usage_nano_cores),
        })
    });
    let memory = stats.memory.as_ref().map(|memory| {
        json!({
            "time": time(memory.timestamp),
            "workingSetBytes": value(&memory.working_set_bytes),
            "usageBytes": value(&memory.usage_bytes),
            "rssBytes": value(&memory.rss_bytes),
        })
    });
    json!({"name": name, "cpu": cpu, "memory": memory})
}
