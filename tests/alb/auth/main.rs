//! Tests of authentication: tokens of other implementations, lying providers, and whole logins.

mod browser;
mod edge;
mod lies;
mod logins;
mod real_provider;
mod rewrites;
mod scripted_provider;
mod sessions;
mod tokens;
mod tokens_of_python;
