//! Variables that tell of Services: `NAME_SERVICE_HOST`, `NAME_SERVICE_PORT`, and the older link form.

use k8s_openapi::api::core::v1::{Pod, Service};

use crate::spec::{spec, text};

/// Variables for the Services the pod should see, in the order of the Services.
pub(super) fn variables(pod: &Pod, services: &[Service]) -> Vec<(String, String)> {
    let links = spec(pod).enable_service_links.unwrap_or(true);
    let visible = services.iter().filter(|service| {
        let meta = &service.metadata;
        let own = meta.namespace == pod.metadata.namespace;
        let master = text(&meta.namespace) == "default" && text(&meta.name) == "kubernetes";
        master || (links && own)
    });
    visible.flat_map(one).collect()
}

fn one(service: &Service) -> Vec<(String, String)> {
    let Some(wanted) = &service.spec else { return Vec::new() };
    let host = text(&wanted.cluster_ip);
    let ports: Vec<_> = wanted.ports.iter().flatten().collect();
    let (Some(first), false) = (ports.first(), host.is_empty() || host == "None") else { return Vec::new() };
    let prefix = constant(text(&service.metadata.name));
    let shown = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let mut out = vec![
        (format!("{prefix}_SERVICE_HOST"), host.to_owned()),
        (format!("{prefix}_SERVICE_PORT"), first.port.to_string()),
    ];
    for port in ports.iter().filter(|port| port.name.as_ref().is_some_and(|name| !name.is_empty())) {
        out.push((format!("{prefix}_SERVICE_PORT_{}", constant(text(&port.name))), port.port.to_string()));
    }
    let scheme = |protocol: &Option<String>| protocol.as_deref().unwrap_or("TCP").to_lowercase();
    out.push((format!("{prefix}_PORT"), format!("{}://{shown}:{}", scheme(&first.protocol), first.port)));
    for port in &ports {
        let scheme = scheme(&port.protocol);
        let link = format!("{prefix}_PORT_{}_{}", port.port, scheme.to_uppercase());
        out.push((link.clone(), format!("{scheme}://{shown}:{}", port.port)));
        out.push((format!("{link}_PROTO"), scheme));
        out.push((format!("{link}_PORT"), port.port.to_string()));
        out.push((format!("{link}_ADDR"), host.to_owned()));
    }
    out
}

fn constant(name: &str) -> String {
    name.to_uppercase().replace('-', "_")
}
