use crate::{
    endpoint::{Member, Vitals},
    outcome::Meter,
};

/// What a [`Load`](super::Load) reads of an endpoint: its vitals, its meters, and the class of the
/// request that is about to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Gauge<'a> {
    vitals: &'a Vitals,
    member: Option<&'a Member>,
    weight: u32,
    class: u32,
}

impl<'a> Gauge<'a> {
    /// For vitals alone: no meter is to be found.
    #[must_use]
    pub fn new(vitals: &'a Vitals) -> Self {
        Self { vitals, member: None, weight: 1, class: 0 }
    }

    #[inline]
    pub(crate) fn of(member: &'a Member, vitals: &'a Vitals, weight: u32, class: u32) -> Self {
        Self { vitals, member: Some(member), weight, class }
    }

    /// The endpoint's weight in the eyes of the strategy.
    #[inline]
    pub(crate) fn weight(&self) -> u32 {
        self.weight
    }

    /// The same endpoint read by other vitals: those that one class of requests has left.
    #[inline]
    #[must_use]
    pub fn with_vitals(self, vitals: &'a Vitals) -> Self {
        Self { vitals, ..self }
    }

    /// The endpoint's live figures.
    #[inline]
    #[must_use]
    pub fn vitals(&self) -> &'a Vitals {
        self.vitals
    }

    /// The endpoint's meter that is an `M`, if there is one.
    #[inline]
    #[must_use]
    pub fn meter<M: Meter>(&self) -> Option<&'a M> {
        self.member?.meters().find_map(|meter| meter.find())
    }

    /// The class of the request; 0 unless the strategy tells classes apart.
    #[inline]
    #[must_use]
    pub fn class(&self) -> u32 {
        self.class
    }
}
