use http::{HeaderMap, HeaderValue};

use crate::request_cookies::all_cookies;

/// The most cookies of a session, which is 16 KB in all.
const MAX_SHARDS: usize = 4;
/// The size of a cookie, with its attributes, that every browser accepts.
const COOKIE_BYTES: usize = 4096;
/// Browsers delete the session's cookies after 7 days; the time that counts is inside.
const SESSION_SECONDS: u64 = 7 * 24 * 60 * 60;
/// The most logins of a browser that are not finished. Each has a cookie.
const MAX_LOGINS: usize = 4;

/// Reads and writes the cookies of sessions and of logins.
#[derive(Debug)]
pub(super) struct Cookies {
    /// The names of the session's cookies: `name-0` to `name-3`.
    shards: [String; MAX_SHARDS],
    /// The name of a login's cookie, without the identifier of the login.
    login_prefix: String,
}

/// What a request has of a session.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Presented {
    /// No cookie.
    Nothing,
    /// A cookie is missing, there is one too many, or one occurs twice.
    Incomplete,
    /// The sealed text of all cookies.
    Sealed(Vec<u8>),
}

impl Cookies {
    pub(super) fn new(name: &str) -> Self {
        // A name with this prefix cannot be set by another host, nor without TLS.
        let prefix = if name.starts_with("__Host-") { "" } else { "__Host-" };
        Self {
            shards: std::array::from_fn(|index| format!("{name}-{index}")),
            login_prefix: format!("{prefix}{name}-login-"),
        }
    }

    /// Reads the session of a request. The first cookie begins with the number of all.
    pub(super) fn session(&self, headers: &HeaderMap) -> Presented {
        let mut found: [Option<&[u8]>; MAX_SHARDS] = [None; MAX_SHARDS];
        for (name, value) in all_cookies(headers) {
            let Some(index) = self.shards.iter().position(|shard| shard.as_bytes() == name) else {
                continue;
            };
            // Which of two is ours cannot be known: another host may have set one.
            if found[index].replace(value).is_some() {
                return Presented::Incomplete;
            }
        }
        let present = found.iter().flatten().count();
        if present == 0 {
            return Presented::Nothing;
        }
        let Some((&count, first)) = found[0].and_then(<[u8]>::split_first) else {
            return Presented::Incomplete;
        };
        let are_first = found[..present].iter().all(Option::is_some);
        if !are_first || usize::from(count) != usize::from(b'0') + present {
            return Presented::Incomplete;
        }
        let rest = found[1..present].iter().flatten();
        let mut sealed = first.to_vec();
        rest.for_each(|shard| sealed.extend_from_slice(shard));
        Presented::Sealed(sealed)
    }

    /// Returns the values of `Set-Cookie` for a session, and for the deletion of the cookies that
    /// the request has besides. `None` if it is too long.
    pub(super) fn set_session(
        &self,
        sealed: &str,
        request: &HeaderMap,
    ) -> Option<Vec<HeaderValue>> {
        let attributes = attributes(SESSION_SECONDS);
        // All names have the same length. One byte is for the number of cookies.
        let room = COOKIE_BYTES.checked_sub(self.shards[0].len() + 2 + attributes.len())?;
        let pieces: Vec<_> = sealed.as_bytes().chunks(room).collect();
        let count = pieces.len();
        if count > MAX_SHARDS {
            return None;
        }
        let mut values = Vec::with_capacity(count);
        for (index, (name, piece)) in self.shards.iter().zip(pieces).enumerate() {
            let number = if index == 0 { count.to_string() } else { String::new() };
            let piece = std::str::from_utf8(piece).ok()?;
            values.push(HeaderValue::try_from(format!("{name}={number}{piece}{attributes}")).ok()?);
        }
        let is_sent =
            |name: &&String| all_cookies(request).any(|(other, _)| other == name.as_bytes());
        values.extend(self.shards[count..].iter().filter(is_sent).filter_map(|name| delete(name)));
        Some(values)
    }

    /// Returns the values of `Set-Cookie` that delete all cookies of a session.
    pub(super) fn delete_session(&self) -> impl Iterator<Item = HeaderValue> + use<'_> {
        self.shards.iter().filter_map(|name| delete(name))
    }

    /// Returns the secret of the login `id` that the browser keeps.
    pub(super) fn login<'a>(&self, headers: &'a HeaderMap, id: &str) -> Option<&'a [u8]> {
        let name = format!("{}{id}", self.login_prefix);
        let mut found = all_cookies(headers).filter(|(other, _)| *other == name.as_bytes());
        let (_, secret) = found.next()?;
        found.next().is_none().then_some(secret)
    }

    /// Returns the values of `Set-Cookie` for a login. If the browser has many that are not
    /// finished, they are deleted, so that its requests do not grow.
    pub(super) fn set_login(
        &self,
        id: &str,
        secret: &str,
        seconds: u64,
        request: &HeaderMap,
    ) -> Vec<HeaderValue> {
        let prefix = self.login_prefix.as_bytes();
        let names = all_cookies(request).map(|(name, _)| name);
        let pending: Vec<_> = names.filter(|name| name.starts_with(prefix)).collect();
        let mut values = Vec::new();
        if pending.len() >= MAX_LOGINS {
            let names = pending.iter().filter_map(|name| std::str::from_utf8(name).ok());
            values.extend(names.take(4 * MAX_LOGINS).filter_map(delete));
        }
        let (prefix, attributes) = (&self.login_prefix, attributes(seconds));
        values.extend(HeaderValue::try_from(format!("{prefix}{id}={secret}{attributes}")).ok());
        values
    }

    /// Returns the value of `Set-Cookie` that ends a login.
    pub(super) fn delete_login(&self, id: &str) -> Option<HeaderValue> {
        delete(&format!("{}{id}", self.login_prefix))
    }
}

fn attributes(seconds: u64) -> String {
    format!("; Path=/; Max-Age={seconds}; HttpOnly; Secure; SameSite=Lax")
}

fn delete(name: &str) -> Option<HeaderValue> {
    HeaderValue::try_from(format!("{name}={}", attributes(0))).ok()
}

#[cfg(test)]
mod tests {
    use http::header::COOKIE;
    use proptest::prelude::*;

    use super::*;

    fn cookies() -> Cookies {
        Cookies::new("__Host-s")
    }

    /// Returns the `Cookie` pairs of a browser that has got these values of `Set-Cookie`.
    fn kept(values: &[HeaderValue]) -> Vec<String> {
        let pair =
            |value: &HeaderValue| value.to_str().unwrap().split(';').next().unwrap().to_owned();
        values.iter().map(pair).collect()
    }

    fn request(pairs: &[String]) -> HeaderMap {
        HeaderMap::from_iter([(COOKIE, pairs.join("; ").try_into().unwrap())])
    }

    proptest! {
        #[test]
        fn a_session_is_read_as_it_was_written(
            length in 1_usize..14_000, split: bool, order in 0_usize..5,
        ) {
            let sealed: String = (b'A'..=b'Z').cycle().map(char::from).take(length).collect();
            let values = cookies().set_session(&sealed, &HeaderMap::new()).unwrap();
            prop_assert!(values.iter().all(|value| value.len() <= COOKIE_BYTES));
            let mut pairs = kept(&values);
            pairs.push("other=1".to_owned());
            pairs.rotate_left(order % values.len());
            let headers = match split {
                // HTTP/2 sends them apart.
                true => pairs.iter().map(|pair| (COOKIE, pair.try_into().unwrap())).collect(),
                false => request(&pairs),
            };
            prop_assert_eq!(cookies().session(&headers), Presented::Sealed(sealed.into_bytes()));
        }
    }

    #[test]
    fn missing_extra_and_repeated_cookies_are_refused() {
        let sealed = "x".repeat(9000);
        let all = kept(&cookies().set_session(&sealed, &HeaderMap::new()).unwrap());
        assert_eq!(all.len(), 3);
        for missing in 0..all.len() {
            let mut pairs = all.clone();
            pairs.remove(missing);
            assert_eq!(cookies().session(&request(&pairs)), Presented::Incomplete);
        }
        for extra in ["__Host-s-3=x", "__Host-s-3=", "__Host-s-0=3x", "__Host-s-2=y"] {
            let pairs = [&all[..], &[extra.to_owned()]].concat();
            assert_eq!(cookies().session(&request(&pairs)), Presented::Incomplete, "{extra}");
        }
        let ten = vec!["__Host-s-0=1x".to_owned(); 10];
        assert_eq!(cookies().session(&request(&ten)), Presented::Incomplete);
        for wrong in ["__Host-s-0=", "__Host-s-0=2x", "__Host-s-0=xx", "__Host-s-1=1x"] {
            let headers = request(&[wrong.to_owned()]);
            assert_eq!(cookies().session(&headers), Presented::Incomplete, "{wrong}");
        }
        assert_eq!(cookies().session(&request(&["__Host-s=1x".into()])), Presented::Nothing);
    }

    #[test]
    fn a_session_has_a_limit_and_leaves_no_old_cookie_behind() {
        assert!(cookies().set_session(&"x".repeat(17 << 10), &HeaderMap::new()).is_none());
        let old = kept(&cookies().set_session(&"x".repeat(13_000), &HeaderMap::new()).unwrap());
        let new = cookies().set_session("x", &request(&old)).unwrap();
        let text: Vec<_> = new.iter().map(|value| value.to_str().unwrap()).collect();
        assert_eq!(text.len(), 4);
        assert!(text[0].starts_with("__Host-s-0=1x; Path=/; Max-Age=604800; HttpOnly; Secure; "));
        assert!(text[1..].iter().all(|value| value.contains("=; Path=/; Max-Age=0; ")));
        assert_eq!(cookies().delete_session().count(), 4);
    }

    #[test]
    fn a_login_has_a_cookie_of_its_own() {
        let set = |request: &HeaderMap| cookies().set_login("id", "secret", 900, request);
        let values = set(&HeaderMap::new());
        assert_eq!(kept(&values), ["__Host-s-login-id=secret"]);
        assert_eq!(Cookies::new("ALB").login_prefix, "__Host-ALB-login-");
        let headers = request(&kept(&values));
        assert_eq!(cookies().login(&headers, "id"), Some(&b"secret"[..]));
        assert_eq!(cookies().login(&headers, "other"), None);
        let twice = request(&[kept(&values), kept(&values)].concat());
        assert_eq!(cookies().login(&twice, "id"), None);
        // Unfinished ones do not pile up.
        let many: Vec<_> = (0..5).map(|id| format!("__Host-s-login-{id}=x")).collect();
        assert_eq!(set(&request(&many[..3])).len(), 1);
        assert_eq!(set(&request(&many)).len(), 6);
    }
}
