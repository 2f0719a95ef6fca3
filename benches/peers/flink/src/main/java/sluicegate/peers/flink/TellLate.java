package sluicegate.peers.flink;

import static java.nio.charset.StandardCharsets.UTF_8;

import org.apache.flink.streaming.api.functions.ProcessFunction;
import org.apache.flink.util.Collector;
import sluicegate.peers.orders.Order;

/** A late event goes out as it came, with the watermark. */
final class TellLate extends ProcessFunction<Order, Output> {
    private static final long serialVersionUID = 1;

    @Override
    public void processElement(Order order, Context context, Collector<Output> out) {
        Output late = new Output(order.orderId.getBytes(UTF_8), order.raw, order.timestamp);
        late.headerNames = new String[] {"late.watermark"};
        late.headerValues = new byte[][] {String.valueOf(context.timerService().currentWatermark()).getBytes(UTF_8)};
        out.collect(late);
    }
}
