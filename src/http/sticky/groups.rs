use http::{HeaderMap, HeaderValue};
use tokio::time::Instant;

use super::{
    Affinity, Sessions, WhenDraining,
    config::{Config, millis},
    picker::MAX_COOKIES_VERIFIED,
    session_key::Tag,
    token::Token,
};
use crate::{ConfigError, request_cookies::cookies};

/// What the cookie of a group is bound to, so that it is not valid as that of an endpoint of the
/// same name. [`SessionKey::binding`](super::SessionKey) returns it with probability 2^-64.
const GROUP_BINDING: u64 = 2;

/// Sessions that stay with one of several groups of endpoints, whatever its endpoint.
#[derive(Clone, Debug)]
pub(crate) struct GroupSessions {
    sessions: Sessions,
    groups: Box<[Group]>,
}

#[derive(Clone, Debug)]
struct Group {
    name: Box<str>,
    /// One identifier for each key.
    tags: Box<[Tag]>,
}

/// The session of a request.
pub(crate) struct GroupSession {
    /// The position of the group.
    pub(crate) group: usize,
    /// Whether the cookie must be replaced.
    pub(crate) renew: bool,
}

impl GroupSessions {
    /// # Errors
    ///
    /// If the sessions have settings that apply to endpoints only.
    pub(crate) fn new<'a>(
        sessions: Sessions,
        names: impl Iterator<Item = &'a str>,
    ) -> Result<Self, ConfigError> {
        let Config { keys, application, affinity, draining, .. } = sessions.config();
        let is_only_for_endpoints = [
            ("follow", application.is_some()),
            ("affinity", *affinity != Affinity::default()),
            ("when_draining", *draining != WhenDraining::default()),
        ];
        if let Some((field, _)) = is_only_for_endpoints.iter().find(|(_, is_set)| *is_set) {
            let expected = "the default, as it does not apply to groups";
            return Err(ConfigError::new(*field, expected));
        }
        let tags = |name| keys.iter().map(|key| key.endpoint(name)).collect();
        let groups = names.map(|name| Group { name: name.into(), tags: tags(name) }).collect();
        Ok(Self { sessions, groups })
    }

    /// Returns the group of the first valid cookie.
    pub(crate) fn find(&self, headers: &HeaderMap) -> Option<GroupSession> {
        let Config { keys, name, lifetime, renewed, clock, .. } = self.sessions.config();
        let lifetime = millis(*lifetime);
        let mut tokens = cookies(headers, name).take(MAX_COOKIES_VERIFIED).filter_map(Token::parse);
        tokens.find_map(|token| {
            // Checked before the tag, because this costs no HMAC.
            let age = clock.read(Instant::now()).saturating_sub(token.issued());
            if age >= lifetime {
                return None;
            }
            let endpoint = token.endpoint();
            let mut signers =
                self.groups.iter().enumerate().filter_map(|(group, Group { tags, .. })| {
                    Some((group, tags.iter().position(|tag| *tag == endpoint)?))
                });
            let (group, key) = signers.next()?;
            let is_authentic = token.is_authentic(keys.get(key)?, GROUP_BINDING);
            let renew = (*renewed && age >= lifetime / 10) || key > 0;
            is_authentic.then_some(GroupSession { group, renew })
        })
    }

    /// Returns the `Set-Cookie` header of a session with the group at a position.
    pub(crate) fn cookie(&self, group: usize) -> Option<HeaderValue> {
        self.sessions.cookies(&self.groups.get(group)?.name, GROUP_BINDING).next()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::header::COOKIE;
    use tokio::time::advance;

    use super::*;
    use crate::http::sticky::SessionKey;

    fn key(byte: u8) -> SessionKey {
        SessionKey::new([byte; 32]).unwrap()
    }

    fn groups(sessions: Sessions, names: &[&str]) -> GroupSessions {
        GroupSessions::new(sessions, names.iter().copied()).unwrap()
    }

    fn sessions(byte: u8) -> Sessions {
        Sessions::builder(key(byte)).cookie("group").build().unwrap()
    }

    /// Returns the headers with which a browser sends the cookie back.
    fn headers(set_cookie: &HeaderValue) -> HeaderMap {
        let pair = set_cookie.to_str().unwrap().split(';').next().unwrap();
        HeaderMap::from_iter([(COOKIE, pair.parse().unwrap())])
    }

    fn found(groups: &GroupSessions, headers: &HeaderMap) -> Option<(usize, bool)> {
        groups.find(headers).map(|session| (session.group, session.renew))
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_stays_with_its_group_and_is_renewed() {
        let two = groups(sessions(1), &["a", "b"]);
        let cookie = headers(&two.cookie(1).unwrap());
        assert_eq!(found(&two, &cookie), Some((1, false)));
        // The position does not matter, the name does.
        assert_eq!(found(&groups(sessions(1), &["b"]), &cookie), Some((0, false)));
        assert_eq!(found(&groups(sessions(1), &["a", "c"]), &cookie), None);
        advance(Duration::from_secs(24 * 360)).await;
        assert_eq!(found(&two, &cookie), Some((1, true)));
        advance(Duration::from_secs(24 * 3600)).await;
        assert_eq!(found(&two, &cookie), None);
    }

    #[test]
    fn a_cookie_of_another_key_or_purpose_is_no_session() {
        let two = groups(sessions(1), &["a", "b"]);
        let cookie = headers(&two.cookie(0).unwrap());
        assert_eq!(found(&groups(sessions(2), &["a", "b"]), &cookie), None);
        // The cookie of an endpoint that has the name of a group.
        let endpoint = headers(&sessions(1).cookie("a", super::super::binding::UNBOUND).unwrap());
        assert_eq!(found(&two, &endpoint), None);
        for text in ["group=", "group=AAAA", "group=%00"] {
            assert_eq!(found(&two, &HeaderMap::from_iter([(COOKIE, text.parse().unwrap())])), None);
        }
    }

    #[test]
    fn an_older_key_is_accepted_and_replaced() {
        let old = groups(sessions(1), &["a"]);
        let both = Sessions::builder(key(2)).also_accept(key(1)).cookie("group").build().unwrap();
        let both = groups(both, &["a"]);
        assert_eq!(found(&both, &headers(&old.cookie(0).unwrap())), Some((0, true)));
    }

    #[test]
    fn settings_of_endpoints_are_refused() {
        let builder = || Sessions::builder(key(1));
        for (sessions, field) in [
            (builder().follow("app"), "follow"),
            (builder().affinity(Affinity::Strict), "affinity"),
            (builder().when_draining(WhenDraining::Stay), "when_draining"),
        ] {
            let error = GroupSessions::new(sessions.build().unwrap(), ["a"].into_iter());
            assert_eq!(error.unwrap_err().field(), field);
        }
    }
}
