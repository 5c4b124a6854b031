use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    sync::Arc,
};

use http::{HeaderMap, Request};

use super::{
    Affinity, Sessions, WhenDraining,
    config::{Config, millis},
    cookie::cookies,
    key::{Key, Tag},
    sessions::UNBOUND,
    token::Token,
};
use crate::{
    capacity::shrunk,
    endpoint::{Health, Vitals},
    outcome::Meter,
    strategy::{BuildContext, Built, Candidate, Candidates, Pick, PickContext, Strategy},
};

/// Sends requests of a session to its endpoint, and leaves all others to the inner strategy; made by
/// [`Sessions::stick`].
///
/// The endpoint is found in a hash table by what the cookie holds, and the cookie is verified by one
/// HMAC (two if sessions follow a cookie of the application's); nothing is allocated.
#[derive(Debug)]
pub struct Sticky<St> {
    sessions: Sessions,
    inner: St,
    /// What stands for the endpoints, at their positions, from picker to picker.
    known: Vec<Option<Known>>,
}

#[derive(Clone, Debug)]
struct Known {
    vitals: Arc<Vitals>,
    /// By each of the keys.
    tags: Box<[Tag]>,
}

impl<St> Sticky<St> {
    pub(super) fn new(sessions: Sessions, inner: St) -> Self {
        Self { sessions, inner, known: Vec::new() }
    }

    /// Forgets what stands for endpoints at positions that no candidate has: the set has shrunk.
    fn forget_beyond(&mut self, candidates: &Candidates) {
        let last = candidates.everyone().map(Candidate::position).max();
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
        known.take_if(|known| !Arc::ptr_eq(&known.vitals, candidate.vitals()));
        let keys = &self.sessions.config().keys;
        let known = known.get_or_insert_with(|| Known {
            vitals: Arc::clone(candidate.vitals()),
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
        let draining = candidates.everyone().filter(|candidate| stay && is_draining(candidate));
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
        let application = application.as_deref().map(|name| cookies(headers, name).next());
        let mut nowhere = Session::Nowhere { binding: UNBOUND };
        if let Some(value) = application {
            nowhere = Session::Nowhere { binding: 0 };
            if value.is_none_or(<[u8]>::is_empty) {
                return nowhere;
            }
        }
        let value = application.flatten();
        let binding = |key: &Key| value.map_or(UNBOUND, |value| key.binding(value));
        let lifetime = millis(*lifetime);
        for token in cookies(headers, name).take(COOKIES).filter_map(Token::parse) {
            let home = self.homes.get(&token.endpoint());
            // Without a home it matters only to an application's session, which moves if there is one.
            let mut signers = match home {
                Some(home) => keys.get(home.key..=home.key).unwrap_or_default(),
                None if value.is_some() => keys,
                None => &[],
            }
            .iter();
            if !signers.any(|key| token.is_authentic(key, binding(key))) {
                continue;
            }
            let age = clock.read(context.now()).saturating_sub(token.issued());
            if age >= lifetime {
                continue;
            }
            let binding = self.sessions.key().map_or(0, binding);
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
                let full = !home.has_room();
                (self.inner.pick(request, context), if full { 0 } else { binding })
            }
            Session::Nowhere { binding } => (self.inner.pick(request, context), binding),
        };
        context.set_note(note);
        picked
    }
}
