mod alias;
pub(super) mod draw;
pub(super) mod sampler;
