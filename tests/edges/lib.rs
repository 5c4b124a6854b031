//! Only tests: see `http`, `lambda`, `discovery` and `processes`.
