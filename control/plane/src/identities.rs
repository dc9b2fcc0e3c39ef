//! Who each control loop is: an account of its own in kube-system, which may do what the loop's role
//! (`system:controller:*`) says, and nothing else.

use std::sync::Arc;

use apiserver::{Apiserver, User};
use client::Client;

const NAMESPACE: &str = "kube-system";

/// Gives control loops their clients.
#[derive(Clone)]
pub struct Identities(Arc<Apiserver>);

impl Identities {
    /// Of loops beside this server.
    pub fn new(server: Arc<Apiserver>) -> Self {
        Self(server)
    }

    /// A client in process for the loop of this name.
    pub fn client(&self, controller: &str) -> Client {
        self.0.transport(User::account(NAMESPACE, account(controller)))
    }

    /// A client in process for the fabric, which only tells what it does not understand. Kubernetes has no account for it.
    pub fn fabric(&self) -> Client {
        self.0.transport(User::gannet())
    }

    /// A client in process for the scheduler.
    pub fn scheduler(&self) -> Client {
        self.0.transport(User::new("system:kube-scheduler", Vec::<String>::new()))
    }
}

/// The account of a loop: Kubernetes' names, because roles are bound to them.
fn account(controller: &str) -> &str {
    match controller {
        "endpoint-slice-controller" => "endpointslice-controller",
        "garbage-collector-controller" => "generic-garbage-collector",
        // One account in Kubernetes, too.
        "node-ipam-controller" | "taint-eviction-controller" => "node-controller",
        "pod-garbage-collector-controller" => "pod-garbage-collector",
        "root-ca-certificate-publisher-controller" => "root-ca-cert-publisher",
        "serviceaccount-controller" => "service-account-controller",
        own => own,
    }
}
