//! Strategies by name and parameters, as configuration files have them.
//!
//! `config` holds the data types, `build` and `loads` turn them into a strategy, `named` holds what
//! only the program can supply, and `dynamic` the strategy whose type is erased.

mod build;
#[allow(clippy::module_inception)]
mod config;
mod dynamic;
mod loads;
mod named;

pub use self::{
    config::{Config, GroupConfig, LoadConfig, SpreadConfig},
    dynamic::Dynamic,
    named::Named,
};
