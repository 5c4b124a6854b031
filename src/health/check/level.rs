use crate::health::InitialState;

/// The numbers of consecutive checks that change a state.
#[derive(Clone, Copy, Debug)]
pub(super) struct Thresholds {
    pub(super) rise: u32,
    pub(super) fall: u32,
}

/// The result of past checks: one number for the state and for the checks that contradict it.
///
/// The level goes from 0 to `rise + fall - 1`; the endpoint is up from `rise` on. A check that
/// passes adds 1; if that brings the endpoint up, the level jumps to the top. A check that fails
/// subtracts 1; if that brings the endpoint down, the level drops to 0.
///
/// Source: HAProxy's server health counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Level(u32);

impl Thresholds {
    pub(super) fn first(self, initial: InitialState) -> Level {
        Level(match initial {
            InitialState::FullyUp => self.top(),
            InitialState::Up => self.rise,
            InitialState::Down => self.rise - 1,
            InitialState::FullyDown => 0,
        })
    }

    pub(super) fn is_up(self, level: Level) -> bool {
        level.0 >= self.rise
    }

    /// True if no recent check contradicts the state.
    pub(super) fn is_settled(self, level: Level) -> bool {
        level.0 == 0 || level.0 == self.top()
    }

    pub(super) fn next(self, level: Level, passed: bool) -> Level {
        let was_up = self.is_up(level);
        let next = if passed { level.0 + 1 } else { level.0.saturating_sub(1) };
        Level(match (was_up, self.is_up(Level(next))) {
            (false, true) => self.top(),
            (true, false) => 0,
            _ => next.min(self.top()),
        })
    }

    fn top(self) -> u32 {
        self.rise + self.fall - 1
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// `fall` consecutive failures bring any endpoint down, and `fall - 1` do not if it was
        /// settled. `rise` passes bring it up likewise.
        #[test]
        fn thresholds_are_exact(
            rise in 1_u32..10,
            fall in 1_u32..10,
            past in prop::collection::vec(any::<bool>(), 0..40),
        ) {
            let thresholds = Thresholds { rise, fall };
            let mut level = thresholds.first(InitialState::Down);
            for passed in past {
                level = thresholds.next(level, passed);
                prop_assert!(level.0 <= thresholds.top());
            }
            for (passed, checks) in [(true, rise), (false, fall), (true, rise)] {
                let was_up = thresholds.is_up(level);
                let settled = thresholds.is_settled(level);
                for check in 1..=checks {
                    level = thresholds.next(level, passed);
                    if settled && was_up != passed && check < checks {
                        prop_assert_eq!(thresholds.is_up(level), was_up);
                    }
                }
                prop_assert_eq!(thresholds.is_up(level), passed);
                // From any state, as many checks as there are levels settle it.
                for _ in 0..thresholds.top() {
                    level = thresholds.next(level, passed);
                }
                prop_assert!(thresholds.is_settled(level));
            }
        }

        #[test]
        fn the_first_check_decides_in_the_states_up_and_down(rise in 1_u32..10, fall in 1_u32..10) {
            let thresholds = Thresholds { rise, fall };
            let after = |initial, passed| {
                let level = thresholds.next(thresholds.first(initial), passed);
                thresholds.is_up(level)
            };
            for initial in [InitialState::Up, InitialState::Down] {
                prop_assert!(after(initial, true) && !after(initial, false));
            }
            prop_assert_eq!(after(InitialState::FullyUp, false), fall > 1);
            prop_assert_eq!(after(InitialState::FullyDown, true), rise == 1);
        }
    }
}
