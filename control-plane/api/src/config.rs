//! Bootstrap: what the file of a sidecar or a control plane says.
//!
//! The file owns bootstrap and the control plane owns policy; no key stands in both.

mod app;
mod check;
mod clusters;
mod control_plane;
mod service;
mod sidecar;
mod tls;

pub use app::{AppConfig, OnRegisterFailure};
pub use check::Check;
pub use clusters::{CLUSTERS_MAX, ClusterConfig, FIRST_CLUSTER};
pub use control_plane::{
    ControlPlaneConfig, ControlPlaneConfigWords, LeaseConfig, LeaseConfigWords, ProtectionConfig,
    ProtectionConfigWords, PushConfig, PushConfigWords,
};
pub use service::ServiceConfig;
pub use sidecar::{
    AdminConfig, AdminConfigWords, ControlConfig, ControlConfigWords, LimitsConfig, LimitsConfigWords,
    LogConfig, LogConfigWords, LogFormat, OutboundConfig, OutboundConfigWords, SidecarConfig,
    SidecarConfigWords,
};
pub use tls::{EndpointTls, EndpointTlsWords, ListenTls, ListenTlsWords};

use std::path::PathBuf;

/// Where a process keeps its state when its file does not say: the system's place for root, the user's own
/// (XDG) for others. `state_home` is `$XDG_STATE_HOME`, `home` is `$HOME`.
pub fn default_state_dir(root: bool, state_home: Option<PathBuf>, home: Option<PathBuf>) -> PathBuf {
    let own = || state_home.or_else(|| home.map(|home| home.join(".local/state")));
    match (root, own()) {
        (false, Some(own)) => own.join("outrigger"),
        _ => PathBuf::from("/var/lib/outrigger"),
    }
}
