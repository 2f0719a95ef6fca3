//! Real brokers and real faults for the demo, the benchmarks and the tests of sluicegate.
