//! Wire types and their encodings.
