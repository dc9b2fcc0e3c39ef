//! Contents of the volumes that are made from API objects.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as core;

use super::{Files, Part, Token, VolumeError};
use crate::env::{self, Downward, Sources};
use crate::resources;

/// One file of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    pub data: Vec<u8>,
    pub mode: u32,
}

/// What the contents depend on.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    pub pod: &'a core::Pod,
    pub sources: &'a Sources,
    pub downward: &'a Downward,
    pub tokens: &'a BTreeMap<Token, String>,
}

/// The files of `volume`, by path relative to the volume. Of two parts with the same path the later wins.
pub fn files(volume: &str, plan: &Files, inputs: Inputs<'_>) -> Result<BTreeMap<String, File>, VolumeError> {
    let mut out = BTreeMap::new();
    for part in &plan.parts {
        match part {
            Part::ConfigMap { name, optional, items } => {
                let map = inputs.sources.config_maps.get(name);
                let data = map.map(|map| {
                    let text = map.data.iter().flatten().map(|(k, v)| (k.clone(), v.clone().into_bytes()));
                    let binary = map.binary_data.iter().flatten().map(|(k, v)| (k.clone(), v.0.clone()));
                    text.chain(binary).collect()
                });
                let wanted = Wanted { kind: "configmap", name, optional: *optional, items: items.as_deref() };
                select(volume, wanted, data, plan.default_mode, &mut out)?;
            }
            Part::Secret { name, optional, items } => {
                let secret = inputs.sources.secrets.get(name);
                let data = secret.map(|s| s.data.iter().flatten().map(|(k, v)| (k.clone(), v.0.clone())).collect());
                let wanted = Wanted { kind: "secret", name, optional: *optional, items: items.as_deref() };
                select(volume, wanted, data, plan.default_mode, &mut out)?;
            }
            Part::Downward { items } => {
                for item in items {
                    let value = downward(volume, item, inputs)?;
                    put(volume, &item.path, value.into_bytes(), item.mode, plan.default_mode, &mut out)?;
                }
            }
            Part::Token(token) => {
                let value = inputs.tokens.get(token).cloned().unwrap_or_default();
                put(volume, &token.path, value.into_bytes(), None, plan.default_mode, &mut out)?;
            }
        }
    }
    Ok(out)
}

struct Wanted<'a> {
    kind: &'static str,
    name: &'a str,
    optional: bool,
    items: Option<&'a [core::KeyToPath]>,
}

fn select(
    volume: &str,
    wanted: Wanted<'_>,
    data: Option<BTreeMap<String, Vec<u8>>>,
    default_mode: u32,
    out: &mut BTreeMap<String, File>,
) -> Result<(), VolumeError> {
    let Some(mut data) = data else {
        if wanted.optional {
            return Ok(());
        }
        let (volume, name) = (volume.to_owned(), wanted.name.to_owned());
        return Err(VolumeError::NotFound { volume, kind: wanted.kind, name });
    };
    let Some(items) = wanted.items.filter(|items| !items.is_empty()) else {
        for (key, bytes) in data {
            put(volume, &key, bytes, None, default_mode, out)?;
        }
        return Ok(());
    };
    for item in items {
        match data.remove(&item.key) {
            Some(bytes) => put(volume, &item.path, bytes, item.mode, default_mode, out)?,
            None if wanted.optional => {}
            None => {
                let (volume, key) = (volume.to_owned(), item.key.clone());
                return Err(VolumeError::NoKey { volume, kind: wanted.kind, key });
            }
        }
    }
    Ok(())
}

fn downward(volume: &str, item: &core::DownwardAPIVolumeFile, inputs: Inputs<'_>) -> Result<String, VolumeError> {
    let bad = |field: &str| VolumeError::BadField { volume: volume.to_owned(), field: field.to_owned() };
    if let Some(selector) = &item.field_ref {
        let path = &selector.field_path;
        return env::field(inputs.pod, path, inputs.downward).ok_or_else(|| bad(path));
    }
    if let Some(selector) = &item.resource_field_ref {
        let value = resources::field(inputs.pod, "", selector, &inputs.downward.allocatable);
        return value.ok_or_else(|| bad(&selector.resource));
    }
    Err(bad(&item.path))
}

fn put(
    volume: &str,
    path: &str,
    data: Vec<u8>,
    mode: Option<i32>,
    default_mode: u32,
    out: &mut BTreeMap<String, File>,
) -> Result<(), VolumeError> {
    if !is_inside(path) {
        return Err(VolumeError::BadPath { volume: volume.to_owned(), path: path.to_owned() });
    }
    let mode = mode.and_then(|m| u32::try_from(m).ok()).map_or(default_mode, |m| m & 0o777);
    out.insert(path.to_owned(), File { data, mode });
    Ok(())
}

/// Whether the path is relative, stays below its root and does not touch the writer's own `..` names.
fn is_inside(path: &str) -> bool {
    let parts = || path.split('/');
    !path.is_empty() && !path.starts_with("..") && parts().all(|part| !part.is_empty() && part != "." && part != "..")
}
