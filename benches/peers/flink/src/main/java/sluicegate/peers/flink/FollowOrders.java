package sluicegate.peers.flink;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.time.Duration;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.state.StateTtlConfig;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.util.Collector;
import sluicegate.peers.orders.Order;
import sluicegate.peers.orders.OrderState;
import sluicegate.peers.orders.OutputEncoder;

/** Drops copies and follows orders. */
final class FollowOrders extends KeyedProcessFunction<String, Order, Order> {
    private static final long serialVersionUID = 1;

    private transient ValueState<OrderState> orders;
    private transient OutputEncoder encoder;

    @Override
    public void open(OpenContext context) {
        ValueStateDescriptor<OrderState> descriptor = new ValueStateDescriptor<>("order", OrderState.class);
        // Flink's times to live are those of the clock. They only clear away; what is forgotten is decided by event time.
        descriptor.enableTimeToLive(StateTtlConfig.newBuilder(Duration.ofDays(91)).cleanupInRocksdbCompactFilter(10_000).build());
        orders = getRuntimeContext().getState(descriptor);
        encoder = new OutputEncoder();
    }

    @Override
    public void processElement(Order order, Context context, Collector<Order> out) throws Exception {
        long watermark = context.timerService().currentWatermark();
        OrderState state = orders.value();
        if (state != null && state.remembers(order.type, watermark)) {
            return;
        }
        if (state == null || state.isForgotten(watermark)) {
            state = OrderState.of(order);
        }
        int effect = state.accept(order);
        orders.update(state);
        byte[] status = encoder.orderStatus(order.orderId, state);
        context.output(OrderJob.ORDER_STATUS, new Output(order.orderId.getBytes(UTF_8), status, order.timestamp));
        for (int item = 0; effect != 0 && item < order.products.length; item++) {
            long change = effect * order.quantities[item];
            context.output(
                    OrderJob.STOCK_CHANGES, new StockChange(order.products[item], order.orderId, change, order.timestamp));
        }
        out.collect(order);
    }
}
