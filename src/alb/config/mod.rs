//! The configuration of an Application Load Balancer: read, checked, written and watched.
//!
//! A [`Config`] is one model with two sources: the output of `aws elbv2 describe-*`, for those who
//! have an ALB, and a hand-written file in TOML, YAML or JSON.
//!
//! ```text
//! describe-*.json -> Import -+
//! bindings.toml -------------+-> Config -> Check -> Checked, or all Problems at once
//! alb.toml, .yaml, .json ----+      +-> TOML, JSON, JSON schema
//! ```
//!
//! | module | content |
//! |---|---|
//! | `model` | the types, plain data with public fields |
//! | `aws` | the shapes of AWS, and the [`Import`] |
//! | `check` | the check of a whole configuration |
//! | `file` | texts, directories, the JSON schema, and [`Watch`] |
//! | `parts` | parts of a load balancer that both the check and the load balancer make |
//! | `form` | times and other small forms of hand-written files |
//!
//! # Nothing is ignored silently
//!
//! What an import finds and the model has no place for becomes a [`Leftover`], which is part of the
//! configuration and of the file that is written from it. A check reports it: as a [`Note`] if it
//! has no meaning outside of AWS, and else as a [`Problem`], which has to be accepted by its path
//! ([`Check::accept`], or `accept` in the file). A rule that is known only in part, such as one
//! with an unknown condition, is rejected: without the condition it would match more requests. An
//! unknown field of a hand-written file is an error.
//!
//! # Secrets
//!
//! A configuration never contains a secret, only a [`SecretSource`]. Errors about malformed files
//! do not repeat their text.
//!
//! # From an existing load balancer
//!
//! ```sh
//! export="--output json --load-balancer-arn $LB"
//! aws elbv2 describe-load-balancers --names shop > load-balancers.json
//! aws elbv2 describe-load-balancer-attributes $export > load-balancer-attributes-shop.json
//! aws elbv2 describe-listeners $export > listeners.json
//! aws elbv2 describe-target-groups $export > target-groups.json
//! export="--output json --listener-arn $LISTENER"
//! aws elbv2 describe-rules $export > rules-443.json
//! aws elbv2 describe-listener-attributes $export > listener-attributes-443.json
//! aws elbv2 describe-listener-certificates $export > listener-certificates-443.json
//! export="--output json --target-group-arn $GROUP"
//! aws elbv2 describe-target-group-attributes $export > target-group-attributes-web.json
//! aws elbv2 describe-target-health $export > target-health-web.json
//! ```
//!
//! The commands about one listener or one target group are repeated for each. Their files, and that
//! of the load balancer's attributes, are named as above, because AWS does not print what they are
//! about ([`Import`]). [`Bindings`], in the file `bindings.toml` of the same directory, say what
//! the names stand for:
//!
//! ```toml
//! [certificates]
//! "arn:aws:acm:us-east-1:000000000000:certificate/1" = { certificate = "a.pem", key = "a.key" }
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

mod aws;
mod check;
mod file;
mod form;
mod model;
pub(in crate::alb) mod parts;
mod problem;

use self::model::{function_name, parse_matcher};

pub(in crate::alb) use self::model::{BoundTarget, Secret};

pub use self::{
    aws::Import,
    check::{Check, Checked},
    file::{Watch, WatchBuilder},
    form::{InvalidTime, Time},
    model::*,
    problem::{Note, Problem, ProblemKind, Problems},
};
