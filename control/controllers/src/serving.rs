//! What Services read of a pod: a small part of it, so that a Service of many pods does not decode each of them whole.

use cache::Object;
use k8s_openapi::api::core::v1::{ContainerPort, Service, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::Deserialize;

/// The part.
#[derive(Debug, Default, Deserialize)]
pub struct Serving {
    spec: Option<Spec>,
    status: Option<Status>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    hostname: Option<String>,
    subdomain: Option<String>,
    containers: Option<Vec<Container>>,
    init_containers: Option<Vec<Container>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Container {
    ports: Option<Vec<ContainerPort>>,
    restart_policy: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Status {
    #[serde(rename = "podIP")]
    pod_ip: Option<String>,
    #[serde(rename = "podIPs")]
    pod_ips: Option<Vec<PodIp>>,
}

#[derive(Debug, Deserialize)]
struct PodIp {
    ip: Option<String>,
}

impl Serving {
    /// Of a pod; `None` if its bytes are not of this form.
    pub fn of(pod: &Object) -> Option<Serving> {
        pod.part()
    }

    /// The pod's addresses, the primary one first.
    pub fn ips(&self) -> Vec<&str> {
        let Some(status) = &self.status else { return Vec::new() };
        let ips = status.pod_ips.iter().flatten().filter_map(|ip| ip.ip.as_deref());
        let ips: Vec<&str> = ips.filter(|ip| !ip.is_empty()).collect();
        match (&ips[..], status.pod_ip.as_deref()) {
            ([], Some(ip)) if !ip.is_empty() => vec![ip],
            _ => ips,
        }
    }

    /// The pod's port that a Service's port means: a number, or the name of a port of one of its containers (of an
    /// init container too, if that is a sidecar).
    pub fn target_port(&self, port: &ServicePort) -> Option<i32> {
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        match &port.target_port {
            None => Some(port.port),
            Some(IntOrString::Int(0)) => Some(port.port),
            Some(IntOrString::Int(number)) => Some(*number),
            Some(IntOrString::String(name)) => self
                .containers()
                .flat_map(|container| container.ports.iter().flatten())
                .find(|candidate| {
                    candidate.name.as_ref() == Some(name) && candidate.protocol.as_deref().unwrap_or("TCP") == protocol
                })
                .map(|found| found.container_port),
        }
    }

    /// A pod has a name of its own below its Service if it names the Service as its subdomain.
    pub fn hostname(&self, service: &Service) -> Option<String> {
        let spec = self.spec.as_ref()?;
        let subdomain = spec.subdomain.as_deref()?;
        let hostname = spec.hostname.as_deref().filter(|hostname| !hostname.is_empty())?;
        (Some(subdomain) == service.metadata.name.as_deref()).then(|| hostname.to_owned())
    }

    fn containers(&self) -> impl Iterator<Item = &Container> {
        let spec = self.spec.as_ref();
        let containers = spec.into_iter().flat_map(|spec| spec.containers.iter().flatten());
        let sidecars = spec
            .into_iter()
            .flat_map(|spec| spec.init_containers.iter().flatten())
            .filter(|container| container.restart_policy.as_deref() == Some("Always"));
        containers.chain(sidecars)
    }
}
