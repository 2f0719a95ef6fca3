package sluicegate.peers.flink;

import org.apache.flink.streaming.api.functions.ProcessFunction;
import org.apache.flink.util.Collector;
import sluicegate.peers.orders.Order;

/** Orders go on, dead letters aside. */
final class SplitInput extends ProcessFunction<Input, Order> {
    private static final long serialVersionUID = 1;

    @Override
    public void processElement(Input input, Context context, Collector<Order> out) {
        if (input.order != null) {
            out.collect(input.order);
        } else {
            context.output(OrderJob.DEAD_LETTERS, input.deadLetter);
        }
    }
}
