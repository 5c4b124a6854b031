//! Drawing at random in proportion to weights, and comparing the candidates that were drawn.
//!
//! `alias` is the table that draws in constant time, `draw` draws parts by their shares, `sampler`
//! draws candidates by their weights and compares their loads.

mod alias;
pub(super) mod draw;
pub(super) mod sampler;
