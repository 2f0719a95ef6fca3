package sluicegate.peers.orders;

import java.util.List;

/** Values of the output records. Not for several threads at once. */
public final class OutputEncoder {
    /** Below this, stock is low. */
    public static final long LOW_STOCK = 10;
    /** Pieces of every product before the first order. */
    public static final long INITIAL_STOCK = 1000;
    /** Events in a batch. */
    public static final int BATCH = 100;
    /** Length of a window of purchases, in milliseconds of event time. */
    public static final long WINDOW = 3_600_000L;
    /** How much later than the latest one of its partition an event may come, in milliseconds of event time. */
    public static final long OUT_OF_ORDERNESS = 5_000L;
    /** A partition without records for so long does not hold back the watermark, in milliseconds of the clock. */
    public static final long IDLE = 30_000L;

    private static final byte[] ORDER = JsonText.ascii("{\"orderId\":");
    private static final byte[] USER = JsonText.ascii(",\"userId\":");
    private static final byte[] STATUS = JsonText.ascii(",\"status\":");
    private static final byte[][] TIMES = {
        JsonText.ascii(",\"createdTime\":"),
        JsonText.ascii(",\"paymentTime\":"),
        JsonText.ascii(",\"shippingTime\":"),
        JsonText.ascii(",\"deliveryTime\":"),
        JsonText.ascii(",\"cancellationTime\":"),
    };
    private static final byte[] PRODUCT = JsonText.ascii("{\"productId\":");
    private static final byte[] LEVEL_ORDER = JsonText.ascii(",\"orderId\":");
    private static final byte[] CHANGE = JsonText.ascii(",\"change\":");
    private static final byte[] STOCK = JsonText.ascii(",\"stock\":");
    private static final byte[] THRESHOLD = JsonText.ascii(",\"threshold\":");
    private static final byte[] TIMESTAMP = JsonText.ascii(",\"timestamp\":");
    private static final byte[] STATS_USER = JsonText.ascii("{\"userId\":");
    private static final byte[] WINDOW_START = JsonText.ascii(",\"windowStart\":");
    private static final byte[] WINDOW_END = JsonText.ascii(",\"windowEnd\":");
    private static final byte[] ORDER_COUNT = JsonText.ascii(",\"orderCount\":");
    private static final byte[] ITEM_COUNT = JsonText.ascii(",\"itemCount\":");
    private static final byte[] TOTAL = JsonText.ascii(",\"totalAmount\":");
    private static final byte[] AVERAGE = JsonText.ascii(",\"averageOrderValue\":");
    private static final byte[] CATEGORIES = JsonText.ascii(",\"categoryCount\":{");
    private static final byte[] BATCH_ID = JsonText.ascii("{\"batchId\":");
    private static final byte[] SIZE = JsonText.ascii(",\"size\":");
    private static final byte[] ORDERS = JsonText.ascii(",\"orders\":[");

    private final JsonText json = new JsonText();

    /** Value of {@code order-status}. */
    public byte[] orderStatus(String orderId, OrderState state) {
        json.begin().raw(ORDER).string(orderId).raw(USER).string(state.userId).raw(STATUS).string(state.status());
        for (int at = 0; at < TIMES.length; at++) {
            json.raw(TIMES[at]).numberOrNull(state.times[at], OrderState.NONE);
        }
        return json.raw('}').end();
    }

    /** Value of {@code inventory-levels}. */
    public byte[] inventoryLevel(String productId, String orderId, long change, long stock, long timestamp) {
        json.begin().raw(PRODUCT).string(productId).raw(LEVEL_ORDER).string(orderId);
        json.raw(CHANGE).number(change).raw(STOCK).number(stock);
        return json.raw(TIMESTAMP).number(timestamp).raw('}').end();
    }

    /** Value of {@code low-stock-alerts}. */
    public byte[] lowStockAlert(String productId, long stock, long timestamp) {
        json.begin().raw(PRODUCT).string(productId).raw(STOCK).number(stock).raw(THRESHOLD).number(LOW_STOCK);
        return json.raw(TIMESTAMP).number(timestamp).raw('}').end();
    }

    /** Value of {@code purchase-stats}. */
    public byte[] purchaseStats(String userId, long start, PurchaseStats stats) {
        json.begin().raw(STATS_USER).string(userId);
        json.raw(WINDOW_START).number(start).raw(WINDOW_END).number(start + WINDOW);
        json.raw(ORDER_COUNT).number(stats.orders).raw(ITEM_COUNT).number(stats.items);
        json.raw(TOTAL).money(stats.total).raw(AVERAGE).money(Money.average(stats.total, stats.orders));
        json.raw(CATEGORIES);
        for (int at = 0; at < stats.categories.length; at++) {
            if (at > 0) {
                json.raw(',');
            }
            json.string(stats.categories[at]).raw(':').number(stats.counts[at]);
        }
        return json.raw('}').raw('}').end();
    }

    /** Value of {@code order-batches}. */
    public byte[] batch(String id, List<byte[]> events) {
        json.begin().raw(BATCH_ID).string(id).raw(SIZE).number(events.size()).raw(ORDERS);
        for (int at = 0; at < events.size(); at++) {
            if (at > 0) {
                json.raw(',');
            }
            json.raw(events.get(at));
        }
        return json.raw(']').raw('}').end();
    }

    /** Begin of the window that a time is in. */
    public static long windowOf(long timestamp) {
        return Math.floorDiv(timestamp, WINDOW) * WINDOW;
    }
}
