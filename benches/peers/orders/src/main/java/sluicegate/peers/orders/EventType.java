package sluicegate.peers.orders;

/** What happened to an order, in the order in which an order passes it; nothing comes after a cancellation. */
public enum EventType {
    CREATED("CREATED"),
    PAYMENT_COMPLETED("PAID"),
    SHIPPED("SHIPPED"),
    DELIVERED("DELIVERED"),
    CANCELLED("CANCELLED");

    private static final EventType[] ALL = values();

    /** The status of an order that has come so far. */
    public final String status;

    EventType(String status) {
        this.status = status;
    }

    static EventType at(int ordinal) {
        return ALL[ordinal];
    }

    /** The type of that name, or null. */
    static EventType named(String name) {
        for (EventType type : ALL) {
            if (type.name().equals(name)) {
                return type;
            }
        }
        return null;
    }
}
