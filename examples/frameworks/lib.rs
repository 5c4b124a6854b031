//! Only examples: axum, reqwest, tonic and documents.
