//! The public API: streams, keyed streams, state handles, windows.
