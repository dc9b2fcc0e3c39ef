//! Volumes of a pod as plans, and the files of those volumes that are made from API objects.

mod files;

use k8s_openapi::api::core::v1 as core;

pub use files::{File, Inputs, files};

use crate::env::Needs;
use crate::resources;

/// One volume: its name in the pod and what it is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Volume {
    pub name: String,
    pub source: Source,
}

/// What a volume is made of.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// An empty directory that lives as long as the pod.
    EmptyDir { medium: Medium, size_bytes: Option<i64> },
    /// Files made from API objects, kept current.
    Files(Files),
    /// A path of the node.
    HostPath { path: String, kind: HostPathKind },
}

/// Where an emptyDir keeps its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Medium {
    Disk,
    Memory,
}

/// What a hostPath must be, or is made to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostPathKind {
    Unchecked,
    DirectoryOrCreate,
    Directory,
    FileOrCreate,
    File,
    Socket,
    CharDevice,
    BlockDevice,
}

/// A directory of files from one or more parts.
#[derive(Clone, Debug, PartialEq)]
pub struct Files {
    pub parts: Vec<Part>,
    pub default_mode: u32,
}

/// One part of a directory of files.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    ConfigMap { name: String, optional: bool, items: Option<Vec<core::KeyToPath>> },
    Secret { name: String, optional: bool, items: Option<Vec<core::KeyToPath>> },
    Downward { items: Vec<core::DownwardAPIVolumeFile> },
    Token(Token),
}

/// A service account token bound to the pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token {
    /// `None`: the API server's own audience.
    pub audience: Option<String>,
    pub expiration_seconds: i64,
    pub path: String,
}

/// Why a volume cannot be set up; shown as a `FailedMount` event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VolumeError {
    #[error("MountVolume.SetUp failed for volume \"{volume}\" : {kind} \"{name}\" not found")]
    NotFound { volume: String, kind: &'static str, name: String },
    #[error("MountVolume.SetUp failed for volume \"{volume}\" : references non-existent {kind} key: {key}")]
    NoKey { volume: String, kind: &'static str, key: String },
    #[error("MountVolume.SetUp failed for volume \"{volume}\" : path \"{path}\" leaves the volume")]
    BadPath { volume: String, path: String },
    #[error("MountVolume.SetUp failed for volume \"{volume}\" : field \"{field}\" cannot be resolved")]
    BadField { volume: String, field: String },
    #[error("MountVolume.SetUp failed for volume \"{volume}\" : this node does not support volumes of this type")]
    Unsupported { volume: String },
}

const DEFAULT_MODE: u32 = 0o644;
const DEFAULT_TOKEN_SECONDS: i64 = 3600;

/// The pod's volumes.
pub fn plan(pod: &core::Pod) -> Result<Vec<Volume>, VolumeError> {
    crate::spec::spec(pod).volumes.iter().flatten().map(one).collect()
}

/// ConfigMaps and Secrets that the files refer to.
pub fn needs(files: &Files) -> Needs {
    let mut needs = Needs::default();
    for part in &files.parts {
        match part {
            Part::ConfigMap { name, .. } => drop(needs.config_maps.insert(name.clone())),
            Part::Secret { name, .. } => drop(needs.secrets.insert(name.clone())),
            Part::Downward { .. } | Part::Token(_) => {}
        }
    }
    needs
}

fn one(volume: &core::Volume) -> Result<Volume, VolumeError> {
    let source = if let Some(source) = &volume.empty_dir {
        Source::EmptyDir {
            medium: if source.medium.as_deref() == Some("Memory") { Medium::Memory } else { Medium::Disk },
            size_bytes: source.size_limit.as_ref().and_then(resources::units).filter(|bytes| *bytes > 0),
        }
    } else if let Some(source) = &volume.config_map {
        let part = Part::ConfigMap {
            name: source.name.clone(),
            optional: source.optional.unwrap_or(false),
            items: source.items.clone(),
        };
        Source::Files(Files { parts: vec![part], default_mode: mode(source.default_mode) })
    } else if let Some(source) = &volume.secret {
        let part = Part::Secret {
            name: source.secret_name.clone().unwrap_or_default(),
            optional: source.optional.unwrap_or(false),
            items: source.items.clone(),
        };
        Source::Files(Files { parts: vec![part], default_mode: mode(source.default_mode) })
    } else if let Some(source) = &volume.downward_api {
        let part = Part::Downward { items: source.items.clone().unwrap_or_default() };
        Source::Files(Files { parts: vec![part], default_mode: mode(source.default_mode) })
    } else if let Some(source) = &volume.projected {
        let parts = source.sources.iter().flatten().map(|p| projection(&volume.name, p));
        Source::Files(Files {
            parts: parts.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect(),
            default_mode: mode(source.default_mode),
        })
    } else if let Some(source) = &volume.host_path {
        Source::HostPath { path: source.path.clone(), kind: host_path_kind(source.type_.as_deref()) }
    } else if is_bare(volume) {
        // A volume that names no source is an emptyDir.
        Source::EmptyDir { medium: Medium::Disk, size_bytes: None }
    } else {
        return Err(VolumeError::Unsupported { volume: volume.name.clone() });
    };
    Ok(Volume { name: volume.name.clone(), source })
}

fn is_bare(volume: &core::Volume) -> bool {
    *volume == core::Volume { name: volume.name.clone(), ..core::Volume::default() }
}

fn projection(volume: &str, projection: &core::VolumeProjection) -> Result<Vec<Part>, VolumeError> {
    let mut parts = Vec::new();
    if let Some(source) = &projection.config_map {
        parts.push(Part::ConfigMap {
            name: source.name.clone(),
            optional: source.optional.unwrap_or(false),
            items: source.items.clone(),
        });
    }
    if let Some(source) = &projection.secret {
        parts.push(Part::Secret {
            name: source.name.clone(),
            optional: source.optional.unwrap_or(false),
            items: source.items.clone(),
        });
    }
    if let Some(source) = &projection.downward_api {
        parts.push(Part::Downward { items: source.items.clone().unwrap_or_default() });
    }
    if let Some(source) = &projection.service_account_token {
        parts.push(Part::Token(Token {
            audience: source.audience.clone().filter(|a| !a.is_empty()),
            expiration_seconds: source.expiration_seconds.unwrap_or(DEFAULT_TOKEN_SECONDS),
            path: source.path.clone(),
        }));
    }
    if parts.is_empty() {
        return Err(VolumeError::Unsupported { volume: volume.to_owned() });
    }
    Ok(parts)
}

fn mode(mode: Option<i32>) -> u32 {
    mode.and_then(|m| u32::try_from(m).ok()).map_or(DEFAULT_MODE, |m| m & 0o777)
}

fn host_path_kind(word: Option<&str>) -> HostPathKind {
    match word {
        Some("DirectoryOrCreate") => HostPathKind::DirectoryOrCreate,
        Some("Directory") => HostPathKind::Directory,
        Some("FileOrCreate") => HostPathKind::FileOrCreate,
        Some("File") => HostPathKind::File,
        Some("Socket") => HostPathKind::Socket,
        Some("CharDevice") => HostPathKind::CharDevice,
        Some("BlockDevice") => HostPathKind::BlockDevice,
        Some(_) | None => HostPathKind::Unchecked,
    }
}
