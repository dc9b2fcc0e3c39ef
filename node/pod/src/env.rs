//! Environment of a container: Service variables, `envFrom`, `env` with references, `$(NAME)` expansion.

mod expand;
mod field;
mod services;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use k8s_openapi::api::core::v1 as core;

pub use expand::expand;
pub use field::field;

use crate::mount::EnvVar;
use crate::resources::{self, List};
use crate::spec;

/// Objects of the pod's namespace that a container or volume may refer to.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    pub config_maps: BTreeMap<String, core::ConfigMap>,
    pub secrets: BTreeMap<String, core::Secret>,
    /// Services of the pod's namespace, and `kubernetes` of `default`.
    pub services: Vec<core::Service>,
}

/// What the downward API tells beyond the pod object.
#[derive(Clone, Debug, Default)]
pub struct Downward {
    pub pod_ips: Vec<IpAddr>,
    pub host_ips: Vec<IpAddr>,
    pub allocatable: List,
}

/// Names of the ConfigMaps and Secrets something refers to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    pub config_maps: BTreeSet<String>,
    pub secrets: BTreeSet<String>,
}

/// Why an environment cannot be made; shown as `CreateContainerConfigError`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvError {
    #[error("{kind} \"{name}\" not found")]
    NotFound { kind: &'static str, name: String },
    #[error("couldn't find key {key} in {kind} {namespace}/{name}")]
    NoKey { kind: &'static str, namespace: String, name: String, key: String },
    #[error("field label not supported: {0}")]
    Field(String),
    #[error("resource field {0} cannot be resolved")]
    Resource(String),
    #[error("value of key {0} is not UTF-8 text")]
    NotText(String),
}

/// What `container` refers to in its environment.
pub fn needs(container: &core::Container) -> Needs {
    let mut needs = Needs::default();
    for from in container.env_from.iter().flatten() {
        needs.config_maps.extend(from.config_map_ref.as_ref().map(|r| r.name.clone()));
        needs.secrets.extend(from.secret_ref.as_ref().map(|r| r.name.clone()));
    }
    for from in container.env.iter().flatten().filter_map(|v| v.value_from.as_ref()) {
        needs.config_maps.extend(from.config_map_key_ref.as_ref().map(|r| r.name.clone()));
        needs.secrets.extend(from.secret_key_ref.as_ref().map(|r| r.name.clone()));
    }
    needs
}

/// The container's variables: later ones override earlier ones of the same name.
pub fn resolve(
    pod: &core::Pod,
    container: &core::Container,
    sources: &Sources,
    downward: &Downward,
) -> Result<Vec<EnvVar>, EnvError> {
    let services = services::variables(pod, &sources.services);
    let mut out = Ordered::default();
    for from in container.env_from.iter().flatten() {
        add_all(&mut out, pod, from, sources)?;
    }
    let mut known: BTreeMap<String, String> = services.iter().cloned().collect();
    for var in container.env.iter().flatten() {
        let value = match (&var.value, &var.value_from) {
            (_, Some(from)) => match reference(pod, container, from, sources, downward)? {
                Some(value) => value,
                None => continue,
            },
            (Some(value), None) => expand(value, |name| known.get(name).cloned()),
            (None, None) => String::new(),
        };
        known.insert(var.name.clone(), value.clone());
        out.set(&var.name, value);
    }
    for (name, value) in services {
        if !out.index.contains_key(&name) {
            out.set(&name, value);
        }
    }
    Ok(out.list)
}

/// `command` or `args` with `$(NAME)` replaced by the container's variables.
pub fn expand_all(words: &[String], variables: &[EnvVar]) -> Vec<String> {
    let find = |name: &str| variables.iter().find(|v| v.name == name).map(|v| v.value.clone());
    words.iter().map(|word| expand(word, find)).collect()
}

#[derive(Default)]
struct Ordered {
    list: Vec<EnvVar>,
    index: BTreeMap<String, usize>,
}

impl Ordered {
    fn set(&mut self, name: &str, value: String) {
        match self.index.get(name) {
            Some(at) => self.list[*at].value = value,
            None => {
                self.index.insert(name.to_owned(), self.list.len());
                self.list.push(EnvVar { name: name.to_owned(), value });
            }
        }
    }
}

fn add_all(out: &mut Ordered, pod: &core::Pod, from: &core::EnvFromSource, sources: &Sources) -> Result<(), EnvError> {
    let _ = pod;
    let prefix = from.prefix.as_deref().unwrap_or_default();
    if let Some(wanted) = &from.config_map_ref {
        match sources.config_maps.get(&wanted.name) {
            Some(map) => {
                for (key, value) in map.data.iter().flatten() {
                    out.set(&format!("{prefix}{key}"), value.clone());
                }
            }
            None if wanted.optional == Some(true) => {}
            None => return Err(EnvError::NotFound { kind: "configmap", name: wanted.name.clone() }),
        }
    }
    if let Some(wanted) = &from.secret_ref {
        match sources.secrets.get(&wanted.name) {
            Some(secret) => {
                for (key, value) in secret.data.iter().flatten() {
                    let text = String::from_utf8(value.0.clone()).map_err(|_| EnvError::NotText(key.clone()))?;
                    out.set(&format!("{prefix}{key}"), text);
                }
            }
            None if wanted.optional == Some(true) => {}
            None => return Err(EnvError::NotFound { kind: "secret", name: wanted.name.clone() }),
        }
    }
    Ok(())
}

/// The value a reference points at; `None` when it is optional and absent.
fn reference(
    pod: &core::Pod,
    container: &core::Container,
    from: &core::EnvVarSource,
    sources: &Sources,
    downward: &Downward,
) -> Result<Option<String>, EnvError> {
    if let Some(selector) = &from.field_ref {
        let path = &selector.field_path;
        return field(pod, path, downward).map(Some).ok_or_else(|| EnvError::Field(path.clone()));
    }
    if let Some(selector) = &from.resource_field_ref {
        let value = resources::field(pod, &container.name, selector, &downward.allocatable);
        return value.map(Some).ok_or_else(|| EnvError::Resource(selector.resource.clone()));
    }
    let namespace = spec::text(&pod.metadata.namespace).to_owned();
    let missing = |kind, found: bool, name: &str, key: &str, optional: Option<bool>| {
        if optional == Some(true) {
            return Ok(None);
        }
        Err(if found {
            EnvError::NoKey { kind, namespace: namespace.clone(), name: name.to_owned(), key: key.to_owned() }
        } else {
            EnvError::NotFound { kind, name: name.to_owned() }
        })
    };
    if let Some(wanted) = &from.config_map_key_ref {
        let map = sources.config_maps.get(&wanted.name);
        return match map.and_then(|m| m.data.as_ref()).and_then(|d| d.get(&wanted.key)) {
            Some(value) => Ok(Some(value.clone())),
            None => missing("configmap", map.is_some(), &wanted.name, &wanted.key, wanted.optional),
        };
    }
    if let Some(wanted) = &from.secret_key_ref {
        let secret = sources.secrets.get(&wanted.name);
        return match secret.and_then(|s| s.data.as_ref()).and_then(|d| d.get(&wanted.key)) {
            Some(value) => {
                let text = String::from_utf8(value.0.clone());
                text.map(Some).map_err(|_| EnvError::NotText(wanted.key.clone()))
            }
            None => missing("secret", secret.is_some(), &wanted.name, &wanted.key, wanted.optional),
        };
    }
    Ok(None)
}
