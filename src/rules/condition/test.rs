use super::{Observe, RequestView, leaf::Leaf};

/// A compiled condition.
#[derive(Clone, Debug)]
pub(in crate::rules) enum Test {
    Leaf(Leaf),
    AllOf(Box<[Self]>),
    AnyOf(Box<[Self]>),
    Not(Box<Self>),
}

impl Test {
    pub(in crate::rules) fn matches(
        &self,
        request: &RequestView<'_>,
        observer: &mut impl Observe,
    ) -> bool {
        match self {
            Self::Leaf(leaf) => {
                let found = leaf.find(request);
                observer.leaf(leaf, request, found);
                found.is_some()
            }
            Self::AllOf(tests) => observer.group("all of", |observer| {
                tests.iter().all(|test| test.matches(request, observer))
            }),
            Self::AnyOf(tests) => observer.group("any of", |observer| {
                tests.iter().any(|test| test.matches(request, observer))
            }),
            Self::Not(test) => observer.group("not", |observer| !test.matches(request, observer)),
        }
    }

    /// Returns whether each request that meets all of `others` meets this, as far as that can be
    /// proved.
    pub(in crate::rules) fn is_implied_by(&self, others: &[Self]) -> bool {
        match self {
            Self::Leaf(leaf) => {
                matches!(leaf, Leaf::Any) || others.iter().any(|other| other.implies(leaf))
            }
            Self::AllOf(tests) => tests.iter().all(|test| test.is_implied_by(others)),
            Self::AnyOf(tests) => tests.iter().any(|test| test.is_implied_by(others)),
            Self::Not(_) => false,
        }
    }

    fn implies(&self, leaf: &Leaf) -> bool {
        match self {
            Self::Leaf(own) => leaf.covers(own),
            Self::AllOf(tests) => tests.iter().any(|test| test.implies(leaf)),
            // Of an empty list, none is met.
            Self::AnyOf(tests) => tests.iter().all(|test| test.implies(leaf)),
            Self::Not(_) => false,
        }
    }

    /// Returns whether no request meets both, as far as that can be proved.
    pub(in crate::rules) fn excludes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Leaf(one), Self::Leaf(other)) => one.excludes(other),
            (Self::AllOf(tests), other) | (other, Self::AllOf(tests)) => {
                tests.iter().any(|test| test.excludes(other))
            }
            (Self::AnyOf(tests), other) | (other, Self::AnyOf(tests)) => {
                tests.iter().all(|test| test.excludes(other))
            }
            (Self::Not(test), other) | (other, Self::Not(test)) => {
                test.is_implied_by(std::slice::from_ref(other))
            }
        }
    }

    /// Returns whether no request meets it, as far as that can be proved.
    pub(in crate::rules) fn is_contradictory(&self) -> bool {
        match self {
            Self::Leaf(_) | Self::Not(_) => false,
            Self::AllOf(tests) => are_contradictory(tests),
            Self::AnyOf(tests) => tests.iter().all(Self::is_contradictory),
        }
    }
}

/// Returns whether no request meets all of these, as far as that can be proved.
pub(in crate::rules) fn are_contradictory(tests: &[Test]) -> bool {
    tests.iter().any(Test::is_contradictory)
        || tests
            .iter()
            .enumerate()
            .any(|(number, test)| tests[number + 1..].iter().any(|other| test.excludes(other)))
}
