//! Settings: files and environment as written, then settings as meant, checked once.
