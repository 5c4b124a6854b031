use std::borrow::Cow;

/// Why a request goes where it goes: the result of
/// [`Balancer::explain`](crate::Balancer::explain).
///
/// `Display` writes a tree of the steps and a table of the endpoints for people;
/// [`compact`](Self::compact) writes one line. Texts in the fields are not escaped; both displays
/// escape them.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Explanation {
    /// What happens to the request.
    pub outcome: PickOutcome,
    /// The name of the endpoint that was picked.
    pub picked: Option<String>,
    /// The number of endpoints, eligible or not.
    pub endpoints: usize,
    /// What each wrapper and the strategy decided, from the outside in. At most 100.
    pub steps: Vec<ExplainedStep>,
    /// The endpoints: the picked one, those that were compared with it, those that the request
    /// could not go to, and the others. At most 100, in the order of their standings.
    pub candidates: Vec<ExplainedCandidate>,
    /// How many other endpoints there are of each standing. Empty if all are listed.
    pub unlisted: Vec<(Standing, usize)>,
}

/// What happens to a request after a pick.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum PickOutcome {
    /// It goes to the picked endpoint.
    Picked,
    /// It waits: the picked endpoint is full, or no endpoint can take it now.
    Waits,
    /// It fails as [`Error::Refused`](crate::Error::Refused): the strategy picks no endpoint
    /// although some have room.
    Refused,
}

/// What one wrapper or strategy decided.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ExplainedStep {
    /// The number of steps around this one.
    pub depth: usize,
    /// The name of the wrapper or strategy.
    pub name: Cow<'static, str>,
    /// The decision, for people.
    pub decision: String,
}

/// One endpoint in an [`Explanation`].
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ExplainedCandidate {
    /// The endpoint's key, as text.
    pub name: String,
    /// The zone's name; `None` without a locality.
    pub zone: Option<String>,
    /// The tier.
    pub tier: u32,
    /// The weight.
    pub weight: u32,
    /// The number of requests in flight.
    pub outstanding: u32,
    /// What the endpoint is to this request.
    pub standing: Standing,
    /// The figure that the strategy compared, such as a load with this request or the rank for a
    /// key. The last step says which; the lowest wins. `None` if the strategy read no figure.
    pub score: Option<f64>,
    /// Why the endpoint has this standing, for people.
    pub reason: Option<String>,
}

/// What an endpoint is to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Standing {
    /// It was picked.
    Picked,
    /// The strategy compared it with the picked one, or would pick it next.
    Compared,
    /// It is eligible, but the strategy did not look at it.
    NotCompared,
    /// The request has tried it before.
    Tried,
    /// It has no free slot.
    Full,
    /// A wrapper excluded it from this request.
    Excluded,
    /// It is unhealthy.
    Unhealthy,
    /// It is draining.
    Draining,
    /// Its weight is 0.
    ZeroWeight,
}

impl Standing {
    /// Which candidates are listed if there are too many: the least first.
    pub(super) fn priority(self) -> u8 {
        match self {
            Self::Picked => 0,
            Self::Compared => 1,
            Self::Tried | Self::Full => 2,
            Self::Unhealthy | Self::Draining | Self::ZeroWeight => 3,
            Self::Excluded => 4,
            Self::NotCompared => 5,
        }
    }
}
