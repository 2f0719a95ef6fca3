package sluicegate.peers.streams;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import org.apache.kafka.common.header.Headers;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.processor.PunctuationType;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.processor.api.RecordMetadata;
import org.apache.kafka.streams.state.KeyValueIterator;
import org.apache.kafka.streams.state.KeyValueStore;
import sluicegate.peers.orders.Decoded;
import sluicegate.peers.orders.EventType;
import sluicegate.peers.orders.Order;
import sluicegate.peers.orders.OrderDecoder;
import sluicegate.peers.orders.OrderState;
import sluicegate.peers.orders.OutputEncoder;
import sluicegate.peers.orders.Settings;

/** Drops copies, follows orders, gathers batches. One for each input partition. */
final class OrderStage implements Processor<byte[], Decoded, byte[], byte[]> {
    /** By order id. */
    static final String ORDERS = "orders";
    /** Events that wait for their batch, by their place in it; the last key holds how many they are. */
    static final String WAITING = "waiting";

    private static final byte[] COUNT = {OutputEncoder.BATCH};
    /** Event time between two looks for orders that are forgotten, in milliseconds. */
    private static final long CLEAN_EVERY = 86_400_000L;

    private final Settings settings;
    private final OutputEncoder encoder = new OutputEncoder();
    private final List<byte[]> waiting = new ArrayList<>(OutputEncoder.BATCH);
    private String batchId;
    /** Latest event time seen, less what events may be late. It begins anew after a restart, as the first record tells it. */
    private long watermark = Long.MIN_VALUE;
    private long cleanAt = Long.MIN_VALUE;
    private ProcessorContext<byte[], byte[]> context;
    private KeyValueStore<byte[], byte[]> orders;
    private KeyValueStore<byte[], byte[]> kept;

    OrderStage(Settings settings) {
        this.settings = settings;
    }

    @Override
    public void init(ProcessorContext<byte[], byte[]> context) {
        this.context = context;
        orders = context.getStateStore(ORDERS);
        kept = context.getStateStore(WAITING);
        byte[] count = kept.get(COUNT);
        for (int at = 0; count != null && at < count[0]; at++) {
            waiting.add(kept.get(new byte[] {(byte) at}));
        }
        if (!waiting.isEmpty()) {
            batchId = new OrderDecoder().decode(waiting.get(0)).order.identity();
        }
        context.schedule(Duration.ofMillis(500), PunctuationType.WALL_CLOCK_TIME, now -> drainIfAsked());
    }

    @Override
    public void process(Record<byte[], Decoded> record) {
        Decoded decoded = record.value();
        if (decoded.order == null) {
            deadLetter(record);
            return;
        }
        Order order = decoded.order;
        watermark = Math.max(watermark, order.timestamp - OutputEncoder.OUT_OF_ORDERNESS);
        cleanIfDue();
        byte[] key = order.orderId.getBytes(UTF_8);
        byte[] known = orders.get(key);
        OrderState state = known == null ? OrderState.of(order) : OrderState.of(known);
        if (known != null && state.remembers(order.type, watermark)) {
            return;
        }
        if (known != null && state.isForgotten(watermark)) {
            state = OrderState.of(order);
        }
        int effect = state.accept(order);
        orders.put(key, state.toBytes());
        long time = order.timestamp;
        forward(key, encoder.orderStatus(order.orderId, state), time, OrderTopology.ORDER_STATUS);
        if (order.type == EventType.CREATED) {
            byte[] purchase = Purchase.toBytes(context.taskId().partition(), watermark, order);
            forward(order.userId.getBytes(UTF_8), purchase, time, OrderTopology.PURCHASES);
        }
        for (int item = 0; effect != 0 && item < order.products.length; item++) {
            byte[] change = StockChange.toBytes(effect * order.quantities[item], key);
            forward(order.products[item].getBytes(UTF_8), change, time, OrderTopology.STOCK_CHANGES);
        }
        gather(order);
    }

    private void forward(byte[] key, byte[] value, long timestamp, String child) {
        context.forward(new Record<>(key, value, timestamp), child);
    }

    /** The cache in front of the store lets only the last hundred events of a commit through to the changelog. */
    private void gather(Order order) {
        if (waiting.isEmpty()) {
            batchId = order.identity();
        }
        kept.put(new byte[] {(byte) waiting.size()}, order.raw);
        waiting.add(order.raw);
        if (waiting.size() == OutputEncoder.BATCH) {
            sendBatch(order.timestamp);
        }
        kept.put(COUNT, new byte[] {(byte) waiting.size()});
    }

    private void sendBatch(long timestamp) {
        forward(batchId.getBytes(UTF_8), encoder.batch(batchId, waiting), timestamp, OrderTopology.ORDER_BATCHES);
        waiting.clear();
    }

    private void drainIfAsked() {
        if (settings.drain().isAsked()) {
            if (!waiting.isEmpty()) {
                sendBatch(Math.max(watermark, 0));
                kept.put(COUNT, new byte[] {0});
            }
            settings.drain().done(context.taskId().toString());
        }
    }

    private void cleanIfDue() {
        if (cleanAt == Long.MIN_VALUE) {
            cleanAt = watermark + CLEAN_EVERY;
        }
        if (watermark < cleanAt) {
            return;
        }
        cleanAt = watermark + CLEAN_EVERY;
        try (KeyValueIterator<byte[], byte[]> all = orders.all()) {
            while (all.hasNext()) {
                KeyValue<byte[], byte[]> entry = all.next();
                if (OrderState.of(entry.value).isForgotten(watermark)) {
                    orders.delete(entry.key);
                }
            }
        }
    }

    private void deadLetter(Record<byte[], Decoded> record) {
        Decoded decoded = record.value();
        RecordMetadata from = context.recordMetadata().orElseThrow();
        Headers headers = new RecordHeaders(record.headers());
        add(headers, "error.topic", from.topic());
        add(headers, "error.partition", from.partition());
        add(headers, "error.offset", from.offset());
        add(headers, "error.class", decoded.bad.error().wireName());
        add(headers, "error.message", decoded.bad.message());
        if (decoded.kafkaTimestamp >= 0) {
            add(headers, "error.timestamp", decoded.kafkaTimestamp);
        }
        add(headers, "error.stage", "orders");
        add(headers, "error.job", settings.applicationId());
        // Transactions have no numbers here.
        add(headers, "error.checkpoint", 0);
        context.forward(new Record<>(record.key(), decoded.raw, record.timestamp(), headers), OrderTopology.DEAD_LETTERS);
    }

    private static void add(Headers headers, String name, Object value) {
        headers.add(name, String.valueOf(value).getBytes(UTF_8));
    }
}
