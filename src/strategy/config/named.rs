use std::{collections::BTreeMap, fmt, future::Future, pin::Pin, sync::Arc};

use crate::{
    ConfigError,
    outcome::LoadReport,
    strategy::{Candidate, HashKey, ZonalShiftHandle},
};

/// Holds what a [`Config`](super::Config) refers to by name and only the program can supply: hash
/// keys, probes and zonal shifts.
pub struct Named<Req> {
    keys: BTreeMap<String, NamedKey<Req>>,
    probes: BTreeMap<String, NamedProbe>,
    shifts: BTreeMap<String, ZonalShiftHandle>,
}

impl<Req> Named<Req> {
    /// Creates an empty set.
    #[must_use]
    pub fn new() -> Self {
        Self { keys: BTreeMap::new(), probes: BTreeMap::new(), shifts: BTreeMap::new() }
    }

    /// Adds a hash key. It replaces one of the same name.
    #[must_use]
    pub fn key(
        mut self,
        name: impl Into<String>,
        key: impl HashKey<Req> + Send + Sync + 'static,
    ) -> Self {
        self.keys.insert(name.into(), NamedKey(Arc::new(key)));
        self
    }

    /// Adds a probe, as [`Probed`](crate::strategy::Probed) takes it. It replaces one of the same
    /// name.
    #[must_use]
    pub fn probe<F, Fut, E>(mut self, name: impl Into<String>, probe: F) -> Self
    where
        F: Fn(&Candidate) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<LoadReport, E>> + Send + 'static,
    {
        let probe = move |endpoint: &Candidate| -> ProbeFuture {
            let report = probe(endpoint);
            Box::pin(async move { report.await.map_err(drop) })
        };
        self.probes.insert(name.into(), Arc::new(probe));
        self
    }

    /// Adds a handle that a [`ZonalShift`](crate::strategy::ZonalShift) follows. It replaces one of
    /// the same name.
    #[must_use]
    pub fn zonal_shift(mut self, name: impl Into<String>, handle: &ZonalShiftHandle) -> Self {
        self.shifts.insert(name.into(), handle.clone());
        self
    }

    pub(super) fn get_shift(&self, name: &str) -> Result<&ZonalShiftHandle, ConfigError> {
        let expected = "the name of a zonal shift that the program gives";
        self.shifts.get(name).ok_or_else(|| unknown("shift", name, expected))
    }

    pub(super) fn get_key(&self, name: &str) -> Result<NamedKey<Req>, ConfigError> {
        let expected = "the name of a key that the program gives";
        self.keys.get(name).cloned().ok_or_else(|| unknown("key", name, expected))
    }

    pub(super) fn get_probe(
        &self,
        name: &str,
    ) -> Result<impl Fn(&Candidate) -> ProbeFuture + Clone + Send + Sync + 'static, ConfigError>
    {
        let expected = "the name of a probe that the program gives";
        let found = self.probes.get(name).cloned();
        let probe = found.ok_or_else(|| unknown("probe", name, expected))?;
        Ok(move |endpoint: &Candidate| probe(endpoint))
    }
}

fn unknown(field: &'static str, name: &str, expected: &'static str) -> ConfigError {
    ConfigError::new(field, expected).with_value(format_args!("{name:?}"))
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

/// The error of a probe is dropped: strategies only count failures.
type ProbeFuture = Pin<Box<dyn Future<Output = Result<LoadReport, ()>> + Send>>;
type NamedProbe = Arc<dyn Fn(&Candidate) -> ProbeFuture + Send + Sync>;

/// A hash key whose type is erased.
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
