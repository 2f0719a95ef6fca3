//! An independent recomputation of the order job from its input, compared with every output.
