use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    sync::Arc,
};

use http::{HeaderMap, Request};

use super::{
    Affinity, Sessions, WhenDraining,
    binding::{Bindings, NO_BINDING, UNBOUND},
    config::{Config, millis},
    session_key::Tag,
    token::Token,
};
use crate::{
    capacity::shrunk,
    endpoint::{EndpointStats, Health},
    outcome::Meter,
    request_cookies::cookies,
    strategy::{
        BuildContext, Built, Candidate, Candidates, Pick, PickContext, Strategy,
        explain::{Brief, Observe, observed_pick},
    },
};

/// Sends the requests of a session to its endpoint, and uses the inner strategy for all others;
/// made by [`Sessions::stick`].
///
/// A pick finds the endpoint in a hash table and verifies the cookie by one HMAC, or by two if
/// sessions follow an application cookie. It does not allocate. The [module](super#cookies) lists
/// the maximum cost of a request.
#[derive(Clone, Debug)]
pub struct Sticky<St> {
    sessions: Sessions,
    inner: St,
    /// The identifiers of the endpoints, by position. They are kept from one picker to the next,
    /// because each costs an HMAC.
    identifiers: Vec<Option<Identifiers>>,
}

#[derive(Clone, Debug)]
struct Identifiers {
    /// Identifies the endpoint that has the position now, together with its name: the same
    /// endpoint may come back under another one.
    stats: Arc<EndpointStats>,
    name: Box<str>,
    /// One for each key.
    tags: Box<[Tag]>,
}

impl<St> Sticky<St> {
    pub(super) fn new(sessions: Sessions, inner: St) -> Self {
        Self { sessions, inner, identifiers: Vec::new() }
    }

    /// Removes the identifiers behind the last position, after the set of endpoints has shrunk.
    fn forget_beyond(&mut self, candidates: &Candidates) {
        let last = candidates.all().map(Candidate::position).max();
        self.identifiers.truncate(last.map_or(0, |last| last + 1));
        let (len, capacity) = (self.identifiers.len(), self.identifiers.capacity());
        if let Some(capacity) = shrunk(len, capacity) {
            self.identifiers.shrink_to(capacity);
        }
    }

    /// Returns the identifiers of an endpoint, one for each key.
    fn tags(&mut self, candidate: &Candidate) -> &[Tag] {
        let position = candidate.position();
        if self.identifiers.len() <= position {
            self.identifiers.resize(position + 1, None);
        }
        let entry = &mut self.identifiers[position];
        // Positions are reused: another endpoint may have had this one.
        let is_same = |entry: &Identifiers| {
            Arc::ptr_eq(&entry.stats, candidate.stats()) && *entry.name == *candidate.name()
        };
        entry.take_if(|entry| !is_same(entry));
        let keys = &self.sessions.config().keys;
        let entry = entry.get_or_insert_with(|| Identifiers {
            stats: Arc::clone(candidate.stats()),
            name: candidate.name().into(),
            tags: keys.iter().map(|key| key.endpoint(candidate.name())).collect(),
        });
        &entry.tags
    }
}

impl<St: Strategy> Strategy for Sticky<St> {
    type Picker = StickyPicker<St::Picker>;

    fn build(
        &mut self,
        candidates: &Candidates,
        context: &mut BuildContext,
    ) -> Built<Self::Picker> {
        let built = self.inner.build(candidates, context);
        let stay = self.sessions.config().draining == WhenDraining::Stay;
        let draining = candidates.all().filter(|candidate| stay && is_draining(candidate));
        let mut homes = Homes::default();
        homes.reserve(built.eligible.len() * self.sessions.config().keys.len());
        for candidate in built.eligible.iter().chain(draining) {
            for (key, &tag) in self.tags(candidate).iter().enumerate() {
                homes.insert(tag, Home { candidate: candidate.clone(), key });
            }
        }
        self.forget_beyond(candidates);
        let sessions = self.sessions.clone();
        built.map(|inner| StickyPicker { inner, homes, sessions })
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        self.inner.meter()
    }
}

/// Returns whether the endpoint is draining, by its health or by weight 0, but can still serve.
fn is_draining(candidate: &Candidate) -> bool {
    let health = candidate.health();
    matches!(health, Health::Draining(_)) || (candidate.weight() == 0 && health.is_serving())
}

/// The picker of [`Sticky`].
#[derive(Debug)]
#[expect(unnameable_types, reason = "named as <Sticky as Strategy>::Picker")]
pub struct StickyPicker<P> {
    inner: P,
    homes: Homes,
    sessions: Sessions,
}

/// The endpoints of sessions, by their identifiers in cookies.
type Homes = HashMap<Tag, Home, BuildHasherDefault<FirstBytes>>;

#[derive(Debug)]
struct Home {
    candidate: Candidate,
    /// The index of the key of the identifier.
    key: usize,
}

/// Takes the first bytes of an identifier as its hash, because an identifier is an HMAC.
#[derive(Debug, Default)]
struct FirstBytes(u64);

impl Hasher for FirstBytes {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_ne_bytes(*first);
        }
    }

    /// Ignores the length, which is the same for all identifiers.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The session of a request, by its cookies.
enum Session<'a> {
    /// The session is at `home`. The cookie must be replaced if `renew` is true.
    At { home: &'a Candidate, binding: u64, renew: bool },
    /// There is no session, or its endpoint gets no requests. A new session may begin unless
    /// `binding` is [`NO_BINDING`].
    Nowhere { binding: u64 },
}

/// How many cookies are verified, which bounds the work that a client can cause.
pub(super) const MAX_COOKIES_VERIFIED: usize = 4;

impl<P> StickyPicker<P> {
    fn session(&self, headers: &HeaderMap, context: &mut PickContext<'_>) -> Session<'_> {
        let Config { keys, name, copy, lifetime, renewed, application, clock, .. } =
            self.sessions.config();
        let (mut nowhere, mut bound_to) = (Session::Nowhere { binding: UNBOUND }, None);
        if let Some(name) = application {
            nowhere = Session::Nowhere { binding: NO_BINDING };
            bound_to =
                cookies(headers, name).next().filter(|value| Bindings::can_be_bound_to(value));
            if bound_to.is_none() {
                return nowhere;
            }
        }
        let mut bindings = Bindings::new(keys, bound_to);
        let lifetime = millis(*lifetime);
        let copies = copy.iter().flat_map(|(name, _)| cookies(headers, name));
        let tokens = cookies(headers, name).chain(copies);
        for token in tokens.take(MAX_COOKIES_VERIFIED).filter_map(Token::parse) {
            // Checked before the tag, because this costs no HMAC.
            let age = clock.read(context.now()).saturating_sub(token.issued());
            if age >= lifetime {
                continue;
            }
            let home = self.homes.get(&token.endpoint());
            // An identifier is known by one key, which is the only one that can have signed the
            // cookie. A cookie of an unknown endpoint matters only if sessions follow an
            // application cookie: an authentic one permits the session to move.
            let signers = match home {
                Some(home) => home.key..home.key + 1,
                None if bound_to.is_some() => 0..keys.len(),
                None => 0..0,
            };
            let mut signers = keys.iter().enumerate().skip(signers.start).take(signers.len());
            if !signers.any(|(index, key)| token.is_authentic(key, bindings.under(index))) {
                continue;
            }
            let binding = bindings.under(0);
            match home {
                Some(Home { candidate, key }) => {
                    let renew = (*renewed && age >= lifetime / 10) || *key > 0;
                    return Session::At { home: candidate, binding, renew };
                }
                None => nowhere = Session::Nowhere { binding },
            }
        }
        nowhere
    }
}

impl<P> StickyPicker<P> {
    fn pick_with<B>(
        &self,
        request: &Request<B>,
        context: &mut PickContext<'_>,
        observer: &mut impl Observe,
    ) -> Option<&Candidate>
    where
        P: Pick<Request<B>>,
    {
        observer.step("sticky");
        let strict = self.sessions.config().affinity == Affinity::Strict;
        let (picked, binding) = match self.session(request.headers(), context) {
            Session::At { home, binding, renew } if strict || context.accepts(home) => {
                observer.say(|| format!("the session is at {}", Brief::name(home.name())));
                observer.note(home, || "the session's endpoint".to_owned());
                (Some(home), if renew { binding } else { NO_BINDING })
            }
            Session::At { home, binding, .. } => {
                // A full endpoint gets the next request of the session again, so no cookie is
                // issued.
                let full = !context.has_room(home);
                observer.note(home, || "the session's endpoint".to_owned());
                observer.say(|| {
                    let name = Brief::name(home.name());
                    let why =
                        if full { "full, and stays there" } else { "tried before, and moves" };
                    format!("the session is at {name}, which is {why}")
                });
                let picked = observer.inner(&self.inner, request, context);
                (picked, if full { NO_BINDING } else { binding })
            }
            Session::Nowhere { binding } => {
                observer.say(|| "no valid cookie names an endpoint that takes requests".to_owned());
                (observer.inner(&self.inner, request, context), binding)
            }
        };
        // The tracker issues a cookie for the binding.
        context.set_metadata(binding);
        picked
    }
}

impl<P: Pick<Request<B>>, B> Pick<Request<B>> for StickyPicker<P> {
    observed_pick!(Request<B>);
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    use http::header::COOKIE;

    use super::*;
    use crate::{
        endpoint::{Endpoint, Tried},
        http::sticky::{
            SessionKey, SessionsBuilder, binding::MAX_APPLICATION_COOKIE_BYTES, session_key::hashed,
        },
        load::Now,
        strategy::{Rng, RoundRobin},
    };

    fn key(byte: u8) -> SessionKey {
        SessionKey::new([byte; 32]).unwrap()
    }

    /// Settings with the maximum number of keys.
    fn settings() -> SessionsBuilder {
        let settings = Sessions::builder(key(0)).cookie("lb");
        (1..8).fold(settings, |settings, byte| settings.also_accept(key(byte)))
    }

    /// Returns how many codes a pick computes for a request with this header, and from how many
    /// bytes.
    fn cost(settings: SessionsBuilder, header: &str) -> (usize, usize) {
        let sessions = settings.build().unwrap();
        let mut strategy = sessions.stick(RoundRobin::new());
        let endpoints = ["a", "b"].map(Endpoint::new);
        let named = endpoints.iter().map(|endpoint| (endpoint.target(), endpoint));
        let candidates = Candidates::for_strategy(&strategy, named);
        let picker = strategy.build(&candidates, &mut BuildContext::new()).picker;
        let request = Request::builder().header(COOKIE, header).body(()).unwrap();
        let (mut rng, tried) = (Rng::seeded(1), Tried::none());
        hashed::take();
        let mut context = PickContext::new(&mut rng, Now::lazy(), &tried);
        assert!(picker.pick(&request, &mut context).is_some());
        hashed::take()
    }

    /// Returns cookies that have the form of tokens, issued in the future, of an unknown endpoint.
    fn forged(count: u8) -> String {
        let token = |n| format!("; lb={}", URL_SAFE_NO_PAD.encode([n | 0x80; 40]));
        (0..count).map(token).collect()
    }

    #[test]
    fn a_forged_cookie_is_hashed_at_most_once_for_each_key() {
        let application = |len| format!("app={}", "x".repeat(len));
        let follows = || settings().follow("app");
        let token = size_of::<u64>() + 24;
        let longest = MAX_APPLICATION_COOKIE_BYTES;
        for (cookies, tokens) in [(1, 1), (4, 4), (100, MAX_COOKIES_VERIFIED)] {
            let header = application(longest) + &forged(cookies);
            let expected = (8 + 8 * tokens, 8 * longest + 8 * tokens * token);
            assert_eq!(cost(follows(), &header), expected, "{cookies} cookies");
        }
        for len in [0, longest + 1, 50_000] {
            let header = application(len) + &forged(4);
            assert_eq!(cost(follows(), &header), (0, 0), "a cookie of {len} bytes has no session");
        }
        assert_eq!(cost(follows(), &application(longest)), (0, 0), "no token");
        assert_eq!(cost(settings(), &forged(100)), (0, 0), "of an unknown endpoint");
        let expired = format!("; lb={}", URL_SAFE_NO_PAD.encode([0; 40]));
        assert_eq!(cost(follows(), &(application(longest) + &expired)), (0, 0), "expired");
    }

    #[test]
    fn an_explanation_says_where_the_session_is() {
        let sessions = settings().build().unwrap();
        let mut strategy = sessions.stick(RoundRobin::starting_at(0));
        let endpoints = ["a", "b"].map(Endpoint::new);
        let named = endpoints.iter().map(|endpoint| (endpoint.target(), endpoint));
        let candidates = Candidates::for_strategy(&strategy, named);
        let built = strategy.build(&candidates, &mut BuildContext::new());
        let cookie = sessions.cookie("b", UNBOUND).unwrap();
        let cookie = cookie.to_str().unwrap().split(';').next().unwrap();
        let explain = |header: &str, tried: &Tried| {
            let request = Request::builder().header(COOKIE, header).body(()).unwrap();
            let mut rng = Rng::seeded(1);
            let mut context = PickContext::new(&mut rng, Now::lazy(), tried);
            let explanation = built.explain(&candidates, &request, &mut context);
            let mut context = PickContext::new(&mut rng, Now::lazy(), tried);
            // The turns did not pass.
            let again = built.explain(&candidates, &request, &mut context);
            assert_eq!(explanation.picked, again.picked);
            let steps = explanation.steps.iter();
            let steps: Vec<_> = steps.map(ToString::to_string).collect();
            (explanation.picked.unwrap(), steps.join(" > "))
        };
        let (mut tried, turn) = (Tried::none(), "round robin: turn 1 of a cycle of 2");
        assert_eq!(explain(cookie, &tried), ("b".into(), "sticky: the session is at b".into()));
        let none =
            format!("sticky: no valid cookie names an endpoint that takes requests > {turn}");
        assert_eq!(explain("lb=forged", &tried), ("a".into(), none));
        let b = candidates.all().find(|one| one.name() == "b").unwrap();
        tried.add(b.stats());
        let moves = "sticky: the session is at b, which is tried before, and moves";
        assert_eq!(explain(cookie, &tried), ("a".into(), format!("{moves} > {turn}")));
    }
}
