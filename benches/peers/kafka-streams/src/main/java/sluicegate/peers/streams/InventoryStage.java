package sluicegate.peers.streams;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.nio.ByteBuffer;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import sluicegate.peers.orders.OutputEncoder;

/** Keeps the stock of each product. */
final class InventoryStage implements Processor<byte[], byte[], byte[], byte[]> {
    /** By product. */
    static final String STOCK = "stock";

    private final OutputEncoder encoder = new OutputEncoder();
    private ProcessorContext<byte[], byte[]> context;
    private KeyValueStore<byte[], byte[]> stocks;

    @Override
    public void init(ProcessorContext<byte[], byte[]> context) {
        this.context = context;
        stocks = context.getStateStore(STOCK);
    }

    @Override
    public void process(Record<byte[], byte[]> record) {
        StockChange change = StockChange.of(record.value());
        byte[] known = stocks.get(record.key());
        long before = known == null ? OutputEncoder.INITIAL_STOCK : ByteBuffer.wrap(known).getLong();
        long stock = before + change.change();
        stocks.put(record.key(), ByteBuffer.allocate(8).putLong(stock).array());
        String product = new String(record.key(), UTF_8);
        long time = record.timestamp();
        byte[] level = encoder.inventoryLevel(product, change.orderId(), change.change(), stock, time);
        context.forward(new Record<>(record.key(), level, time), OrderTopology.INVENTORY_LEVELS);
        if (before >= OutputEncoder.LOW_STOCK && stock < OutputEncoder.LOW_STOCK) {
            byte[] alert = encoder.lowStockAlert(product, stock, time);
            context.forward(new Record<>(record.key(), alert, time), OrderTopology.LOW_STOCK_ALERTS);
        }
    }
}
