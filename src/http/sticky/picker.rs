use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    sync::Arc,
};

use http::{HeaderMap, Request};

use super::{
    Affinity, Sessions, WhenDraining,
    binding::Bindings,
    config::{Config, millis},
    cookie::cookies,
    key::Tag,
    sessions::UNBOUND,
    token::Token,
};
use crate::{
    capacity::shrunk,
    endpoint::{EndpointStats, Health},
    outcome::Meter,
    strategy::{BuildContext, Built, Candidate, Candidates, Pick, PickContext, Strategy},
};

/// Sends requests of a session to its endpoint, and leaves all others to the inner strategy; made by
/// [`Sessions::stick`].
///
/// The endpoint is found in a hash table by what the cookie holds, and the cookie is verified by one
/// HMAC (two if sessions follow a cookie of the application's); nothing is allocated. What a request
/// can make that cost at most is in the [module's documentation](super#what-a-session-is-worth).
#[derive(Clone, Debug)]
pub struct Sticky<St> {
    sessions: Sessions,
    inner: St,
    /// What stands for the endpoints, at their positions, from picker to picker.
    known: Vec<Option<Known>>,
}

#[derive(Clone, Debug)]
struct Known {
    stats: Arc<EndpointStats>,
    /// By each of the keys.
    tags: Box<[Tag]>,
}

impl<St> Sticky<St> {
    pub(super) fn new(sessions: Sessions, inner: St) -> Self {
        Self { sessions, inner, known: Vec::new() }
    }

    /// Forgets what stands for endpoints at positions that no candidate has: the set has shrunk.
    fn forget_beyond(&mut self, candidates: &Candidates) {
        let last = candidates.all().map(Candidate::position).max();
        self.known.truncate(last.map_or(0, |last| last + 1));
        if let Some(capacity) = shrunk(self.known.len(), self.known.capacity()) {
            self.known.shrink_to(capacity);
        }
    }

    /// What stands for an endpoint by each of the keys.
    fn tags(&mut self, candidate: &Candidate) -> &[Tag] {
        let position = candidate.position();
        if self.known.len() <= position {
            self.known.resize(position + 1, None);
        }
        let known = &mut self.known[position];
        known.take_if(|known| !Arc::ptr_eq(&known.stats, candidate.stats()));
        let keys = &self.sessions.config().keys;
        let known = known.get_or_insert_with(|| Known {
            stats: Arc::clone(candidate.stats()),
            tags: keys.iter().map(|key| key.endpoint(candidate.name())).collect(),
        });
        &known.tags
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

/// Finishing what it has, but able to serve.
fn is_draining(candidate: &Candidate) -> bool {
    let health = candidate.health();
    matches!(health, Health::Draining(_)) || (candidate.weight() == 0 && health.is_serving())
}

/// The picker of [`Sticky`].
#[derive(Debug)]
pub struct StickyPicker<P> {
    inner: P,
    homes: Homes,
    sessions: Sessions,
}

/// Where sessions live, by what stands for the endpoint in a cookie.
type Homes = HashMap<Tag, Home, BuildHasherDefault<FirstBytes>>;

#[derive(Debug)]
struct Home {
    candidate: Candidate,
    /// The index of the key that it is known by.
    key: usize,
}

/// Hashes what is a hash already.
#[derive(Debug, Default)]
struct FirstBytes(u64);

impl Hasher for FirstBytes {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_ne_bytes(*first);
        }
    }

    /// The length, which is always the same.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

/// What a request's cookies say, and what a session would be bound to.
enum Session<'a> {
    At {
        home: &'a Candidate,
        binding: u64,
        renew: bool,
    },
    /// None, or at an endpoint that takes no requests; a new one may begin unless the binding is 0.
    Nowhere {
        binding: u64,
    },
}

/// How many cookies of the name are looked at, so that they can't be made to cost much.
const COOKIES: usize = 4;

impl<P> StickyPicker<P> {
    fn session(&self, headers: &HeaderMap, context: &mut PickContext<'_>) -> Session<'_> {
        let Config { keys, name, lifetime, application, clock, .. } = self.sessions.config();
        let (mut nowhere, mut bound_to) = (Session::Nowhere { binding: UNBOUND }, None);
        if let Some(name) = application {
            nowhere = Session::Nowhere { binding: 0 };
            bound_to =
                cookies(headers, name).next().filter(|value| Bindings::can_be_bound_to(value));
            if bound_to.is_none() {
                return nowhere;
            }
        }
        let mut bindings = Bindings::new(keys, bound_to);
        let lifetime = millis(*lifetime);
        for token in cookies(headers, name).take(COOKIES).filter_map(Token::parse) {
            // Looked at before it is known to be authentic, because that costs nothing.
            let age = clock.read(context.now()).saturating_sub(token.issued());
            if age >= lifetime {
                continue;
            }
            let home = self.homes.get(&token.endpoint());
            // Without a home it matters only to an application's session, which moves if there is one.
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
                    let renew = age >= lifetime / 10 || *key > 0;
                    return Session::At { home: candidate, binding, renew };
                }
                None => nowhere = Session::Nowhere { binding },
            }
        }
        nowhere
    }
}

impl<P, B> Pick<Request<B>> for StickyPicker<P>
where
    P: Pick<Request<B>>,
{
    fn pick(&self, request: &Request<B>, context: &mut PickContext<'_>) -> Option<&Candidate> {
        let strict = self.sessions.config().affinity == Affinity::Strict;
        let (picked, note) = match self.session(request.headers(), context) {
            Session::At { home, binding, renew } if strict || context.accepts(home) => {
                (Some(home), if renew { binding } else { 0 })
            }
            Session::At { home, binding, .. } => {
                let full = !context.has_room(home);
                (self.inner.pick(request, context), if full { 0 } else { binding })
            }
            Session::Nowhere { binding } => (self.inner.pick(request, context), binding),
        };
        context.set_metadata(note);
        picked
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    use http::header::COOKIE;

    use super::*;
    use crate::{
        endpoint::{Endpoint, Tried},
        http::sticky::{Key, SessionsBuilder, binding::MAX_APPLICATION_COOKIE, key::hashed},
        load::Now,
        strategy::{Rng, RoundRobin},
    };

    fn key(byte: u8) -> Key {
        Key::new([byte; 32]).unwrap()
    }

    /// With as many keys as there may be.
    fn settings() -> SessionsBuilder {
        let settings = Sessions::builder(key(0)).cookie("lb");
        (1..8).fold(settings, |settings, byte| settings.also_accept(key(byte)))
    }

    /// How many codes a pick makes for a request with this header, and of how many bytes.
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

    /// Cookies that look like tokens, issued in the future, of no endpoint.
    fn forged(count: u8) -> String {
        let token = |n| format!("; lb={}", URL_SAFE_NO_PAD.encode([n | 0x80; 40]));
        (0..count).map(token).collect()
    }

    #[test]
    fn what_is_not_authentic_is_hashed_once_for_each_key_at_most() {
        let application = |len| format!("app={}", "x".repeat(len));
        let follows = || settings().follow("app");
        let token = size_of::<u64>() + 24;
        let longest = MAX_APPLICATION_COOKIE;
        for (cookies, tokens) in [(1, 1), (4, 4), (100, COOKIES)] {
            let header = application(longest) + &forged(cookies);
            let expected = (8 + 8 * tokens, 8 * longest + 8 * tokens * token);
            assert_eq!(cost(follows(), &header), expected, "{cookies} cookies");
        }
        for len in [0, longest + 1, 50_000] {
            let header = application(len) + &forged(4);
            assert_eq!(cost(follows(), &header), (0, 0), "a cookie of {len} bytes has no session");
        }
        assert_eq!(cost(follows(), &application(longest)), (0, 0), "no token");
        assert_eq!(cost(settings(), &forged(100)), (0, 0), "of no endpoint");
        let expired = format!("; lb={}", URL_SAFE_NO_PAD.encode([0; 40]));
        assert_eq!(cost(follows(), &(application(longest) + &expired)), (0, 0), "expired");
    }
}
