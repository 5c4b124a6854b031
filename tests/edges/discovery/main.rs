//! Sources of endpoints, against servers that speak their protocols.

mod cloudmap;
mod consul;
mod dns;
mod document;
mod file;
mod http_poll;
mod kubernetes;
