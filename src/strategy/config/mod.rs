//! Strategies by name and parameters, as configuration files have them.

mod build;
#[allow(clippy::module_inception)]
mod config;
mod dynamic;
mod loads;
mod named;

pub use self::{
    config::{Config, GroupConfig, LoadConfig, SpreadConfig},
    named::Named,
};

pub use self::dynamic::{Dynamic, DynamicPicker};
