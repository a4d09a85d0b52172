//! Real programs that the tests drive. One that is missing fails the test: `./test` installs them all.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Python with the packages that `./test` installs.
///
/// # Panics
/// When it is not there.
pub fn python() -> Command {
    let python = root().join(".venv/bin/python");
    assert!(python.exists(), "{} is missing: run ./test, which installs it", python.display());
    Command::new(python)
}

/// Node, with the packages that `./test` installs.
pub fn node() -> Command {
    let mut node = Command::new("node");
    node.env("NODE_PATH", root().join(".tools/node_modules"));
    node
}

/// nginx, which Debian keeps where ordinary users do not look.
///
/// # Panics
/// When it is not there.
pub fn nginx() -> Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    let nginx = dirs.map(|dir| dir.join("nginx")).find(|nginx| nginx.exists());
    Command::new(nginx.expect("nginx is missing: run ./test, which installs it"))
}

/// What a command that must end well wrote to standard output.
///
/// # Panics
/// When it cannot be started or ends badly, with all that it said.
pub fn ended_well(command: &mut Command) -> String {
    let Output { status, stdout, stderr } =
        command.output().unwrap_or_else(|why| panic!("{command:?}: {why}: run ./test, which installs it"));
    let (out, err) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{command:?} ended with {status}\n{out}\n{err}");
    out.into_owned()
}
