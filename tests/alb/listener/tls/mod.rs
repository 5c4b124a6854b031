//! TLS of the listener, by openssl, curl, Chromium and rustls as clients.

mod authority;
mod certificates;
mod chromium;
mod clients;
mod fields;
mod measure;
mod peer;
mod policies;
mod reload;
mod resumption;
mod server;
