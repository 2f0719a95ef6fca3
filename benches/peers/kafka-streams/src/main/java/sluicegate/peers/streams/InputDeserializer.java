package sluicegate.peers.streams;

import org.apache.kafka.common.serialization.Deserializer;
import sluicegate.peers.orders.Decoded;
import sluicegate.peers.orders.OrderDecoder;

/** Decodes before timestamps are asked for, so that it is done once. All threads share it. */
final class InputDeserializer implements Deserializer<Decoded> {
    private final ThreadLocal<OrderDecoder> decoder = ThreadLocal.withInitial(OrderDecoder::new);

    @Override
    public Decoded deserialize(String topic, byte[] value) {
        return decoder.get().decode(value);
    }
}
