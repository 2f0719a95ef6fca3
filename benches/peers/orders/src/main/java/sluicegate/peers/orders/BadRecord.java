package sluicegate.peers.orders;

/** Why an input record is none: the first class that applies, and a text for people. */
public record BadRecord(ErrorClass error, String message) {}
