//! One program for each idea: see the `.rs` files beside this one, and run one with `cargo run --example NAME`.
#![forbid(unsafe_code)]
