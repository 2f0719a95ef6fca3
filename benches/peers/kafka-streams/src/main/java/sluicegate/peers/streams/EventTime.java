package sluicegate.peers.streams;

import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.streams.processor.TimestampExtractor;
import sluicegate.peers.orders.Decoded;

/** The time in the event. A bad record has none, and must not move the time of its partition. */
final class EventTime implements TimestampExtractor {
    @Override
    public long extract(ConsumerRecord<Object, Object> record, long partitionTime) {
        Decoded decoded = (Decoded) record.value();
        if (decoded.order != null) {
            return decoded.order.timestamp;
        }
        decoded.kafkaTimestamp = record.timestamp();
        // Negative times would drop the record.
        return Math.max(partitionTime, 0);
    }
}
