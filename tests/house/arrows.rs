//! Import direction: the arrows of `docs/ARCHITECTURE.md`, and no others.

use std::collections::BTreeSet;

use crate::tree;

/// Ours, as manifests name them.
const OURS: [&str; 5] = ["api", "control-core", "control-plane", "sidecar-core", "sidecar"];
/// What blocks, sleeps, rolls dice, reads a clock, opens a file or a socket.
const ACTS: [&str; 15] = [
    "axum",
    "getrandom",
    "hyper",
    "hyper-util",
    "prometheus",
    "rand",
    "reqwest",
    "rusqlite",
    "rustix",
    "rustls",
    "socket2",
    "tempfile",
    "tokio",
    "tokio-rustls",
    "tower",
];

/// The names under `[dependencies]` of a manifest.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let mut section = "";
    let mut names = BTreeSet::new();
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            section = line;
        } else if section == "[dependencies]"
            && let Some((name, _)) = line.split_once('=')
        {
            let name = name.trim().trim_end_matches(".workspace");
            names.insert(name.to_owned());
        }
    }
    names
}

fn check(manifest: &str, allowed: &[&str], acts: bool) {
    let names = dependencies(&tree::read(manifest));
    let ours: BTreeSet<&str> = names.iter().map(String::as_str).filter(|name| OURS.contains(name)).collect();
    let strangers: Vec<_> = ours.iter().filter(|name| !allowed.contains(name)).collect();
    assert!(
        strangers.is_empty(),
        "{manifest} imports {strangers:?}; the arrows that exist go to {allowed:?}"
    );
    if !acts {
        let acting: Vec<_> = names.iter().filter(|name| ACTS.contains(&name.as_str())).collect();
        assert!(
            acting.is_empty(),
            "{manifest} only decides, yet imports {acting:?}: move the deed into the process"
        );
    }
}

#[test]
fn imports_follow_the_arrows() {
    check("control-plane/api/Cargo.toml", &[], false);
    check("control-plane/core/Cargo.toml", &["api"], false);
    check("sidecar/core/Cargo.toml", &["api"], false);
    check("control-plane/Cargo.toml", &["control-core", "api"], true);
    check("sidecar/Cargo.toml", &["sidecar-core", "api"], true);
    check("Cargo.toml", &["control-plane", "sidecar", "api"], true);
}

#[test]
fn dependencies_are_read_from_every_form() {
    let manifest = "[package]\nname = \"x\"\n[dependencies]\napi.workspace = true\nhttp = \"1\"\n\
                    tokio = { workspace = true }\n[dev-dependencies]\nsidecar.workspace = true\n";
    let expected = ["api", "http", "tokio"].map(str::to_owned);
    assert_eq!(dependencies(manifest), BTreeSet::from(expected));
}

#[test]
fn the_cores_touch_nothing_of_the_outside() {
    // The manifests keep crates out; this keeps the standard library's ways out.
    const WAYS: [&str; 7] = [
        "std::fs",
        "std::net::Tcp",
        "std::net::Udp",
        "std::thread",
        "std::process",
        "Instant::now",
        "SystemTime::now",
    ];
    for dir in ["control-plane/api/src", "control-plane/core/src", "sidecar/core/src"] {
        for file in tree::files(dir) {
            let text = tree::read(&file);
            let code = text.split("#[cfg(test)]").next().unwrap();
            let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
            for line in lines {
                let way = WAYS.iter().find(|way| line.contains(**way));
                assert!(way.is_none(), "{}: {line:?} reaches outside", file.display());
            }
        }
    }
}
