//! Routing by rules, as an Application Load Balancer does it: conditions by priority, and actions.
//!
//! [`Rules`] sends each request to the service of the first [`Rule`] that it matches, in order of
//! priority, or to that of the default rule. A rule has [`Condition`]s, and the service is anything
//! that takes HTTP requests: a balancer, layers around one, an axum router, or an [`Action`], which
//! forwards to weighted groups, redirects, or gives a fixed response.
//!
//! ```
//! use std::convert::Infallible;
//!
//! use http::{Request, Response, StatusCode, header::LOCATION};
//! use tower::{ServiceExt, service_fn};
//! use tower_lb::rules::{Action, Condition, FixedResponse, Forward, Redirect, Rule, Rules};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! // In place of these: a `Balancer` for each group of endpoints.
//! let group = |name: &'static str| service_fn(move |_: Request<String>| async move {
//!     Ok::<_, Infallible>(Response::new(name.to_owned()))
//! });
//! let shop = Forward::builder()
//!     .group("shop", 90, group("shop"))
//!     .group("shop-next", 10, group("shop, next version"))
//!     .build()?;
//! let not_found = FixedResponse::builder(StatusCode::NOT_FOUND).body("no such page\n").build()?;
//!
//! let rules = Rules::builder(Action::from(not_found))
//!     .rule(
//!         Rule::new(10, Action::from(Redirect::to_https()))
//!             .name("to https")
//!             .when(Condition::host(["shop.example", "www.shop.example"]))
//!             .when(Condition::header("x-forwarded-proto", ["http"])),
//!     )
//!     .rule(Rule::new(20, shop.into()).name("shop").when(Condition::host(["*shop.example"])))
//!     .rule(
//!         Rule::new(30, Forward::to(group("api")).into())
//!             .name("api")
//!             .when(Condition::host(["api.example"]).and(Condition::path(["/v1/*", "/v2/*"])))
//!             .rewrite_url("^/(v[0-9])/(.*)$", "/$2"),
//!     )
//!     .build()?;
//!
//! let request = Request::get("/cart").header("host", "shop.example").body(String::new())?;
//! let response = rules.clone().oneshot(request).await?;
//! assert_eq!(response.status(), StatusCode::OK);
//!
//! let plain = Request::get("/cart").header("host", "shop.example");
//! let request = plain.header("x-forwarded-proto", "http").body(String::new())?;
//! let response = rules.clone().oneshot(request).await?;
//! assert_eq!(response.headers()[LOCATION], "https://shop.example/cart");
//!
//! let (head, _) = Request::get("/v3/x").header("host", "api.example").body(())?.into_parts();
//! let explanation = rules.explain(&head);
//! assert_eq!(explanation.rule, "default");
//! println!("{explanation}");
//! # Ok(())
//! # }
//! ```
//!
//! That prints
//!
//! ```text
//! rule default
//!   10 (to https): not matched
//!     ✗ host is shop.example or www.shop.example: api.example
//!   20 (shop): not matched
//!     ✗ host is *shop.example: api.example
//!   30 (api): not matched
//!     ✗ all of
//!       ✓ host is api.example: api.example matches api.example
//!       ✗ path is /v1/* or /v2/*: /v3/x
//! → default: matched
//! ```
//!
//! # In a load balancer
//!
//! [`http::Proxy`](crate::http::Proxy) stands outside and gives requests one form, then
//! [`http::Gateway`](crate::http::Gateway), which turns errors into responses, then `Rules`. A rule
//! sees the path as it was sent: it decodes nothing and removes no dot segments.
//!
//! Rules change while they serve: keep a clone, and call [`Rules::replace`]. A set with an error is
//! rejected as a whole and the old one stays. Rules that no request can match are
//! [`warnings`](Rules::warnings).
//!
//! # Cost
//!
//! The time to find a rule is linear in the length of the request, whatever the patterns: a
//! wildcard looks at each byte at most twice, and regular expressions are those of the crate
//! `regex`. The literal start of paths and end of hosts are indexed, so that most rules are not
//! tested at all. Rules whose paths start with `*` and whose hosts end with it, and those with
//! other conditions only, are tested one by one.
//!
//! The files: `rule` and `builder` (what users write), `condition` (tests of a request), `index`
//! and `table` (finding the rule), `service`, `future` and `dispatch` (the service), `rewrite`,
//! `action`, and what operators see: `explanation`, `warning`, `status`.

mod action;
mod builder;
mod condition;
mod dispatch;
mod explanation;
mod future;
mod index;
mod rewrite;
mod rule;
mod service;
mod status;
mod table;
mod warning;

pub use self::{
    action::{
        Action, ActionFuture, FixedResponse, FixedResponseBuilder, Forward, ForwardBuilder,
        GroupStatus, Redirect, RedirectBuilder,
    },
    builder::RulesBuilder,
    condition::{Condition, Pattern, QueryPattern},
    explanation::{ExplainedCondition, ExplainedRule, Explanation, RuleVerdict},
    future::RulesFuture,
    rewrite::RewriteError,
    rule::{MatchedRule, Rule},
    service::Rules,
    status::{RuleStatus, RulesStatus},
    warning::{RuleWarning, WarningCause},
};
