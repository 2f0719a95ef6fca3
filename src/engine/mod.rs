//! From a graph of operators to running tasks: channels, barriers, watermarks, supervision.
