//! Only examples: plots.
