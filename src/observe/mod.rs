//! Seen from outside: metrics, logs, health.
