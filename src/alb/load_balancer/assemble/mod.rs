//! The running parts of a load balancer, made from its configuration.
//!
//! Each file makes one part. A part that cannot be made is a [`Problem`] with the path of what is
//! wrong, so that a change of the configuration is refused as a whole.
//!
//! [`Problem`]: crate::alb::config::Problem

mod authentication;
mod groups;
#[cfg(any(feature = "jwt", feature = "oidc"))]
mod kept;
mod listener;
mod rules;
mod tls;

pub(super) use self::{
    authentication::AuthLayers,
    groups::{
        Group, GroupBody, GroupService, GroupSettings, RetrySettings, assemble_group, targets_of,
    },
    listener::{NodeService, listener_builder, node_service},
    rules::{RuleSources, assemble_rules},
    tls::assemble_tls,
};
