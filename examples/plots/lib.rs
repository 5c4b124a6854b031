//! This package contains only examples: plots.
