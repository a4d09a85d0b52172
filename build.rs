//! Has the linker lay those functions side by side that every start and request run (`src/order.txt`): the kernel maps a
//! program by pieces of 64 KiB, and what is strewn over all of it is resident with all that lies between.
//!
//! Only where the toolchain's own linker is used, which knows how; elsewhere nothing is asked and nothing is wrong.

use std::env::var;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/order.txt");
    let says = |name: &str, wanted: &str| var(name).is_ok_and(|said| said.contains(wanted));
    let lld = says("TARGET", "x86_64-unknown-linux-gnu") && !says("CARGO_ENCODED_RUSTFLAGS", "link");
    if lld && var("RUSTC_LINKER").is_err() && says("PROFILE", "release") {
        let order = concat!(env!("CARGO_MANIFEST_DIR"), "/src/order.txt");
        println!("cargo::rustc-link-arg-bins=-Wl,--symbol-ordering-file={order},--no-warn-symbol-ordering");
    }
}
