package sluicegate.peers.orders;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/** What is known of an order: who gave it, and when each of its events happened. De-duplication and tracking share it. */
public final class OrderState {
    /** A time that was not reached. */
    public static final long NONE = Long.MIN_VALUE;
    /** How long an event is remembered, in milliseconds of event time. */
    private static final long DEDUPLICATION_TTL = 86_400_000L;
    /** How long an order is followed after its youngest event. */
    private static final long TRACKING_TTL = 90 * DEDUPLICATION_TTL;

    public String userId;
    /** By event type. */
    public long[] times = {NONE, NONE, NONE, NONE, NONE};

    /** A new order. */
    public static OrderState of(Order first) {
        OrderState state = new OrderState();
        state.userId = first.userId;
        return state;
    }

    /** Whether it remembers this event at this watermark. */
    public boolean remembers(EventType type, long watermark) {
        long time = times[type.ordinal()];
        return time != NONE && time + DEDUPLICATION_TTL > watermark;
    }

    /** Whether nothing was heard of it for so long that it is none at this watermark. */
    public boolean isForgotten(long watermark) {
        return youngest() + TRACKING_TTL <= watermark;
    }

    /** Takes an accepted event; returns the factor by which it changes the stock of its items. */
    public int accept(Order event) {
        int effect =
                switch (event.type) {
                    case CREATED -> reached(EventType.CANCELLED) ? 0 : -1;
                    case CANCELLED -> reached(EventType.CREATED) ? 1 : 0;
                    default -> 0;
                };
        times[event.type.ordinal()] = event.timestamp;
        return effect;
    }

    private boolean reached(EventType type) {
        return times[type.ordinal()] != NONE;
    }

    private long youngest() {
        long youngest = NONE;
        for (long time : times) {
            youngest = Math.max(youngest, time);
        }
        return youngest;
    }

    /** The furthest that was reached. */
    String status() {
        int at = times.length - 1;
        while (at > 0 && times[at] == NONE) {
            at--;
        }
        return EventType.at(at).status;
    }

    /** A byte with a bit for each time that is there, these times, the user. */
    public byte[] toBytes() {
        byte[] user = userId.getBytes(StandardCharsets.UTF_8);
        ByteBuffer bytes = ByteBuffer.allocate(1 + 8 * times.length + user.length);
        int mask = 0;
        bytes.position(1);
        for (int at = 0; at < times.length; at++) {
            if (times[at] != NONE) {
                mask |= 1 << at;
                bytes.putLong(times[at]);
            }
        }
        bytes.put(0, (byte) mask).put(user);
        return Arrays.copyOf(bytes.array(), bytes.position());
    }

    /** The reverse of {@link #toBytes}. */
    public static OrderState of(byte[] value) {
        OrderState state = new OrderState();
        ByteBuffer bytes = ByteBuffer.wrap(value);
        int mask = bytes.get();
        for (int at = 0; at < state.times.length; at++) {
            if ((mask & 1 << at) != 0) {
                state.times[at] = bytes.getLong();
            }
        }
        state.userId = new String(value, bytes.position(), bytes.remaining(), StandardCharsets.UTF_8);
        return state;
    }
}
