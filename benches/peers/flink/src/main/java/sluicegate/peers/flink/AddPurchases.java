package sluicegate.peers.flink;

import org.apache.flink.api.common.functions.AggregateFunction;
import sluicegate.peers.orders.Order;
import sluicegate.peers.orders.PurchaseStats;

/** Adds up what a user buys. */
final class AddPurchases implements AggregateFunction<Order, PurchaseStats, PurchaseStats> {
    private static final long serialVersionUID = 1;

    @Override
    public PurchaseStats createAccumulator() {
        return new PurchaseStats();
    }

    @Override
    public PurchaseStats add(Order order, PurchaseStats stats) {
        stats.add(order.amount, order.itemCount, order.category);
        return stats;
    }

    @Override
    public PurchaseStats getResult(PurchaseStats stats) {
        return stats;
    }

    @Override
    public PurchaseStats merge(PurchaseStats left, PurchaseStats right) {
        throw new UnsupportedOperationException("tumbling windows are not merged");
    }
}
