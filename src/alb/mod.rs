//! An Application Load Balancer, in code or from the configuration of an existing one.

pub mod config;
