package sluicegate.peers.orders;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/** A user's purchases in one window. */
public final class PurchaseStats {
    public long orders;
    public long items;
    /** In hundredths. */
    public long total;
    /** A user buys in few categories. */
    public String[] categories = {};
    public long[] counts = {};

    /** Adds one order. */
    public void add(long amount, long itemCount, String category) {
        orders++;
        items += itemCount;
        // Fails rather than being wrong: with the largest amount that is allowed, after 92 orders.
        total = Math.addExact(total, amount);
        for (int at = 0; at < categories.length; at++) {
            if (categories[at].equals(category)) {
                counts[at]++;
                return;
            }
        }
        categories = Arrays.copyOf(categories, categories.length + 1);
        counts = Arrays.copyOf(counts, counts.length + 1);
        categories[categories.length - 1] = category;
        counts[counts.length - 1] = 1;
    }

    /** Three numbers, then for each category its count, the length of its name, and the name. */
    public byte[] toBytes() {
        byte[][] names = new byte[categories.length][];
        int length = 24;
        for (int at = 0; at < names.length; at++) {
            names[at] = categories[at].getBytes(StandardCharsets.UTF_8);
            length += 12 + names[at].length;
        }
        ByteBuffer bytes = ByteBuffer.allocate(length).putLong(orders).putLong(items).putLong(total);
        for (int at = 0; at < names.length; at++) {
            bytes.putLong(counts[at]).putInt(names[at].length).put(names[at]);
        }
        return bytes.array();
    }

    /** The reverse of {@link #toBytes}; nothing is a window without orders. */
    public static PurchaseStats of(byte[] value) {
        PurchaseStats stats = new PurchaseStats();
        if (value == null) {
            return stats;
        }
        ByteBuffer bytes = ByteBuffer.wrap(value);
        stats.orders = bytes.getLong();
        stats.items = bytes.getLong();
        stats.total = bytes.getLong();
        while (bytes.hasRemaining()) {
            int at = stats.categories.length;
            stats.counts = Arrays.copyOf(stats.counts, at + 1);
            stats.categories = Arrays.copyOf(stats.categories, at + 1);
            stats.counts[at] = bytes.getLong();
            byte[] name = new byte[bytes.getInt()];
            bytes.get(name);
            stats.categories[at] = new String(name, StandardCharsets.UTF_8);
        }
        return stats;
    }
}
