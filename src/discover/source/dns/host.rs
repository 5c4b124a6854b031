use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use super::answer::Addresses;
use crate::{
    discover::{RejectedAddress, source::validation::LeftOut},
    sync::Mutex,
};

/// The targets of a service by name.
pub(super) type Targets = BTreeMap<String, Arc<Mutex<HostState>>>;

/// The result of the last lookups of a host.
#[derive(Default)]
pub(super) struct HostState {
    v4: Vec<IpAddr>,
    v6: Vec<IpAddr>,
    /// The addresses that were used last.
    pub(super) chosen: Vec<IpAddr>,
    /// The addresses that the filter rejected in the last A and AAAA answers.
    pub(super) rejected: [Vec<RejectedAddress>; 2],
    /// The last lookup failed.
    pub(super) failed: bool,
}

impl HostState {
    pub(super) fn left_out(&self, name: &str) -> Vec<LeftOut> {
        self.rejected.iter().flatten().map(|rejected| LeftOut::new(name, rejected)).collect()
    }

    /// Stores the answers. If the lookup of one record type failed and the other succeeded,
    /// replaces the failure with the last addresses of that type.
    pub(super) fn complete(&mut self, v4: &mut Option<Addresses>, v6: &mut Option<Addresses>) {
        let found = [&*v4, &*v6].into_iter().any(|answer| matches!(answer, Some(Ok(_))));
        for (answer, last) in [(v4, &mut self.v4), (v6, &mut self.v6)] {
            match answer {
                Some(Ok((addresses, _))) => last.clone_from(addresses),
                // A host may have addresses of one family only.
                Some(Err(error)) if error.is_negative() => last.clear(),
                Some(Err(_)) if found && !last.is_empty() => {
                    *answer = Some(Ok((last.clone(), None)))
                }
                _ => {}
            }
        }
    }
}
