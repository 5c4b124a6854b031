//! This package contains only examples: AWS Lambda.
