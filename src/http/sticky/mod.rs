//! Sticky sessions: a request with a session cookie goes to the endpoint that served the session
//! before.
//!
//! [`Sessions`] holds the settings and the [`SessionKey`]s. [`Sessions::stick`] wraps the strategy,
//! which then reads the cookie. [`Sessions::track`] wraps the tracker, which then adds `Set-Cookie`
//! to responses. A cookie is issued if there was no session, if the session has moved, if a tenth
//! of its lifetime has passed (unless [`renewed`](SessionsBuilder::renewed) is off), or if an older
//! key has signed it.
//!
//! ```
//! # #[cfg(feature = "http-client")] {
//! use std::time::Duration;
//! use tower_lb::{
//!     balance::Builder,
//!     discover::{self, DiscoverExt},
//!     http::{HttpStatus, Origin, Pool, UntilBodyEnd, sticky::{SessionKey, Sessions}},
//!     strategy::P2c,
//! };
//!
//! # async fn example(secret: [u8; 32]) -> Result<(), Box<dyn std::error::Error>> {
//! let sessions = Sessions::builder(SessionKey::new(secret)?)
//!     .lifetime(Duration::from_secs(3600))
//!     .build()?;
//!
//! let origins: [Origin; 2] = ["http://10.0.0.1:8080".parse()?, "http://10.0.0.2:8080".parse()?];
//! let endpoints = discover::addresses(origins).connect(Pool::new().connector());
//! let balancer = Builder::http()
//!     .track(sessions.track(UntilBodyEnd::new(HttpStatus)))
//!     .spawn(sessions.stick(P2c::default()), endpoints)?;
//! # use tower_lb::http::{Client, sticky::StickyBalancer};
//! # let _: StickyBalancer<Client<String>, _> = balancer;
//! # Ok(()) }
//! # }
//! ```
//!
//! # Cookies
//!
//! The value of the cookie is an identifier of the endpoint, the time of issue, and a tag.
//! Identifier and tag are HMAC-SHA-256, truncated to 128 bits. Without a key it is impossible to
//! identify the endpoint, to create a cookie for another endpoint, or to prolong a session. A
//! client with two cookies can see whether they are for the same endpoint.
//!
//! A value that is forged, truncated, expired or of another balancer counts as no session. So does
//! a valid one after four others of the same name. Of several valid cookies, the first counts. The
//! cookie is passed on to the endpoint.
//!
//! The work that a request can cause before a cookie is authentic is bounded: 64 KiB of `Cookie`
//! headers are searched, and four cookies are verified, each by one HMAC with the key that its
//! endpoint is known by. An application cookie of up to 4096 bytes is hashed once for each key that
//! is tried (at most 8).
//!
//! | the session's endpoint is | the request | the session |
//! |---|---|---|
//! | eligible | goes there | stays |
//! | full | goes elsewhere | stays ([`Affinity`]) |
//! | not ready, or already tried for the request | goes elsewhere | moves ([`Affinity`]) |
//! | draining, or of weight 0 | goes elsewhere | moves ([`WhenDraining`]) |
//! | unhealthy, or removed | goes elsewhere | moves |
//!
//! No session begins, moves or is renewed with a response of status 5xx.
//!
//! `stick` goes around other strategies that divide requests: `sessions.stick(Split…)` keeps
//! sessions at their endpoints and splits the other requests.
//!
//! The files: `builder` and `config` (settings), `session_key` and `token` (cryptography), `cookie`
//! (headers), `binding` (sessions that follow an application's cookie), `picker` (the strategy),
//! `track`, `groups` (sessions that stay with a group of endpoints).

mod binding;
mod builder;
mod config;
mod cookie;
#[cfg(feature = "rules")]
mod groups;
mod picker;
mod session_key;
mod sessions;
mod token;
mod track;

#[cfg(feature = "rules")]
pub(crate) use self::groups::GroupSessions;
pub use self::{
    builder::SessionsBuilder,
    config::{Affinity, WhenDraining},
    cookie::SameSite,
    picker::Sticky,
    session_key::SessionKey,
    sessions::Sessions,
    track::{StickyBalancer, StickyTrack},
};
