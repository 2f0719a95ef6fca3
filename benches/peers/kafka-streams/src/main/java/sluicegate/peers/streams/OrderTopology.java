package sluicegate.peers.streams;

import java.util.Set;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Named;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.Repartitioned;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorSupplier;
import org.apache.kafka.streams.state.StoreBuilder;
import org.apache.kafka.streams.state.Stores;
import sluicegate.peers.orders.Decoded;
import sluicegate.peers.orders.Settings;

/**
 * The order job.
 *
 * <pre>
 * orders ─ decode ─ dedup + track + batches ─┬──────────────────► order-status, order-batches, dead-letters
 *                                            ├─ by user: windows ► purchase-stats, late-orders
 *                                            └─ by product: stock ► inventory-levels, low-stock-alerts
 * </pre>
 *
 * Both lines that branch off are repartition topics. A stage sends to its children by their names, so that no record passes a filter.
 */
final class OrderTopology {
    static final String ORDER_STATUS = "order-status";
    static final String ORDER_BATCHES = "order-batches";
    static final String DEAD_LETTERS = "dead-letters";
    static final String PURCHASE_STATS = "purchase-stats";
    static final String LATE_ORDERS = "late-orders";
    static final String INVENTORY_LEVELS = "inventory-levels";
    static final String LOW_STOCK_ALERTS = "low-stock-alerts";
    /** Branches. */
    static final String PURCHASES = "purchases";
    static final String STOCK_CHANGES = "stock-changes";

    private static final Serde<byte[]> BYTES = Serdes.ByteArray();

    private OrderTopology() {}

    static Topology of(Settings settings, int partitions) {
        StreamsBuilder builder = new StreamsBuilder();
        Serde<Decoded> input = Serdes.serdeFrom((topic, value) -> value.raw, new InputDeserializer());
        KStream<byte[], byte[]> accepted =
                builder.stream(settings.input(), Consumed.with(BYTES, input).withTimestampExtractor(new EventTime()))
                        .process(supplier(() -> new OrderStage(settings), persistent(OrderStage.ORDERS), inMemory(OrderStage.WAITING)));
        sink(accepted, settings, ORDER_STATUS);
        sink(accepted, settings, ORDER_BATCHES);
        sink(accepted, settings, DEAD_LETTERS);

        KStream<byte[], byte[]> purchases =
                repartitioned(accepted, PURCHASES).process(
                        supplier(() -> new PurchaseStage(settings, partitions), persistent(PurchaseStage.WINDOWS)));
        sink(purchases, settings, PURCHASE_STATS);
        sink(purchases, settings, LATE_ORDERS);

        KStream<byte[], byte[]> levels =
                repartitioned(accepted, STOCK_CHANGES).process(supplier(InventoryStage::new, persistent(InventoryStage.STOCK)));
        sink(levels, settings, INVENTORY_LEVELS);
        sink(levels, settings, LOW_STOCK_ALERTS);
        return builder.build();
    }

    /** The child {@code name} writes to the output of that name. */
    private static void sink(KStream<byte[], byte[]> stream, Settings settings, String name) {
        stream.to(settings.output(name), Produced.with(BYTES, BYTES).withName(name));
    }

    /** The child {@code name} leads to a repartition topic. */
    private static KStream<byte[], byte[]> repartitioned(KStream<byte[], byte[]> stream, String name) {
        return stream.mapValues(value -> value, Named.as(name)).repartition(Repartitioned.with(BYTES, BYTES).withName(name + "-by-key"));
    }

    private static <V> ProcessorSupplier<byte[], V, byte[], byte[]> supplier(Stage<V> stage, StoreBuilder<?>... stores) {
        return new ProcessorSupplier<>() {
            @Override
            public Processor<byte[], V, byte[], byte[]> get() {
                return stage.create();
            }

            @Override
            public Set<StoreBuilder<?>> stores() {
                return Set.of(stores);
            }
        };
    }

    /** Makes a stage for each task. */
    private interface Stage<V> {
        Processor<byte[], V, byte[], byte[]> create();
    }

    private static StoreBuilder<?> persistent(String name) {
        return Stores.keyValueStoreBuilder(Stores.persistentKeyValueStore(name), BYTES, BYTES).withCachingEnabled();
    }

    private static StoreBuilder<?> inMemory(String name) {
        return Stores.keyValueStoreBuilder(Stores.inMemoryKeyValueStore(name), BYTES, BYTES).withCachingEnabled();
    }
}
