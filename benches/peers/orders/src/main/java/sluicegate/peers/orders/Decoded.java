package sluicegate.peers.orders;

/** An input record after decoding: either {@link #order} or {@link #bad} is there. */
public final class Decoded {
    public final Order order;
    public final BadRecord bad;
    /** The record's value; null for a tombstone. */
    public final byte[] raw;
    /** Kafka's timestamp of a bad record, in milliseconds since 1970. */
    public long kafkaTimestamp;

    Decoded(Order order) {
        this.order = order;
        this.bad = null;
        this.raw = order.raw;
    }

    Decoded(BadRecord bad, byte[] raw) {
        this.order = null;
        this.bad = bad;
        this.raw = raw;
    }
}
