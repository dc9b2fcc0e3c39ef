//! What a failed call to etcd means. etcd's errors are told apart by their texts: its codes group what must be treated
//! differently (etcd `api/v3rpc/rpctypes/error.go`).

use std::error::Error as _;

use etcd_client::Error as EtcdError;

/// What is known after a failed call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The revision asked for is gone.
    Compacted,
    /// The NOSPACE alarm is raised.
    NoSpace,
    /// The request is over etcd's limit.
    TooLarge,
    /// It did not reach a server that could do it.
    NotDone,
    /// It may have been done, or may yet be.
    Ambiguous,
}

/// etcd's texts that decide, without their prefixes.
const TEXTS: &[(&str, Fault)] = &[
    ("required revision has been compacted", Fault::Compacted),
    ("database space exceeded", Fault::NoSpace),
    ("request is too large", Fault::TooLarge),
    ("message larger than max", Fault::TooLarge),
    ("etcdserver: no leader", Fault::NotDone),
    ("etcdserver: too many requests", Fault::NotDone),
];

impl Fault {
    pub(super) fn of(error: &EtcdError) -> Fault {
        let EtcdError::GRpcStatus(status) = error else { return Fault::Ambiguous };
        if let Some((_, fault)) = TEXTS.iter().find(|(text, _)| status.message().contains(text)) {
            return *fault;
        }
        let mut source = status.source();
        while let Some(error) = source {
            if error.is::<tonic::ConnectError>() {
                return Fault::NotDone;
            }
            source = error.source();
        }
        Fault::Ambiguous
    }
}
