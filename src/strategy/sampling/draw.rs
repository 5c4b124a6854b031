use super::alias::AliasTable;
use crate::strategy::Rng;

/// Draws parts in proportion to their shares.
#[derive(Debug)]
pub(crate) enum Draw {
    /// One part has all shares, so that no random number is needed.
    One(usize),
    Several(AliasTable),
}

impl Draw {
    /// Takes shares in any unit, which are met to within 2^-31. If none is above 0, always draws
    /// the first part.
    pub(crate) fn new(shares: &[f64]) -> Self {
        let greatest = shares.iter().copied().fold(0.0, f64::max);
        let weights: Vec<u32> = shares
            .iter()
            .map(|share| (share / greatest * f64::from(u32::MAX / 2)).round() as u32)
            .collect();
        let mut positive = weights.iter().enumerate().filter(|&(_, &weight)| weight > 0);
        match (positive.next(), positive.next()) {
            (None, _) => Self::One(0),
            (Some((only, _)), None) => Self::One(only),
            _ => AliasTable::new(&weights).map_or(Self::One(0), Self::Several),
        }
    }

    #[inline]
    pub(crate) fn draw(&self, rng: &mut Rng) -> usize {
        match self {
            Self::One(only) => *only,
            Self::Several(table) => table.draw(rng),
        }
    }
}
