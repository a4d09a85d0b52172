//! The demo's unattended run keeps its promises, and orders without a demo say so.

use crate::fleet;

#[test]
fn the_unattended_run_keeps_every_promise() {
    let fleet = fleet();
    let done = fleet.outrigger().args(["demo", "--for", "20s", "--kill-one"]).output().unwrap();
    let told = String::from_utf8_lossy(&done.stdout);
    let errors = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{}\n{told}\n{errors}", done.status);
    for wanted in ["killed hello-2,", "killed hello-3-sidecar,", "the client counted", "attempt 2", "kept:"] {
        assert!(told.contains(wanted), "{wanted:?} is missing from:\n{told}");
    }
    assert!(!fleet.dir().join("outrigger-demo").exists(), "a demo that went well leaves nothing");
}

#[test]
fn an_order_without_a_demo_says_what_to_start() {
    let done = fleet().outrigger().args(["demo", "kill", "hello-2"]).output().unwrap();
    assert!(!done.status.success());
    assert!(String::from_utf8_lossy(&done.stderr).contains("start `outrigger demo`"));
}
