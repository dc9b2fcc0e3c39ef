//! What the node API asks of the pods: ids of containers, and the pods with their current status.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use pod::spec::{spec, text};

use crate::context::Context;
use crate::pods::Pods;
use crate::serve::{ContainerRef, PodLookup};

/// Annotation that names the container kubectl means when it names none.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// Answers from the workers' latest states.
pub(crate) struct Lookup {
    context: Arc<Context>,
    pods: Arc<Pods>,
}

impl Lookup {
    pub(crate) fn new(context: Arc<Context>, pods: Arc<Pods>) -> Lookup {
        Lookup { context, pods }
    }
}

impl PodLookup for Lookup {
    fn container(&self, namespace: &str, pod: &str, container: Option<&str>) -> Option<ContainerRef> {
        let state = self.pods.find(namespace, pod)?;
        let annotations = state.pod.metadata.annotations.as_ref();
        let default = annotations.and_then(|a| a.get(DEFAULT_CONTAINER)).map(String::as_str);
        let first = spec(&state.pod).containers.first().map(|c| c.name.as_str());
        let name = container.filter(|name| !name.is_empty()).or(default).or(first)?;
        let found = state.container(name)?;
        let attempt = found.instances.checked_sub(1)?;
        let logs = self.context.paths.logs().display().to_string();
        Some(ContainerRef {
            id: found.id.clone()?,
            sandbox_id: state.sandbox.as_ref().map(|s| s.id.clone()).unwrap_or_default(),
            pod_uid: text(&state.pod.metadata.uid).to_owned(),
            restart_count: attempt,
            log_path: cri::convert::log_path(&logs, &state.pod, name, attempt).into(),
        })
    }

    fn pods(&self) -> Vec<Pod> {
        let with_status = |state: Arc<pod::State>| {
            let status = Some(state.published.clone());
            Pod { status, ..(*state.pod).clone() }
        };
        self.pods.states().into_values().map(with_status).collect()
    }

    fn network(&self) -> Option<Arc<crate::network::Network>> {
        self.context.network.get().cloned()
    }
}
