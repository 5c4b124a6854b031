//! Only examples: AWS Lambda.
