//! A browser with cookies, which shows each step of a login.

use std::{collections::BTreeMap, net::SocketAddr};

use http::{Request, header, request::Builder};

use super::edge::{Answer, send};

/// A browser that keeps cookies for one host and follows no redirect by itself.
#[derive(Clone, Default)]
pub(crate) struct Browser {
    pub(crate) cookies: BTreeMap<String, String>,
}

impl Browser {
    /// Requests a path of the edge.
    pub(crate) async fn get(&mut self, edge: SocketAddr, path: &str) -> Answer {
        self.send(edge, Request::get(path)).await
    }

    pub(crate) async fn send(&mut self, edge: SocketAddr, mut request: Builder) -> Answer {
        if !self.cookies.is_empty() {
            request = request.header(header::COOKIE, self.cookie_field());
        }
        let answer = send(edge, request).await;
        for value in answer.headers().get_all(header::SET_COOKIE) {
            let value = value.to_str().unwrap();
            let (pair, attributes) = value.split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            for attribute in ["Path=/", "HttpOnly", "Secure", "SameSite=Lax"] {
                assert!(attributes.contains(attribute), "{attribute} in {attributes}");
            }
            assert!(!attributes.contains("Domain"), "{attributes}");
            if attributes.contains("Max-Age=0;") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }

    /// Returns the `Cookie` field.
    pub(crate) fn cookie_field(&self) -> String {
        let pairs = self.cookies.iter().map(|(name, value)| format!("{name}={value}"));
        pairs.collect::<Vec<_>>().join("; ")
    }

    /// Goes to the provider, and returns the path with which it sends the browser back.
    pub(crate) async fn authorize(&self, answer: &Answer) -> String {
        assert_eq!(answer.status(), 302, "{answer:?}");
        let location = location(answer);
        let (address, path) = divide(&location);
        let back = send(address, Request::get(path)).await;
        assert!(back.status().is_redirection(), "{back:?}");
        let (_, path) = divide(&self::location(&back));
        path
    }

    /// Logs in by a request for `path`, and returns the answer to the browser's return.
    pub(crate) async fn log_in(&mut self, edge: SocketAddr, path: &str) -> Answer {
        let answer = self.get(edge, path).await;
        let back = self.authorize(&answer).await;
        self.get(edge, &back).await
    }
}

pub(crate) fn location(answer: &Answer) -> String {
    answer.headers()[header::LOCATION].to_str().unwrap().to_owned()
}

/// Divides a URL of this machine into address and path.
pub(crate) fn divide(url: &str) -> (SocketAddr, String) {
    let rest = url.strip_prefix("http://").unwrap();
    let (address, path) = rest.split_once('/').unwrap();
    (address.parse().unwrap(), format!("/{path}"))
}

/// Returns the value of a parameter in a path or URL.
pub(crate) fn parameter(url: &str, name: &str) -> Option<String> {
    let (_, query) = url.split_once('?')?;
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.into_iter().find(|(n, _)| *n == name).map(|(_, value)| value.to_owned())
}
