//! A strategy that holds what another builds, and each of its picks, against the oracle.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use tower_lb::{
    outcome::Meter,
    strategy::{BuildContext, Built, Candidate, Candidates, Pick, PickContext, Strategy},
};

use crate::{
    oracle::{Class, Env, Fact, admitted},
    server::Request,
    tree::{Any, Controls, Tree},
};

/// Carried by a request: what it asks for, and where its session lives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wants {
    pub(crate) class: Class,
    pub(crate) home: Option<usize>,
}

/// What a picker was built of.
pub(crate) struct Record {
    tree: Arc<Tree>,
    pub(crate) facts: Vec<Fact>,
    env: Env,
    pub(crate) eligible: BTreeSet<usize>,
    allowed: Mutex<BTreeMap<Class, Arc<BTreeSet<usize>>>>,
}

impl Record {
    pub(crate) fn allowed(&self, class: Class) -> Arc<BTreeSet<usize>> {
        let mut allowed = self.allowed.lock().unwrap();
        let of_class = allowed
            .entry(class)
            .or_insert_with(|| Arc::new(admitted(&self.tree, &self.facts, &self.env, Some(class))));
        Arc::clone(of_class)
    }

    pub(crate) fn fact(&self, key: usize) -> Option<&Fact> {
        self.facts.iter().find(|fact| fact.key == key)
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("facts", &self.facts)
            .field("env", &self.env)
            .field("eligible", &self.eligible)
            .finish_non_exhaustive()
    }
}

/// What the world and the strategy share.
pub(crate) struct Shared {
    pub(crate) tree: Arc<Tree>,
    pub(crate) controls: Arc<Controls>,
    /// Zones that are away, by the number of the handle.
    pub(crate) away: Mutex<Vec<BTreeSet<String>>>,
    pub(crate) record: Mutex<Option<Arc<Record>>>,
    pub(crate) builds: AtomicUsize,
    /// Picks need not be accepted.
    pub(crate) refuses: bool,
    pub(crate) strict: bool,
}

impl Shared {
    pub(crate) fn record(&self) -> Arc<Record> {
        Arc::clone(self.record.lock().unwrap().as_ref().unwrap())
    }

    fn env(&self) -> Env {
        let shares = self.controls.shares.lock().unwrap();
        let shares = shares.iter().map(|(number, shares)| {
            (*number, shares.get().into_iter().map(|(_, share)| share).collect())
        });
        let (away, throttled) = (self.away.lock().unwrap().clone(), Vec::new());
        Env { away, shares: shares.collect(), throttled }
    }
}

pub(crate) struct Checked {
    pub(crate) inner: Any,
    pub(crate) shared: Arc<Shared>,
}

impl Strategy for Checked {
    type Picker = CheckedPicker;

    fn build(&mut self, all: &Candidates, context: &mut BuildContext) -> Built<CheckedPicker> {
        let mut env = self.shared.env();
        let facts: Vec<_> = all.all().map(Fact::of).collect();
        let built = self.inner.build(all, context);
        env.learn(built.notices());
        let eligible: BTreeSet<usize> = built.eligible().iter().map(key).collect();
        let tree = Arc::clone(&self.shared.tree);
        let expected = admitted(&tree, &facts, &env, None);
        assert_eq!(eligible, expected, "admitted, and expected; {facts:#?} {env:?}");
        let allowed = Mutex::default();
        let record = Arc::new(Record { tree, facts, env, eligible, allowed });
        *self.shared.record.lock().unwrap() = Some(Arc::clone(&record));
        self.shared.builds.fetch_add(1, SeqCst);
        let (candidates, shared) = (built.eligible().clone(), Arc::clone(&self.shared));
        built.map(|inner| CheckedPicker { inner, candidates, record, shared })
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        self.inner.meter()
    }
}

fn key(candidate: &Candidate) -> usize {
    candidate.name().parse().unwrap()
}

pub(crate) struct CheckedPicker {
    inner: <Any as Strategy>::Picker,
    candidates: Candidates,
    record: Arc<Record>,
    shared: Arc<Shared>,
}

impl Pick<Request> for CheckedPicker {
    fn pick(&self, request: &Request, context: &mut PickContext<'_>) -> Option<&Candidate> {
        let picked = self.inner.pick(request, context);
        let Wants { class, home } = *request.extensions().get().unwrap();
        let allowed = self.record.allowed(class);
        let name = picked.map(key);
        let is_home = name.is_some() && name == home;
        assert!(
            name.is_none_or(|name| is_home || allowed.contains(&name)),
            "picked {name:?}, and allowed are {allowed:?} of {:?}",
            self.record.eligible
        );
        if self.shared.refuses || self.shared.strict && home.is_some() {
            return picked;
        }
        let candidates = || self.candidates.iter().filter(|one| allowed.contains(&key(one)));
        if candidates().any(|one| context.accepts(one)) {
            let accepted = picked.is_some_and(|one| context.accepts(one));
            assert!(accepted, "picked {name:?}, which is not accepted, though others are");
        } else if candidates().any(|one| context.has_room(one)) {
            let has_room = picked.is_some_and(|one| context.has_room(one));
            assert!(has_room, "picked {name:?}, which has no room, though others have");
        }
        picked
    }
}
