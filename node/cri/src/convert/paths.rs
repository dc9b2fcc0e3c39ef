//! Where logs are: the layout that log shippers know from Kubernetes.

use k8s_openapi::api::core::v1::Pod;
use pod::spec::text;

/// `<log_root>/<namespace>_<name>_<uid>`.
pub fn pod_log_directory(log_root: &str, pod: &Pod) -> String {
    let meta = &pod.metadata;
    format!("{log_root}/{}_{}_{}", text(&meta.namespace), text(&meta.name), text(&meta.uid))
}

/// `<container>/<attempt>.log`, below the pod's directory.
pub fn container_log_path(container: &str, attempt: u32) -> String {
    format!("{container}/{attempt}.log")
}

/// The whole path of one container's log.
pub fn log_path(log_root: &str, pod: &Pod, container: &str, attempt: u32) -> String {
    format!("{}/{}", pod_log_directory(log_root, pod), container_log_path(container, attempt))
}
