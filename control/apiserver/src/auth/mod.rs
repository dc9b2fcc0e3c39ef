//! Who asks, and whether they may.

mod authenticate;
pub(crate) mod authorize;
mod follow;
pub(crate) mod impersonate;
pub(crate) mod issuer;
pub(crate) mod legacy_token;
pub(crate) mod node;
pub(crate) mod rbac;
pub(crate) mod reviews;
pub(crate) mod token;
pub(crate) mod x509;

use crate::Apiserver;
use api::Status;
pub(crate) use authenticate::{account, authenticate};
use follow::Follower;
use node::graph::Graph;
use process::Shutdown;
use rbac::index::Index;
use std::{collections::BTreeMap, sync::Arc};

/// Who makes a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    /// e.g. `kubernetes-admin`, `system:node:n1`, `system:serviceaccount:ns:name`.
    pub name: String,
    /// e.g. `system:masters`.
    pub groups: Vec<String>,
    /// Of a service account.
    pub uid: String,
    /// More facts, e.g. the pod a token is bound to.
    pub extra: BTreeMap<String, Vec<String>>,
}

pub(crate) const MASTERS: &str = "system:masters";
pub(crate) const NODES: &str = "system:nodes";
pub(crate) const AUTHENTICATED: &str = "system:authenticated";
pub(crate) const UNAUTHENTICATED: &str = "system:unauthenticated";
pub(crate) const ACCOUNT_PREFIX: &str = "system:serviceaccount:";
const ACCOUNTS: &str = "system:serviceaccounts";
const ANONYMOUS: &str = "system:anonymous";
const NODE_PREFIX: &str = "system:node:";
/// The extra fact that names a credential.
const CREDENTIAL: &str = "authentication.kubernetes.io/credential-id";

impl User {
    /// An authenticated user.
    pub fn new(name: impl Into<String>, groups: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let mut groups: Vec<String> = groups.into_iter().map(Into::into).collect();
        if !groups.iter().any(|group| group == AUTHENTICATED) {
            groups.push(AUTHENTICATED.to_owned());
        }
        Self { name: name.into(), groups, ..Self::default() }
    }

    /// The API server itself: it creates what every cluster has.
    pub fn gannet() -> Self {
        Self::new("system:gannet", [MASTERS])
    }

    /// A service account.
    pub fn account(namespace: &str, name: &str) -> Self {
        Self::new(format!("{ACCOUNT_PREFIX}{namespace}:{name}"), Self::account_groups(namespace))
    }

    fn account_groups(namespace: &str) -> Vec<String> {
        vec![ACCOUNTS.to_owned(), format!("{ACCOUNTS}:{namespace}")]
    }

    /// Nobody.
    pub fn anonymous() -> Self {
        Self { name: ANONYMOUS.to_owned(), groups: vec![UNAUTHENTICATED.to_owned()], ..Self::default() }
    }

    /// Is the user in this group?
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|own| own == group)
    }

    /// The node's name, if the user is a node.
    pub fn node(&self) -> Option<&str> {
        self.name.strip_prefix(NODE_PREFIX).filter(|name| !name.is_empty() && self.is_in(NODES))
    }
}

/// What decisions are made from.
pub(crate) struct Knowledge {
    roles: Follower<Arc<Index>>,
    pub(crate) graph: Follower<Graph>,
}

impl Knowledge {
    pub(crate) fn new() -> Self {
        Self { roles: Follower::new(rbac::index::PREFIX), graph: Follower::new(node::graph::PREFIX) }
    }

    /// RBAC's objects as they are now.
    pub(crate) async fn roles(&self, server: &Apiserver) -> Result<Arc<Index>, Status> {
        self.roles.read(server, Arc::clone).await
    }
}

/// Keeps [`Knowledge::graph`] from falling behind between the nodes' requests, until shutdown.
pub(crate) async fn follow_nodes(server: Arc<Apiserver>, shutdown: Shutdown) {
    tokio::select! {
        () = server.auth.graph.drain() => {}
        () = shutdown.cancelled() => {}
    }
}
