//! The Application Load Balancer.

mod dns;
mod target_group;
