//! Any bytes behind a number of the writer's schema, led by coverage.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sluicegate_fuzz::{check::Plans, format::DecodeRules, mutation::WRITERS};
use std::sync::LazyLock;

static PLANS: LazyLock<Plans> = LazyLock::new(|| Plans::of(&WRITERS));

fuzz_target!(|bytes: &[u8]| {
    if let Some((writer, record)) = bytes.split_first() {
        PLANS.avro(usize::from(*writer) % WRITERS.len(), record, &DecodeRules::default());
    }
});
