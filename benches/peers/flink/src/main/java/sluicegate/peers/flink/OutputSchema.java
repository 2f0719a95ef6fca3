package sluicegate.peers.flink;

import java.util.List;
import java.util.Optional;
import org.apache.flink.connector.kafka.lineage.DefaultKafkaDatasetFacet;
import org.apache.flink.connector.kafka.lineage.DefaultKafkaDatasetIdentifier;
import org.apache.flink.connector.kafka.lineage.KafkaDatasetFacet;
import org.apache.flink.connector.kafka.lineage.KafkaDatasetFacetProvider;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.kafka.clients.producer.ProducerRecord;

/** Output records are bytes already. The sink asks for its topic, to look for transactions that were left behind there. */
final class OutputSchema implements KafkaRecordSerializationSchema<Output>, KafkaDatasetFacetProvider {
    private static final long serialVersionUID = 1;

    private final String topic;

    OutputSchema(String topic) {
        this.topic = topic;
    }

    @Override
    public ProducerRecord<byte[], byte[]> serialize(Output output, KafkaSinkContext context, Long timestamp) {
        ProducerRecord<byte[], byte[]> record = new ProducerRecord<>(topic, null, output.timestamp, output.key, output.value);
        for (int at = 0; output.headerNames != null && at < output.headerNames.length; at++) {
            record.headers().add(output.headerNames[at], output.headerValues[at]);
        }
        return record;
    }

    @Override
    public Optional<KafkaDatasetFacet> getKafkaDatasetFacet() {
        return Optional.of(new DefaultKafkaDatasetFacet(DefaultKafkaDatasetIdentifier.ofTopics(List.of(topic))));
    }
}
