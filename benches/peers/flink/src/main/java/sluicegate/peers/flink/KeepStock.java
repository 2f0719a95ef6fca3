package sluicegate.peers.flink;

import static java.nio.charset.StandardCharsets.UTF_8;

import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.util.Collector;
import sluicegate.peers.orders.OutputEncoder;

/** Keeps the stock of each product. */
final class KeepStock extends KeyedProcessFunction<String, StockChange, Output> {
    private static final long serialVersionUID = 1;

    private transient ValueState<Long> stocks;
    private transient OutputEncoder encoder;

    @Override
    public void open(OpenContext context) {
        stocks = getRuntimeContext().getState(new ValueStateDescriptor<>("stock", Long.class));
        encoder = new OutputEncoder();
    }

    @Override
    public void processElement(StockChange change, Context context, Collector<Output> out) throws Exception {
        Long known = stocks.value();
        long before = known == null ? OutputEncoder.INITIAL_STOCK : known;
        long stock = before + change.change;
        stocks.update(stock);
        byte[] key = change.productId.getBytes(UTF_8);
        byte[] level = encoder.inventoryLevel(change.productId, change.orderId, change.change, stock, change.timestamp);
        out.collect(new Output(key, level, change.timestamp));
        if (before >= OutputEncoder.LOW_STOCK && stock < OutputEncoder.LOW_STOCK) {
            byte[] alert = encoder.lowStockAlert(change.productId, stock, change.timestamp);
            context.output(OrderJob.LOW_STOCK, new Output(key, alert, change.timestamp));
        }
    }
}
