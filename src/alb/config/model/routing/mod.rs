//! What a listener does with a request: rules, their conditions, and their actions.

mod action;
mod authenticate;
mod condition;
mod rule;

pub use self::{
    action::{Action, FixedResponse, Forward, Redirect, WeightedGroup},
    authenticate::{
        Authenticate, Claim, ClaimFormat, Cognito, Jwt, Oidc, OidcEndpoints, Session,
        Unauthenticated,
    },
    condition::{Condition, HeaderCondition, Patterns, QueryPattern},
    rule::{Rewrite, Rule, Transforms},
};
