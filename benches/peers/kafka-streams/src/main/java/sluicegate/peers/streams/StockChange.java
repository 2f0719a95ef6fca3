package sluicegate.peers.streams;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;

/** What an order changes in the stock of a product, on its way there. */
record StockChange(long change, String orderId) {
    static byte[] toBytes(long change, byte[] orderId) {
        return ByteBuffer.allocate(8 + orderId.length).putLong(change).put(orderId).array();
    }

    static StockChange of(byte[] value) {
        long change = ByteBuffer.wrap(value).getLong();
        return new StockChange(change, new String(value, 8, value.length - 8, StandardCharsets.UTF_8));
    }
}
