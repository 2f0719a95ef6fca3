package sluicegate.peers.flink;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.util.ArrayList;
import java.util.List;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.connector.kafka.source.reader.deserializer.KafkaRecordDeserializationSchema;
import org.apache.flink.util.Collector;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.common.header.Header;
import sluicegate.peers.orders.BadRecord;
import sluicegate.peers.orders.Decoded;
import sluicegate.peers.orders.OrderDecoder;

/** Decodes in the source; what is no order becomes a dead letter at once, because only here its position is known. */
final class InputSchema implements KafkaRecordDeserializationSchema<Input> {
    private static final long serialVersionUID = 1;

    private final String job;
    private transient OrderDecoder decoder;

    InputSchema(String job) {
        this.job = job;
    }

    @Override
    public void deserialize(ConsumerRecord<byte[], byte[]> record, Collector<Input> out) {
        if (decoder == null) {
            decoder = new OrderDecoder();
        }
        Decoded decoded = decoder.decode(record.value());
        Input input = new Input();
        if (decoded.order != null) {
            input.order = decoded.order;
        } else {
            input.deadLetter = deadLetter(record, decoded.bad);
        }
        out.collect(input);
    }

    private Output deadLetter(ConsumerRecord<byte[], byte[]> record, BadRecord bad) {
        List<String> names = new ArrayList<>();
        List<byte[]> values = new ArrayList<>();
        for (Header header : record.headers()) {
            names.add(header.key());
            values.add(header.value());
        }
        String[] ours = {
            "error.topic", record.topic(),
            "error.partition", String.valueOf(record.partition()),
            "error.offset", String.valueOf(record.offset()),
            "error.class", bad.error().wireName(),
            "error.message", bad.message(),
            "error.timestamp", String.valueOf(record.timestamp()),
            "error.stage", "orders",
            "error.job", job,
            // A source does not know the checkpoint that its records will be in.
            "error.checkpoint", "0",
        };
        for (int at = 0; at < ours.length; at += 2) {
            names.add(ours[at]);
            values.add(ours[at + 1].getBytes(UTF_8));
        }
        Output letter = new Output(record.key(), record.value(), record.timestamp());
        letter.headerNames = names.toArray(new String[0]);
        letter.headerValues = values.toArray(new byte[0][]);
        return letter;
    }

    @Override
    public TypeInformation<Input> getProducedType() {
        return TypeInformation.of(Input.class);
    }
}
