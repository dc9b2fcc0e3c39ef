//! The control loops, one file each. Each is a [`reconcile::Controller`]: a pure function from a View and the time to
//! a plan. They behave as those of kube-controller-manager, down to reasons and messages, because kubectl and people
//! read them.

pub mod cluster_role_aggregation;
pub mod deployment;
pub mod endpoint_slice;
pub mod endpoints;
pub mod garbage;
pub mod namespace;
pub mod node_ipam;
pub mod node_lifecycle;
pub mod owner;
pub mod pod_gc;
pub mod pods;
pub mod replica_set;
pub mod root_ca;
pub mod service_account;
pub mod serving;
pub mod taint_eviction;
#[cfg(test)]
mod testing;

use ipnet::IpNet;
use jiff::Timestamp;
use reconcile::Controller;

/// What the control loops have to be told.
#[derive(Clone, Debug)]
pub struct Config {
    /// The ranges that nodes' pod CIDRs are cut from; one a family.
    pub cluster_cidrs: Vec<IpNet>,
    /// The CA certificate, PEM, that `kube-root-ca.crt` publishes.
    pub ca_pem: String,
    /// When this control plane started: a node is not blamed for heartbeats that nobody could take.
    pub started: Timestamp,
}

/// Every control loop.
pub fn all(config: &Config) -> Vec<Box<dyn Controller>> {
    vec![
        Box::new(deployment::DeploymentController),
        Box::new(replica_set::ReplicaSetController),
        Box::new(endpoint_slice::EndpointSliceController),
        Box::new(endpoints::EndpointsController),
        Box::new(namespace::NamespaceController),
        Box::new(service_account::ServiceAccountController),
        Box::new(root_ca::RootCaPublisher { ca_pem: config.ca_pem.clone() }),
        Box::new(garbage::GarbageCollector),
        Box::new(node_lifecycle::NodeLifecycleController { started: config.started }),
        Box::new(taint_eviction::TaintEvictionController),
        Box::new(pod_gc::PodGarbageCollector),
        Box::new(cluster_role_aggregation::ClusterRoleAggregationController),
        Box::new(node_ipam::NodeIpamController { cluster_cidrs: config.cluster_cidrs.clone() }),
    ]
}

#[cfg(test)]
mod tests;
