use std::{collections::HashMap, sync::Arc};

use super::{SERVER_ID_LABEL, ServerId};
use crate::{
    endpoint::Health,
    outcome::Meter,
    strategy::{
        BuildContext, Built, Candidate, Candidates, Pick, PickContext, Strategy,
        explain::{Brief, Observe, observed_pick},
    },
    udp::Flow,
};

/// Sends a flow that names a server to that server, and uses the inner strategy for all others.
///
/// The server is the endpoint whose label [`SERVER_ID_LABEL`] is the id. It gets the flow while it
/// is eligible or draining, because the flow continues a connection that it has. A flow that names
/// an unknown server, or one that is unhealthy, goes where the inner strategy sends it.
#[derive(Clone, Debug)]
pub struct ByServerId<St>(St);

impl<St> ByServerId<St> {
    /// Uses `inner` for flows that name no server. One that hashes the flow keeps them stable.
    pub fn new(inner: St) -> Self {
        Self(inner)
    }
}

impl<St: Strategy> Strategy for ByServerId<St> {
    type Picker = ServerIdPicker<St::Picker>;

    fn build(
        &mut self,
        candidates: &Candidates,
        context: &mut BuildContext,
    ) -> Built<Self::Picker> {
        let built = self.0.build(candidates, context);
        let is_draining = |candidate: &&Candidate| {
            let health = candidate.health();
            matches!(health, Health::Draining(_))
                || (candidate.weight() == 0 && health.is_serving())
        };
        let draining = candidates.all().filter(is_draining);
        let servers = built.eligible.iter().chain(draining).filter_map(|candidate| {
            let id = candidate.metadata().get(SERVER_ID_LABEL)?.parse().ok()?;
            Some((id, candidate.clone()))
        });
        let servers = servers.collect();
        built.map(|inner| ServerIdPicker { inner, servers })
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        self.0.meter()
    }
}

/// The picker of [`ByServerId`].
#[derive(Debug)]
#[expect(unnameable_types, reason = "named as <ByServerId as Strategy>::Picker")]
pub struct ServerIdPicker<P> {
    inner: P,
    servers: HashMap<ServerId, Candidate>,
}

impl<P: Pick<Flow>> ServerIdPicker<P> {
    fn pick_with(
        &self,
        flow: &Flow,
        context: &mut PickContext<'_>,
        observer: &mut impl Observe,
    ) -> Option<&Candidate> {
        observer.step("server id");
        let Some(id) = flow.server_id() else {
            observer.say(|| "the flow names no server".to_owned());
            return observer.inner(&self.inner, flow, context);
        };
        match self.servers.get(&id) {
            // A full server is waited for: no other has the connection.
            Some(server) if context.accepts(server) || !context.has_room(server) => {
                observer.say(|| format!("server {id} is {}", Brief::name(server.name())));
                observer.note(server, || "the server of the flow".to_owned());
                Some(server)
            }
            Some(server) => {
                observer.say(|| format!("server {id} has failed before"));
                observer.note(server, || "the server of the flow".to_owned());
                observer.inner(&self.inner, flow, context)
            }
            None => {
                observer.say(|| format!("no endpoint that takes flows is server {id}"));
                observer.inner(&self.inner, flow, context)
            }
        }
    }
}

impl<P: Pick<Flow>> Pick<Flow> for ServerIdPicker<P> {
    observed_pick!(Flow);
}
