//! What is shipped as an example loads.

use api::config::{ControlPlaneConfigWords, SidecarConfigWords};
use api::policy::PolicyWords;
use api::problem::render;
use api::schema::{Shape, Words};
use api::{Problem, yaml};

use crate::tree;

/// The problems of a file, by what its name says that it is.
fn problems(path: &str, text: &str) -> Vec<Problem> {
    let name = path.rsplit('/').next().unwrap();
    if path.starts_with("configs/policies/") {
        return told(yaml::read_all::<PolicyWords>(text));
    }
    if name.starts_with("sidecar") {
        return match yaml::read_one::<SidecarConfigWords>(text) {
            Ok(words) => words.settle().check(),
            Err(problems) => problems,
        };
    }
    if name.starts_with("control-plane") {
        return told(yaml::read_one::<ControlPlaneConfigWords>(text));
    }
    panic!("{path}: name it sidecar*.yaml or control-plane*.yaml, or put it into configs/policies")
}

fn told<T>(read: Result<T, Vec<Problem>>) -> Vec<Problem> {
    read.err().unwrap_or_default()
}

#[test]
fn every_file_in_configs_loads() {
    let files: Vec<_> = tree::files("configs");
    assert!(!files.is_empty(), "configs/ is empty");
    for file in files.iter().filter(|file| file.extension().is_some_and(|kind| kind == "yaml")) {
        let (path, text) = (file.display().to_string(), tree::read(file));
        let problems = problems(&path, &text);
        assert!(problems.is_empty(), "{}", render(&path, &text, &problems));
    }
}

#[test]
fn a_wrong_file_would_be_noticed() {
    assert!(!problems("configs/sidecar.yaml", "threads: 0\n").is_empty());
    assert!(!problems("configs/policies/x.yaml", "kind: Policy\nname: x\ntimeoot: {}\n").is_empty());
}

#[test]
fn the_minimal_file_in_the_readme_is_the_one_shipped() {
    let readme = tree::read("README.md");
    let shown =
        readme.split("# configs/minimal/sidecar.yaml").nth(1).and_then(|rest| rest.split("```").next());
    let shown = shown.unwrap().split_once('\n').unwrap().1;
    let words = |text: &str| yaml::read_one::<SidecarConfigWords>(text).unwrap().write();
    assert_eq!(words(shown), words(&tree::read("configs/minimal/sidecar.yaml")));
}
