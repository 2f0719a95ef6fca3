package sluicegate.peers.streams;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.Arrays;
import java.util.TreeSet;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.processor.PunctuationType;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueIterator;
import org.apache.kafka.streams.state.KeyValueStore;
import sluicegate.peers.orders.OutputEncoder;
import sluicegate.peers.orders.PurchaseStats;
import sluicegate.peers.orders.Settings;

/**
 * Adds up each user's purchases per hour, and tells them once the watermark has passed the hour. (The windows of the DSL know only the latest
 * time of their partition, and drop late events without a trace.)
 */
final class PurchaseStage implements Processor<byte[], byte[], byte[], byte[]> {
    /** By begin of the window and user, so that a window that is over is one range. The key {@link #FIRED} holds the end of the last of these. */
    static final String WINDOWS = "windows";

    /** Behind all windows: those begin with a sign bit of 0. */
    private static final byte[] FIRED = {(byte) 0xff};

    private final Settings settings;
    private final OutputEncoder encoder = new OutputEncoder();
    /** Watermarks of the input partitions, and when each was heard of. */
    private final long[] watermarks;

    private final long[] heard;
    private final TreeSet<Long> open = new TreeSet<>();
    private long watermark = Long.MIN_VALUE;
    /** All windows that end here or before have fired. */
    private long fired = Long.MIN_VALUE;
    private ProcessorContext<byte[], byte[]> context;
    private KeyValueStore<byte[], byte[]> windows;

    PurchaseStage(Settings settings, int partitions) {
        this.settings = settings;
        watermarks = new long[partitions];
        heard = new long[partitions];
    }

    @Override
    public void init(ProcessorContext<byte[], byte[]> context) {
        this.context = context;
        windows = context.getStateStore(WINDOWS);
        Arrays.fill(watermarks, Long.MIN_VALUE);
        Arrays.fill(heard, System.nanoTime());
        byte[] known = windows.get(FIRED);
        if (known != null) {
            fired = ByteBuffer.wrap(known).getLong();
        }
        findOpenWindows();
        context.schedule(Duration.ofMillis(500), PunctuationType.WALL_CLOCK_TIME, now -> look());
    }

    @Override
    public void process(Record<byte[], byte[]> record) {
        Purchase purchase = Purchase.of(record.value());
        heard[purchase.partition()] = System.nanoTime();
        if (purchase.watermark() > watermarks[purchase.partition()]) {
            watermarks[purchase.partition()] = purchase.watermark();
            advance();
        }
        long start = OutputEncoder.windowOf(record.timestamp());
        long end = start + OutputEncoder.WINDOW;
        if (end - 1 <= watermark || end <= fired) {
            late(purchase, record.timestamp());
            return;
        }
        open.add(start);
        byte[] key = ByteBuffer.allocate(8 + record.key().length).putLong(start).put(record.key()).array();
        PurchaseStats stats = PurchaseStats.of(windows.get(key));
        stats.add(purchase.amount(), purchase.itemCount(), purchase.category());
        windows.put(key, stats.toBytes());
    }

    private void late(Purchase purchase, long timestamp) {
        byte[] now = String.valueOf(Math.max(watermark, fired - 1)).getBytes(UTF_8);
        RecordHeaders headers = new RecordHeaders();
        headers.add("late.watermark", now);
        context.forward(new Record<>(purchase.orderId(), purchase.raw(), timestamp, headers), OrderTopology.LATE_ORDERS);
    }

    /** Partitions that are idle do not hold back the watermark; asked to drain, nothing does. */
    private void look() {
        if (settings.drain().isAsked()) {
            watermark = Long.MAX_VALUE;
            fire();
            settings.drain().done(context.taskId().toString());
        } else {
            advance();
        }
    }

    /** The watermark is that of the partition that is furthest behind, of those that are not idle. */
    private void advance() {
        long least = Long.MAX_VALUE;
        long now = System.nanoTime();
        for (int partition = 0; partition < watermarks.length; partition++) {
            if (watermarks[partition] < least && TimeUnit.NANOSECONDS.toMillis(now - heard[partition]) < OutputEncoder.IDLE) {
                least = watermarks[partition];
            }
        }
        if (least != Long.MAX_VALUE && least > watermark) {
            watermark = least;
            fire();
        }
    }

    private void fire() {
        while (!open.isEmpty() && open.first() + OutputEncoder.WINDOW - 1 <= watermark) {
            long start = open.pollFirst();
            try (KeyValueIterator<byte[], byte[]> users = windows.range(prefix(start), prefix(start + OutputEncoder.WINDOW))) {
                while (users.hasNext()) {
                    KeyValue<byte[], byte[]> entry = users.next();
                    byte[] user = Arrays.copyOfRange(entry.key, 8, entry.key.length);
                    byte[] stats = encoder.purchaseStats(new String(user, UTF_8), start, PurchaseStats.of(entry.value));
                    context.forward(new Record<>(user, stats, start + OutputEncoder.WINDOW - 1), OrderTopology.PURCHASE_STATS);
                    windows.delete(entry.key);
                }
            }
            fired = start + OutputEncoder.WINDOW;
            windows.put(FIRED, prefix(fired));
        }
    }

    private void findOpenWindows() {
        long from = 0;
        while (true) {
            try (KeyValueIterator<byte[], byte[]> rest = windows.range(prefix(from), FIRED)) {
                byte[] key = rest.hasNext() ? rest.next().key : FIRED;
                if (key.length < 8) {
                    return;
                }
                long start = ByteBuffer.wrap(key).getLong();
                open.add(start);
                from = start + OutputEncoder.WINDOW;
            }
        }
    }

    private static byte[] prefix(long start) {
        return ByteBuffer.allocate(8).putLong(start).array();
    }
}
