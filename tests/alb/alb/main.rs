//! The Application Load Balancer.

mod config_builds;
mod config_check;
mod config_import;
mod config_limits;
mod config_members;
mod config_round_trip;
mod config_schema;
mod config_secrets;
mod config_watch;
mod dns;
mod load_balancer;
mod target_group;
