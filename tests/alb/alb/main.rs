//! The Application Load Balancer.

mod dns;
mod load_balancer;
mod target_group;
