use std::{collections::BTreeMap, fmt, future::Future, pin::Pin, sync::Arc};

use crate::{
    outcome::LoadReport,
    strategy::{Candidate, HashKey, InvalidParameter, ZonalShiftHandle},
};

/// What a [`Config`](super::Config) may name and only the program can give: keys for strategies that
/// hash, probes for those that ask, and what takes zones out.
pub struct Named<Req> {
    keys: BTreeMap<String, NamedKey<Req>>,
    probes: BTreeMap<String, NamedProbe>,
    shifts: BTreeMap<String, ZonalShiftHandle>,
}

impl<Req> Named<Req> {
    /// Nothing.
    #[must_use]
    pub fn new() -> Self {
        Self { keys: BTreeMap::new(), probes: BTreeMap::new(), shifts: BTreeMap::new() }
    }

    /// Adds a key, replacing one of the same name.
    #[must_use]
    pub fn key(
        mut self,
        name: impl Into<String>,
        key: impl HashKey<Req> + Send + Sync + 'static,
    ) -> Self {
        self.keys.insert(name.into(), NamedKey(Arc::new(key)));
        self
    }

    /// Adds a probe as [`Probed`](crate::strategy::Probed) takes it, replacing one of the same name.
    #[must_use]
    pub fn probe<F, Fut, E>(mut self, name: impl Into<String>, probe: F) -> Self
    where
        F: Fn(&Candidate) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<LoadReport, E>> + Send + 'static,
    {
        let ask = move |endpoint: &Candidate| -> Answer {
            let answer = probe(endpoint);
            Box::pin(async move { answer.await.map_err(drop) })
        };
        self.probes.insert(name.into(), Arc::new(ask));
        self
    }

    /// Adds what takes zones out, as [`ZonalShift`](crate::strategy::ZonalShift) follows it, replacing one
    /// of the same name.
    #[must_use]
    pub fn zonal_shift(mut self, name: impl Into<String>, handle: &ZonalShiftHandle) -> Self {
        self.shifts.insert(name.into(), handle.clone());
        self
    }

    pub(super) fn get_shift(&self, name: &str) -> Result<&ZonalShiftHandle, InvalidParameter> {
        let expected = "the name of a zonal shift that the program gives";
        self.shifts.get(name).ok_or_else(|| InvalidParameter::new("shift", expected))
    }

    pub(super) fn get_key(&self, name: &str) -> Result<NamedKey<Req>, InvalidParameter> {
        let unknown = || InvalidParameter::new("key", "the name of a key that the program gives");
        self.keys.get(name).cloned().ok_or_else(unknown)
    }

    pub(super) fn get_probe(
        &self,
        name: &str,
    ) -> Result<impl Fn(&Candidate) -> Answer + Clone + Send + Sync + 'static, InvalidParameter>
    {
        let expected = "the name of a probe that the program gives";
        let found = self.probes.get(name).cloned();
        let probe = found.ok_or_else(|| InvalidParameter::new("probe", expected))?;
        Ok(move |endpoint: &Candidate| probe(endpoint))
    }
}

impl<Req> Default for Named<Req> {
    fn default() -> Self {
        Self::new()
    }
}

impl<Req> fmt::Debug for Named<Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Named")
            .field("keys", &self.keys.keys())
            .field("probes", &self.probes.keys())
            .field("shifts", &self.shifts.keys())
            .finish()
    }
}

/// Why a probe failed is of no interest to who asked.
type Answer = Pin<Box<dyn Future<Output = Result<LoadReport, ()>> + Send>>;
type NamedProbe = Arc<dyn Fn(&Candidate) -> Answer + Send + Sync>;

/// One of the keys.
pub(super) struct NamedKey<Req>(Arc<dyn HashKey<Req> + Send + Sync>);

impl<Req> Clone for NamedKey<Req> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<Req> HashKey<Req> for NamedKey<Req> {
    fn hash(&self, request: &Req) -> Option<u64> {
        self.0.hash(request)
    }
}
