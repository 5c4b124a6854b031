//! Only an example: see `main.rs`.
