package sluicegate.peers.streams;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.nio.ByteBuffer;
import sluicegate.peers.orders.Order;

/**
 * A {@code CREATED} event on its way to its user's window. With it goes how far its input partition was: event time advances by the partition
 * that is furthest behind, which the time of the repartition topic (the latest time in it) does not tell.
 */
record Purchase(int partition, long watermark, long amount, long itemCount, String category, byte[] orderId, byte[] raw) {
    static byte[] toBytes(int partition, long watermark, Order order) {
        byte[] category = order.category.getBytes(UTF_8);
        byte[] orderId = order.orderId.getBytes(UTF_8);
        return ByteBuffer.allocate(36 + category.length + orderId.length + order.raw.length)
                .putInt(partition)
                .putLong(watermark)
                .putLong(order.amount)
                .putLong(order.itemCount)
                .putInt(category.length)
                .putInt(orderId.length)
                .put(category)
                .put(orderId)
                .put(order.raw)
                .array();
    }

    static Purchase of(byte[] value) {
        ByteBuffer bytes = ByteBuffer.wrap(value);
        int partition = bytes.getInt();
        long watermark = bytes.getLong();
        long amount = bytes.getLong();
        long itemCount = bytes.getLong();
        byte[] category = new byte[bytes.getInt()];
        byte[] orderId = new byte[bytes.getInt()];
        bytes.get(category).get(orderId);
        byte[] raw = new byte[bytes.remaining()];
        bytes.get(raw);
        return new Purchase(partition, watermark, amount, itemCount, new String(category, UTF_8), orderId, raw);
    }
}
