//! Any bytes, led by coverage.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sluicegate_fuzz::{check, format::DecodeRules};

fuzz_target!(|bytes: &[u8]| {
    check::json(bytes, &DecodeRules::default());
});
