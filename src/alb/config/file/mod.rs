//! Files: texts in three formats, directories, their schema, and how they are watched.

mod directory;
mod schema;
mod snapshot;
mod text;
mod watch;

pub(super) use self::text::{parse, without_value};
pub use self::watch::{Watch, WatchBuilder};
