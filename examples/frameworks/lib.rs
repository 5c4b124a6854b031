//! This package contains only examples: axum, reqwest, tonic and documents.
