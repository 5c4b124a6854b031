//! The configuration of an Application Load Balancer: read, checked, written and watched.
//!
//! A [`Config`] is one model with two sources: the output of `aws elbv2 describe-*`, for those who
//! have an ALB, and a hand-written file in TOML, YAML or JSON.
//!
//! ```text
//!  describe-*.json ──► aws (shapes) ──► Import ─┐
//!  bindings.toml ───────────────────────────────┼─► Config ──► Check ──► Checked ──► the load balancer
//!  alb.toml, .yaml, .json ──────────────────────┘     │                  or Problems, all at once
//!                                                     └──► TOML, JSON, JSON schema
//! ```
//!
//! | module | content |
//! |---|---|
//! | `model` | the types, plain data with public fields |
//! | [`aws`] | the shapes of AWS, and the import |
//! | `check` | the check of a whole configuration |
//! | `convert` | what the other parts of the load balancer need, made from the model |
//! | `file` | texts, directories, the JSON schema, and [`Watch`] |
//! | `form` | times and other small forms of hand-written files |
//!
//! # Nothing is ignored silently
//!
//! What an import finds and the model has no place for becomes a [`Leftover`], which is part of the
//! configuration and of the file that is written from it. A check reports it: as a [`Note`] if it
//! has no meaning outside of AWS, and else as a [`Problem`], which has to be accepted by its path
//! ([`Check::accept`], or `accept` in the file). A rule that is known only in part, such as one with
//! an unknown condition, is rejected: without the condition it would match more requests. An
//! unknown field of a hand-written file is an error.
//!
//! # Secrets
//!
//! A configuration never contains a secret, only a [`SecretSource`]. Errors about malformed files do
//! not repeat their text.
//!
//! # From an existing load balancer
//!
//! ```sh
//! aws elbv2 describe-load-balancers --names shop > load-balancers.json
//! aws elbv2 describe-load-balancer-attributes --load-balancer-arn $LB > load-balancer-attributes.json
//! aws elbv2 describe-listeners --load-balancer-arn $LB > listeners.json
//! aws elbv2 describe-rules --listener-arn $LISTENER > rules-443.json
//! aws elbv2 describe-listener-attributes --listener-arn $LISTENER > listener-attributes-443.json
//! aws elbv2 describe-listener-certificates --listener-arn $LISTENER > listener-certificates-443.json
//! aws elbv2 describe-target-groups --load-balancer-arn $LB > target-groups.json
//! aws elbv2 describe-target-group-attributes --target-group-arn $GROUP > target-group-attributes-web.json
//! aws elbv2 describe-target-health --target-group-arn $GROUP > target-health-web.json
//! ```
//!
//! The commands about one listener or one target group are repeated for each; their files are named
//! by the port or the group, because AWS does not print it ([`aws::Import`]). [`Bindings`], in the
//! file `bindings.toml` of the same directory, say what the names stand for:
//!
//! ```toml
//! [certificates]
//! "arn:aws:acm:us-east-1:000000000000:certificate/1" = { certificate = "shop.pem", key = "shop.key" }
//!
//! [listen]
//! 443 = ["127.0.0.1:8443"]
//!
//! [targets]
//! "10.0.1.10:8080" = "127.0.0.1:9001"
//! i-0123456789abcdef0 = "127.0.0.1:9002"
//!
//! [client_secrets]
//! shop = { env = "OIDC_SECRET" }
//! ```

pub mod aws;
mod check;
mod file;
mod form;
mod model;
mod problem;

use self::model::parse_matcher;

pub use self::{
    check::{BoundTarget, Check, Checked, Destination},
    file::{Watch, WatchBuilder},
    form::{InvalidTime, Time},
    model::*,
    problem::{Note, Problem, ProblemKind, Problems},
};
