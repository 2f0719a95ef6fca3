package sluicegate.peers.orders;

/** A good input record. */
public final class Order {
    public String orderId;
    public String userId;
    public EventType type;
    /** In hundredths: money is exact. */
    public long amount;
    public long itemCount;
    public String category;
    public String[] products;
    public long[] quantities;
    /** Event time, in milliseconds since 1970. */
    public long timestamp;
    /** The record's value, as its producer wrote it. */
    public byte[] raw;

    /** What makes two events the same; also the name of the batch that begins with this one. */
    public String identity() {
        return orderId + "/" + type.name();
    }
}
