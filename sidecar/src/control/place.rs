//! What a host says of itself when its file does not: its name, and where state is kept.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use api::config::{SidecarConfig, default_state_dir};
use api::name::LABEL_MAX;
use api::{NodeName, Problem};

/// The node's name: as the file says, else the host's own made into a name.
///
/// # Errors
/// When the file's is no name, or the host has none.
pub(crate) fn node(config: &SidecarConfig) -> Result<NodeName, Problem> {
    if !config.node.is_empty() {
        return config.node.parse().map_err(|why: String| Problem::at("node", why));
    }
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    label(host.trim())
        .parse()
        .map_err(|_| Problem::at("node", "this host has no name").hint("write node: NAME"))
}

/// `text` with what a name may not hold replaced: a host may be called `Web_1.example`.
fn label(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let made: String = text.chars().map(plain).take(LABEL_MAX).collect();
    made.trim_matches('-').to_owned()
}

/// Where the snapshot is kept.
pub(crate) fn state_dir(config: &SidecarConfig) -> PathBuf {
    if !config.state.as_os_str().is_empty() {
        return config.state.clone();
    }
    let root = std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    default_state_dir(root, variable("XDG_STATE_HOME"), variable("HOME"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_name_becomes_a_name() {
        for (host, wanted) in [("web-1", "web-1"), ("Web_1.example", "web-1-example"), ("-x-", "x"), ("", "")]
        {
            assert_eq!(label(host), wanted);
        }
    }
}
