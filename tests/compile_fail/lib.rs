//! Only a test: see `mistakes`.
