use std::sync::{
    Arc,
    atomic::{AtomicU32, AtomicU64, Ordering},
};

use super::{Explainer, Rules};
use crate::strategy::{Candidate, Candidates, Pick, PickContext};

/// Watches a pick. Texts and figures are functions, which the silent observer never calls.
pub(crate) trait Observe {
    /// Whether anything is recorded, for work that only an explanation needs.
    const ACTIVE: bool;

    /// Begins the step of this picker.
    fn step(&mut self, name: &'static str);

    /// Adds to the decision of the present step.
    fn say(&mut self, text: impl FnOnce() -> String);

    /// Records that the picker read a figure of the candidate.
    fn compare(&mut self, candidate: &Candidate, score: impl FnOnce() -> f64);

    /// Adds to the reason for the candidate's standing.
    fn note(&mut self, candidate: &Candidate, text: impl FnOnce() -> String);

    /// Takes the next turn of a shared sequence; an explanation only looks at it.
    fn turn(&mut self, sequence: &AtomicU64) -> u64;

    /// The same for a sequence of 32 bits.
    fn turn32(&mut self, sequence: &AtomicU32) -> u32;

    /// Returns true if the pick must have no effect.
    fn is_dry_run(&self) -> bool;

    /// Passes the pick on to an inner picker.
    fn inner<'a, P, Req>(
        &mut self,
        picker: &'a P,
        request: &Req,
        context: &mut PickContext<'_>,
    ) -> Option<&'a Candidate>
    where
        P: Pick<Req> + ?Sized;

    /// Marks the present step as one that asks only some of its parts.
    fn divides(&mut self);

    /// Passes the pick on to the picker of one part.
    fn part<'a, P, Req>(
        &mut self,
        part: (&Arc<str>, &Candidates, &Rules),
        picker: &'a P,
        request: &Req,
        context: &mut PickContext<'_>,
    ) -> Option<&'a Candidate>
    where
        P: Pick<Req> + ?Sized;
}

/// The observer of a pick that is not explained. Every call compiles to nothing, or to the one
/// instruction that a pick needs.
pub(crate) struct Silent;

impl Observe for Silent {
    const ACTIVE: bool = false;

    #[inline(always)]
    fn step(&mut self, _name: &'static str) {}

    #[inline(always)]
    fn say(&mut self, _text: impl FnOnce() -> String) {}

    #[inline(always)]
    fn compare(&mut self, _candidate: &Candidate, _score: impl FnOnce() -> f64) {}

    #[inline(always)]
    fn note(&mut self, _candidate: &Candidate, _text: impl FnOnce() -> String) {}

    // Relaxed: turns only have to be distinct, and order nothing else.
    #[inline(always)]
    fn turn(&mut self, sequence: &AtomicU64) -> u64 {
        sequence.fetch_add(1, Ordering::Relaxed)
    }

    #[inline(always)]
    fn turn32(&mut self, sequence: &AtomicU32) -> u32 {
        sequence.fetch_add(1, Ordering::Relaxed)
    }

    #[inline(always)]
    fn is_dry_run(&self) -> bool {
        false
    }

    #[inline(always)]
    fn inner<'a, P, Req>(
        &mut self,
        picker: &'a P,
        request: &Req,
        context: &mut PickContext<'_>,
    ) -> Option<&'a Candidate>
    where
        P: Pick<Req> + ?Sized,
    {
        picker.pick(request, context)
    }

    #[inline(always)]
    fn divides(&mut self) {}

    #[inline(always)]
    fn part<'a, P, Req>(
        &mut self,
        _part: (&Arc<str>, &Candidates, &Rules),
        picker: &'a P,
        request: &Req,
        context: &mut PickContext<'_>,
    ) -> Option<&'a Candidate>
    where
        P: Pick<Req> + ?Sized,
    {
        picker.pick(request, context)
    }
}

impl Observe for Explainer {
    const ACTIVE: bool = true;

    fn step(&mut self, name: &'static str) {
        Self::step(self, name);
    }

    fn say(&mut self, text: impl FnOnce() -> String) {
        Self::say(self, text());
    }

    fn compare(&mut self, candidate: &Candidate, score: impl FnOnce() -> f64) {
        Self::compare(self, candidate, score());
    }

    fn note(&mut self, candidate: &Candidate, text: impl FnOnce() -> String) {
        Self::note(self, candidate, text());
    }

    fn turn(&mut self, sequence: &AtomicU64) -> u64 {
        if !self.is_dry_run() {
            return sequence.fetch_add(1, Ordering::Relaxed);
        }
        let taken = self.next_turn(std::ptr::from_ref(sequence).addr());
        sequence.load(Ordering::Relaxed).wrapping_add(taken)
    }

    fn turn32(&mut self, sequence: &AtomicU32) -> u32 {
        if !self.is_dry_run() {
            return sequence.fetch_add(1, Ordering::Relaxed);
        }
        let taken = self.next_turn(std::ptr::from_ref(sequence).addr());
        sequence.load(Ordering::Relaxed).wrapping_add(taken as u32)
    }

    fn is_dry_run(&self) -> bool {
        Self::is_dry_run(self)
    }

    fn inner<'a, P, Req>(
        &mut self,
        picker: &'a P,
        request: &Req,
        context: &mut PickContext<'_>,
    ) -> Option<&'a Candidate>
    where
        P: Pick<Req> + ?Sized,
    {
        Self::inner(self, picker, request, context)
    }

    fn divides(&mut self) {
        Self::divides(self);
    }

    fn part<'a, P, Req>(
        &mut self,
        part: (&Arc<str>, &Candidates, &Rules),
        picker: &'a P,
        request: &Req,
        context: &mut PickContext<'_>,
    ) -> Option<&'a Candidate>
    where
        P: Pick<Req> + ?Sized,
    {
        Self::part(self, part, picker, request, context)
    }
}

/// Implements the methods of [`Pick`](crate::strategy::Pick) by `pick_with`, a method of the picker
/// that takes an observer. `without` is for pickers that do not look at the request.
macro_rules! observed_pick {
    (without $request:ty) => {
        #[inline(always)]
        fn pick(
            &self,
            _request: &$request,
            context: &mut $crate::strategy::PickContext<'_>,
        ) -> Option<&$crate::strategy::Candidate> {
            self.pick_with(context, &mut $crate::strategy::explain::Silent)
        }

        fn explain(
            &self,
            _request: &$request,
            context: &mut $crate::strategy::PickContext<'_>,
            explainer: &mut $crate::strategy::Explainer,
        ) -> Option<&$crate::strategy::Candidate> {
            self.pick_with(context, explainer)
        }
    };
    ($request:ty) => {
        #[inline]
        fn pick(
            &self,
            request: &$request,
            context: &mut $crate::strategy::PickContext<'_>,
        ) -> Option<&$crate::strategy::Candidate> {
            self.pick_with(request, context, &mut $crate::strategy::explain::Silent)
        }

        fn explain(
            &self,
            request: &$request,
            context: &mut $crate::strategy::PickContext<'_>,
            explainer: &mut $crate::strategy::Explainer,
        ) -> Option<&$crate::strategy::Candidate> {
            self.pick_with(request, context, explainer)
        }
    };
}
pub(crate) use observed_pick;
