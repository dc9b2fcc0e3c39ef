//! The bound that typed verbs put on a kind.

use api::Gvr;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Serialize, de::DeserializeOwned};

/// A typed Kubernetes object of k8s-openapi with an `ObjectMeta`. Implemented for all of them.
pub trait Object:
    k8s_openapi::Resource + k8s_openapi::Metadata<Ty = ObjectMeta> + DeserializeOwned + Serialize + Send + Sync + 'static
{
    /// Where the kind is served.
    fn gvr() -> Gvr {
        Gvr::new(Self::GROUP, Self::VERSION, Self::URL_PATH_SEGMENT)
    }
}

impl<T> Object for T where
    T: k8s_openapi::Resource
        + k8s_openapi::Metadata<Ty = ObjectMeta>
        + DeserializeOwned
        + Serialize
        + Send
        + Sync
        + 'static
{
}
