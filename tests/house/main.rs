//! The rules of the house, held by reading the tree: who may import whom, what a stage may weigh, docs in step.
//!
//! Starts nothing but the built binary's help and page generator; what the product does is shown in `e2e`.

#![allow(clippy::unwrap_used, reason = "tests")]

mod arrows;
mod bans;
mod configs;
mod coverage;
mod pages;
mod readme;
mod stages;
mod tree;
mod words;
