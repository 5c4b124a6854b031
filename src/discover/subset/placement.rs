use std::sync::Arc;

use tokio::sync::watch;

use crate::ConfigError;

/// The index of a client among all clients, and their number. Clones share them; they may change
/// while in use.
#[derive(Clone, Debug)]
pub struct Placement {
    shared: Arc<watch::Sender<ClientIndex>>,
}

/// A valid index, which is less than the number of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClientIndex {
    pub(super) index: u32,
    pub(super) clients: u32,
}

impl ClientIndex {
    fn new(index: u32, clients: u32) -> Result<Self, ConfigError> {
        if index >= clients {
            let expected = format!("a number below `clients`, which is {clients}");
            return Err(ConfigError::new("index", expected).with_value(index));
        }
        Ok(Self { index, clients })
    }
}

impl Placement {
    /// Creates the placement of the client `index`, from 0, of `clients` clients.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if `index` is not less than `clients`.
    pub fn new(index: u32, clients: u32) -> Result<Self, ConfigError> {
        let (sender, _) = watch::channel(ClientIndex::new(index, clients)?);
        Ok(Self { shared: Arc::new(sender) })
    }

    /// Changes the placement, and with it the subset of each
    /// [`ApertureSubset`](crate::discover::ApertureSubset) that shares it.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if `index` is not less than `clients`; the placement does not change then.
    pub fn set(&self, index: u32, clients: u32) -> Result<(), ConfigError> {
        let new = ClientIndex::new(index, clients)?;
        self.shared.send_if_modified(|current| std::mem::replace(current, new) != new);
        Ok(())
    }

    pub(super) fn get(&self) -> ClientIndex {
        *self.shared.borrow()
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<ClientIndex> {
        self.shared.subscribe()
    }
}
